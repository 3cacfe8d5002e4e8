"""Every goal of speed: measured, in a table with what it was before, and kept in `history.csv`.

Each part runs in a process of its own, one after the other; a part that does not end in its time is told
and left. The table goes to the terminal and, of all parts, into RESULTS.md; `--quick` and `--no-record`
keep nothing.
"""

import argparse
import csv
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
HISTORY = HERE / "history.csv"
RESULTS = HERE / "RESULTS.md"
BEGIN, END = "<!-- goals: written by `make bench` -->", "<!-- /goals -->"
AREAS_S = {  # what each part may take; it takes about half of it on two idle cores
    "startup": 120,
    "query": 180,
    "analysis": 320,
    "report": 90,
    "stream": 120,
    "align": 80,
    "append": 120,
    "overhead": 120,
    "agent": 120,
}
COLUMNS = ("date", "commit", "machine", "python", "load", "key", "value", "unit", "limit", "passed")
HEADER = ("what", "goal", "measured", "of", "before", "")
_WORSE = 1.25  # beyond what two runs of one state differ by on a shared machine
_VERSIONS = ("numpy", "pyarrow", "duckdb", "torch", "river")


def goals_of(area: str, quick: bool, limit_s: float) -> Iterator[dict[str, Any]]:
    """Run one part's module and give its goals; raises RuntimeError with what it said where it fails."""
    command = [sys.executable, str(HERE / "goals" / f"{area}.py"), *(["--quick"] if quick else [])]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit_s, check=False)
        said, code = done.stdout, done.returncode
        why = (done.stderr.strip().splitlines() or ["no word of why"])[-1]
    except subprocess.TimeoutExpired as late:
        said = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
        code, why = 1, f"not done in {limit_s:.0f} s"
    yield from (json.loads(line) for line in said.splitlines() if line.startswith("{"))
    if code:
        raise RuntimeError(f"{area}: {why}")


def before(machine: str) -> dict[str, tuple[float, str]]:
    """Return the last value of each goal that this kind of machine measured, and its commit."""
    if not HISTORY.exists():
        return {}
    with HISTORY.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["machine"] == machine]
    return {row["key"]: (float(row["value"]), row["commit"]) for row in rows}


def table_row(goal: dict[str, Any], earlier: tuple[float, str] | None) -> Sequence[str]:
    """Return the cells of one goal."""
    sign = ">=" if goal["at_least"] else "<="
    limit = "" if goal["limit"] is None else f"{sign} {_number(goal['limit'], goal['unit'])}"
    word = {True: "pass", False: "MISS", None: "for reference"}[goal["passed"]]
    return (
        goal["what"],
        limit,
        _number(goal["value"], goal["unit"]),
        goal["measured"],
        _against(goal, earlier),
        word,
    )


def _against(goal: dict[str, Any], earlier: tuple[float, str] | None) -> str:
    if earlier is None:
        return ""
    was, commit = earlier
    worse, better = (was, goal["value"]) if goal["at_least"] else (goal["value"], was)
    changed = ", WORSE" if worse > _WORSE * better else ""
    return f"{_number(was, goal['unit'])} ({commit}{changed})"


def _number(value: float, unit: str) -> str:
    number = f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return f"{number}{unit}" if unit in ("x", "%") else f"{number} {unit}".rstrip()


def machine_name() -> str:
    """Return the processor's name and the number of cores."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{(names or [platform.processor() or platform.machine()])[0]}, {os.cpu_count()} cores"


def commit_name() -> str:
    """Return the commit that is measured, with a + where files differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", "..", ":!history.csv", ":!RESULTS.md")
    return (git("rev-parse", "--short=8", "HEAD") or "unknown") + ("+" if changed else "")


def append_history(found: Sequence[dict[str, Any]], facts: dict[str, str]) -> None:
    """Append a row a goal."""
    new = not HISTORY.exists()
    with HISTORY.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, extrasaction="ignore", lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerows({**facts, **goal, "value": f"{goal['value']:.6g}"} for goal in found)


def write_table(table: str, facts: dict[str, str]) -> None:
    """Put the table in its place in RESULTS.md."""
    text = RESULTS.read_text(encoding="utf-8")
    head, _, rest = text.partition(BEGIN)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _VERSIONS)
    where = (
        f"{facts['date']}, commit {facts['commit']}, {facts['machine']}, Python {facts['python']}, {versions}"
    )
    said = f"{where}; load {facts['load']} at the start."
    RESULTS.write_text(f"{head}{BEGIN}\n{said}\n\n{table}\n{END}{rest.partition(END)[2]}", encoding="utf-8")


def machine_facts() -> dict[str, str]:
    """Return what a row of the history says of where it was measured."""
    return {
        "date": time.strftime("%Y-%m-%d"),
        "commit": commit_name(),
        "machine": machine_name(),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"


def main() -> None:
    """Measure the parts that are asked for, all of them by default."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("areas", nargs="*", choices=[[], *AREAS_S], help="parts; all by default")
    parser.add_argument("--quick", action="store_true", help="small and few: does it run at all")
    parser.add_argument("--no-record", action="store_true", help="keep nothing")
    asked = parser.parse_args()
    facts = machine_facts()
    earlier = before(facts["machine"])
    lines = [_line(HEADER), "|---" * len(HEADER) + "|"]
    print("\n".join(lines), flush=True)
    found, faults, begun = [], [], time.monotonic()
    for area in asked.areas or AREAS_S:
        try:
            for goal in goals_of(area, asked.quick, AREAS_S[area]):
                found.append(goal)
                lines.append(_line(table_row(goal, earlier.get(goal["key"]))))
                print(lines[-1], flush=True)
        except RuntimeError as error:
            faults.append(str(error))
            print(f"{error}", file=sys.stderr, flush=True)
    passed = sum(goal["passed"] is True for goal in found)
    of = sum(goal["passed"] is not None for goal in found)
    print(f"\n{passed} of {of} goals met in {(time.monotonic() - begun) / 60:.1f} minutes")
    if not asked.quick and not asked.no_record:
        append_history(found, facts)
        if not asked.areas:
            write_table("\n".join(lines), facts)
    if faults:
        sys.exit("\n".join(faults))


if __name__ == "__main__":
    main()
