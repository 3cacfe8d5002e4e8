"""The pattern that a person gives for the lines of a text log: checked, and tried before it is trusted."""

import json
import re
import subprocess
import sys
from functools import lru_cache

from thermograd.ingest.importers.printed.lines import COLUMNS, LONGEST_LINE
from thermograd.ingest.importers.printed.programs import Program
from thermograd.store.errors import ImportFormatError

_EXAMPLE = r"step (?P<step>\d+) loss (?P<loss>\S+)"
_LONGEST_TRIAL_S = 5.0
_TRIAL = """
import json, re, sys
pattern, lines = json.load(sys.stdin)
search = re.compile(pattern).search
for line in lines:
    search(line)
"""


@lru_cache(maxsize=8)
def program_of(pattern: str) -> Program:
    """Return what prints the lines that a pattern finds, or refuse a pattern that finds no steps.

    What is no column of a step is kept as a metric, under the name of its group.
    """
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ImportFormatError(
            f"--pattern {pattern!r} is no regular expression ({error}); allowed is one such as {_EXAMPLE!r}"
        ) from error
    values = compiled.groupindex.keys() - {"step", "time", "rank"}
    if "step" not in compiled.groupindex or not values:
        named = ", ".join(compiled.groupindex) or "none"
        raise ImportFormatError(
            f"--pattern {pattern!r} has to name the step and a value, but its named groups are: {named}; "
            f"allowed are step, time, rank, {', '.join(sorted(COLUMNS))}, step_time_ms and any name for a "
            f"metric, such as in {_EXAMPLE!r}"
        )
    return Program("what --pattern finds", (compiled,), counts_from_what_comes=True)


@lru_cache(maxsize=8)
def require_quick(pattern: str, lines: tuple[str, ...]) -> None:
    """Refuse a pattern that takes seconds for some lines: it would take days for others.

    It is tried in a process of its own, as nothing else ends a search that goes on for ever.
    """
    tried = json.dumps([pattern, [line for line in lines if len(line) <= LONGEST_LINE]])
    try:
        subprocess.run(
            [sys.executable, "-I", "-S", "-c", _TRIAL],
            input=tried.encode(),
            timeout=_LONGEST_TRIAL_S,
            check=False,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise ImportFormatError(
            f"--pattern {pattern!r} takes more than {_LONGEST_TRIAL_S:g} s for {len(lines)} lines: something "
            "in it is repeated inside a repetition, such as in (a+)+; allowed is one that is quick"
        ) from error
