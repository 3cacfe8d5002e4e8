"""Every importer fixture through its importer: rows read, kept, merged, left out with the reason.

The fixtures are those of ``tests/fixtures/imports`` (written by the tools themselves, or shaped after them:
its README says which). Where a reader is given in ``import_readers.py``, every value of its columns is
compared with what pandas, sqlite3, json or a regular expression read in the same file: bit for bit, or,
where a unit is converted, to 1e-12 of the value.
"""

import argparse
import math
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from thermograd.benchmarks.fuzz_imports import OPTIONS, Fixture, fixtures
from thermograd.benchmarks.import_readers import READERS, Values
from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.import_logs import import_run
from thermograd.store.errors import ThermogradError
from thermograd.store.log.reader import read_kind

_FIXTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "imports"
_MOST_TRIES = 4
_CLOSE = 1e-12
_LONGEST_REASON = 60


# -- comparing -----------------------------------------------------------------------------------


class Row(NamedTuple):
    """What became of a fixture."""

    format: str
    file: str
    account: Mapping[str, int]  # read, kept, merged, left_out
    reasons: Mapping[str, int]
    compared: int | None  # values; None where there is no independent reader
    differing: list[str]


def of_fixture(fixture: Fixture, folder: Path) -> Row:
    """Import a fixture, with the options that it asks for, and compare its values."""
    runs = folder / f"{fixture.format}-{fixture.path.name}"
    result = _imported(fixture.path, runs)
    name = f"{fixture.format}/{fixture.path.name}"
    expected = READERS[name](fixture.path) if name in READERS else None
    compared, differing = (None, []) if expected is None else compare(expected, runs / result["run_id"])
    form = " + ".join(dict.fromkeys(file["format"] for file in result["files"]))
    return Row(form, name, result["account"], result["left_out"], compared, differing)


def _imported(path: Path, runs: Path) -> dict[str, Any]:
    given: dict[str, Any] = {}
    for _ in range(_MOST_TRIES):
        try:
            return import_run(runs, [path], timezone="UTC", hints=Hints(**given))
        except ThermogradError as error:
            asked = {name: value for option, (name, value) in OPTIONS.items() if option in str(error)}
            if asked.keys() <= given.keys():
                raise
            given |= asked
    raise AssertionError(f"{path} asks for option after option")


def compare(expected: Values, run: Path) -> tuple[int, list[str]]:
    """Return how many values were compared, and which columns differ."""
    compared, differing = 0, []
    for name, values in expected.items():
        kind, _, column = name.partition(".")
        wanted, found = (sorted(each, key=_order) for each in (map(float, values), _found(run, kind, column)))
        compared += len(wanted)
        if len(wanted) != len(found) or not all(map(_same, wanted, found)) or not wanted:
            differing.append(
                f"{name}: {len(wanted)} values expected, {len(found)} found: {wanted[:3]}, {found[:3]}"
            )
    return compared, differing


def _found(run: Path, kind: str, column: str) -> list[float]:
    rows = read_kind(run, kind).to_pylist()
    if kind == "metric":
        return [row["value"] for row in rows if row["name"] == column and row["value"] is not None]
    column, _, device = column.partition("@")
    rows = [row for row in rows if not device or row["device"] == device]
    return [float(row[column]) for row in rows if row.get(column) is not None]


def _order(value: float) -> tuple[bool, float]:
    return math.isnan(value), 0.0 if math.isnan(value) else value


def _same(wanted: float, found: float) -> bool:
    return (
        wanted == found
        or (math.isnan(wanted) and math.isnan(found))
        or math.isclose(wanted, found, rel_tol=_CLOSE)
    )


# -- the table -----------------------------------------------------------------------------------


def markdown(rows: Iterable[Row]) -> list[str]:
    """Return the table, a line a file."""
    told_of = origins()
    lines = [
        "| format | file | is | rows in file | kept | merged | left out | values compared |",
        "|---|---|---|--:|--:|--:|---|--:|",
    ]
    for row in rows:
        reasons = "; ".join(f"{count} {_short(reason)}" for reason, count in row.reasons.items())
        told = "" if row.compared is None else f"{row.compared} {'DIFFER' if row.differing else 'equal'}"
        counts = " | ".join(str(row.account[what]) for what in ("read", "kept", "merged"))
        origin = told_of.get(row.file, "")
        lines.append(f"| {row.format} | `{row.file}` | {origin} | {counts} | {reasons or '0'} | {told} |")
    return lines


def origins() -> dict[str, str]:
    """Return of each fixture whether its tool wrote it, or it is shaped after that, as their README says."""
    text = (_FIXTURES / "README.md").read_text(encoding="utf-8")
    found: dict[str, str] = {}
    for folder, files, word in re.findall(r"^\| `(\w+)/` \| (.*?) \| (written|shaped)", text, re.MULTILINE):
        for name in re.findall(r"`([^`]+)`", files):
            stem = name.rstrip("/").partition("...")[0]
            found |= {f"{folder}/{path.name}": word for path in (_FIXTURES / folder).glob(f"{stem}*")}
    return found


def _short(reason: str) -> str:
    text = reason.replace("|", "/")
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}..."


def main() -> int:
    """Print the table, and fail where a value differs or rows do not balance."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", action="append", help="a folder of tests/fixtures/imports")
    args = parser.parse_args()
    chosen = [fixture for fixture in fixtures() if not args.only or fixture.format in args.only]
    with tempfile.TemporaryDirectory() as folder:
        rows = [of_fixture(fixture, Path(folder)) for fixture in chosen]
    print("\n".join(markdown(rows)))
    total = sum((Counter(row.account) for row in rows), Counter())
    compared = sum(row.compared or 0 for row in rows)
    formats = len({row.format for row in rows})
    print(f"\n{len(rows)} files, {formats} formats: {dict(total)}; {compared} values compared")
    differing = [f"{row.file}: {text}" for row in rows for text in row.differing]
    print("\n".join(differing))
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
