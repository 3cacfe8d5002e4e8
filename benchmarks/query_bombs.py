"""SQL that would take the machine: each query ends in time, in memory, with one sentence, or it is shown.

Each statement is asked on the command line with ``--timeout 5``, as the owner of the runs and as a stranger
(``--untrusted``); those whose answer is the bomb in every format. Measured from outside: seconds until the
command has ended, and the most memory that it and its child had (resident; the sum of both peaks, as Linux
tells them). A query holds that ended within `--most-s` seconds below `--most-gb` GB, with exit code 0 or 1,
at most one short sentence, and nothing left behind: no process, no file. On an idle machine: what else runs
is waited for.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
from rows import load
from thermograd.store.log.seal import seal_run
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run

FORMATS = ("table", "csv", "json", "parquet", "arrow")
MODES = {"owner": (), "stranger": ("--untrusted",)}
TIMEOUT_S = 5

HUGE = "range(99999999)"
NUMBERS = ", ".join(map(str, range(16_000)))
_DEEP_STRUCT = "{'a': " * 900 + "1" + "}" * 900
_DEEP_LIST = "[" * 900 + "1" + "]" * 900
_WIDE = ", ".join(f"range AS c{i}" for i in range(5_000))

# The work is the bomb.
WORK = {
    "recursion": [
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT * FROM t",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n + 1 FROM t) SELECT count(*) FROM t",
        "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n FROM t, range(2)) SELECT count(*) FROM t",
        "WITH RECURSIVE t(s) AS (SELECT 'x' UNION ALL SELECT s || s FROM t) SELECT max(length(s)) FROM t",
        "WITH RECURSIVE t(l) AS (SELECT [1] UNION ALL SELECT list_concat(l, l) FROM t) SELECT l FROM t",
        "WITH RECURSIVE t(a, b) AS (SELECT 1::HUGEINT, 1::HUGEINT UNION ALL SELECT b, (a + b) % 1000003"
        " FROM t) SELECT count(*) FROM t",
    ],
    "regex": [
        "SELECT regexp_matches(repeat('a', 20000000), '(a+)+$')",
        "SELECT regexp_replace(repeat('a', 20000000), 'a', 'bbbbbbbbbb', 'g')",
        "SELECT regexp_extract_all(repeat('a', 50000000), 'a')",
        "SELECT count(*) FROM range(100000000) WHERE regexp_matches(repeat('ab', 1000), '(a|b|ab)*c')",
        "SELECT regexp_matches(repeat('x', 1000000), 'x{1000}{1000}')",
        "SELECT regexp_split_to_array(repeat('a,', 30000000), ',')",
    ],
    "string": [
        "SELECT length(repeat('x', 4000000000))",
        "SELECT repeat(repeat('x', 60000), 60000)",
        "SELECT lpad('', 2000000000, 'x')",
        "SELECT rpad('', 2000000000, 'x')",
        "SELECT printf('%2000000000d', 1)",
        "SELECT format('{:>2000000000}', 1)",
        "SELECT string_agg(repeat('x', 1000), ',') FROM range(10000000)",
        "SELECT length(replace(repeat('x', 50000000), 'x', repeat('y', 100)))",
        "SELECT count(string_split(repeat('x ', 100000000), ' '))",
        "SELECT count(*) FROM range(100000000) WHERE md5(repeat('x', 10000)) = 'x'",
        "SELECT max(sha256(repeat('x', 1000000000)))",
        "SELECT reverse(repeat('é', 400000000))",
        "SELECT upper(repeat('ß', 500000000))",
        "SELECT translate(repeat('x', 500000000), 'x', 'y')",
        "SELECT repeat('x', 1000000) FROM range(1000000)",
        "SELECT hex(repeat('x', 1000000000))",
        "SELECT base64(repeat('x', 1000000000)::BLOB)",
        "SELECT url_encode(repeat(' ', 500000000))",
    ],
    "distance": [
        "SELECT levenshtein(repeat('a', 200000), repeat('b', 200000))",
        "SELECT damerau_levenshtein(repeat('a', 30000), repeat('b', 30000))",
        "SELECT jaro_similarity(repeat('ab', 500000), repeat('ba', 500000))",
        "SELECT jaro_winkler_similarity(repeat('ab', 500000), repeat('ba', 500000))",
        "SELECT hamming(repeat('a', 900000000), repeat('b', 900000000))",
        "SELECT jaccard(repeat('ab', 200000000), repeat('ba', 200000000))",
        "SELECT mismatches(repeat('a', 900000000), repeat('b', 900000000))",
    ],
    "list": [
        "SELECT len(range(2000000000))",
        "SELECT list_sum(range(2000000000))",
        "SELECT list_aggregate(generate_series(1, 1000000000), 'sum')",
        "SELECT len(list_sort(list_transform(range(300000000), x -> -x)))",
        "SELECT list_reduce(range(500000000), (x, y) -> x + y)",
        "SELECT list(range) FROM range(1000000000)",
        "SELECT count(*) FROM (SELECT unnest(range(1000000000)))",
        "SELECT len(flatten(list_transform(range(30000), x -> range(30000))))",
        "SELECT len(list_distinct(range(300000000)))",
        "SELECT array_to_string(range(300000000), ',')",
        "SELECT len(list_resize([1], 2000000000))",
        "SELECT list_filter(range(900000000), x -> x > 899999990)",
        "SELECT len(list_zip(range(200000000), range(200000000)))",
        "SELECT histogram(range) FROM range(100000000)",
        "SELECT len(map(range(100000000), range(100000000)))",
        "SELECT len(list_grade_up(range(300000000)))",
    ],
    "join": [
        f"SELECT count(*) FROM {HUGE} a, {HUGE} b WHERE a.range < b.range",
        f"SELECT count(*) FROM {HUGE} a, {HUGE} b, {HUGE} c",
        f"SELECT * FROM {HUGE} a, {HUGE} b",
        f"SELECT count(*) FROM {HUGE} a JOIN {HUGE} b ON a.range % 7 = b.range % 7",
        f"SELECT count(*) FROM {HUGE} a JOIN {HUGE} b ON a.range::VARCHAR = b.range::VARCHAR",
        f"SELECT count(*) FROM {HUGE} a LEFT JOIN {HUGE} b ON a.range = b.range + 1",
        f"SELECT count(*) FROM {HUGE} a ASOF JOIN {HUGE} b ON a.range >= b.range",
        f"SELECT (SELECT count(*) FROM {HUGE} b WHERE b.range < a.range) FROM {HUGE} a",
        f"SELECT count(*) FROM {HUGE} a POSITIONAL JOIN {HUGE} b",
        "SELECT count(*) FROM steps a, steps b, steps c, steps d, steps e, steps f WHERE a.step < f.step",
        "SELECT count(*) FROM aligned a, aligned b, aligned c, aligned d, aligned e",
    ],
    "sort and groups": [
        "SELECT * FROM range(1000000000) ORDER BY hash(range)",
        "SELECT count(DISTINCT hash(range)) FROM range(1000000000)",
        "SELECT hash(range), count(*) FROM range(1000000000) GROUP BY 1",
        "SELECT DISTINCT range::VARCHAR FROM range(1000000000)",
        "SELECT range FROM range(300000000) EXCEPT SELECT range + 1 FROM range(300000000)",
        "SELECT quantile_cont(random(), 0.5) FROM range(1000000000)",
        "SELECT mode(random()) FROM range(1000000000)",
        "SELECT entropy(range) FROM range(1000000000)",
        "SELECT median(range::DECIMAL(38, 10)) FROM range(500000000)",
        "SELECT approx_quantile(random(), [0.1, 0.9]), reservoir_quantile(random(), 0.5)"
        " FROM range(2000000000)",
        "SELECT range % 1000000, list(range) FROM range(1000000000) GROUP BY ALL",
        "SELECT a, b, c, count(*) FROM (SELECT range a, range * 7 b, range * 13 c FROM range(10000000))"
        " GROUP BY CUBE (a, b, c)",
    ],
    "window": [
        "SELECT sum(s) FROM (SELECT sum(range) OVER (ORDER BY range) s FROM range(1000000000))",
        "SELECT median(range) OVER (ORDER BY range ROWS 1000000 PRECEDING) FROM range(10000000)",
        "SELECT max(range) OVER (ORDER BY random() ROWS BETWEEN range PRECEDING AND range FOLLOWING)"
        " FROM range(10000000)",
        "SELECT list(range) OVER (ORDER BY range) FROM range(1000000)",
        "SELECT string_agg(range, ',') OVER (ORDER BY range) FROM range(1000000)",
        "SELECT count(DISTINCT range) OVER (ORDER BY range ROWS 100000 PRECEDING) FROM range(10000000)",
    ],
    "numbers and bits": [
        "SELECT bit_count(bitstring('1', 2000000000))",
        "SELECT bitstring_agg(range, 0, 9999999999) FROM range(1000)",
        "SELECT sum(range::DECIMAL(38, 0) * range::DECIMAL(38, 0)) FROM range(1000000000)",
        "SELECT sum(factorial(range % 33)) FROM range(1000000000)",
        "SELECT sum(gamma(range) + lgamma(range)) FROM range(1000000000)",
        "SELECT bit_xor(hash(range)) FROM range(100000000000)",
        "SELECT length(format('{:.2000000000f}', 0.1))",
    ],
    "JSON": [
        "SELECT json_array_length(to_json(range(100000000)))",
        "SELECT json_group_array(range) FROM range(1000000000)",
        "SELECT json_extract(repeat('[', 100000000), '$[0]')",
        "SELECT json_structure(repeat('[', 5000) || repeat(']', 5000))",
        "SELECT json_valid(repeat('[', 200000000) || repeat(']', 200000000))",
        "SELECT json_merge_patch(json_object('a', repeat('x', 500000000)), json_object('b', 1))",
    ],
}

# Planning is the bomb.
PLAN = {
    "depth": [
        f"SELECT {_DEEP_STRUCT}",
        f"SELECT {_DEEP_LIST}",
        "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
        "SELECT " + "-" * 1 + " -".join([""] * 5_000) + "1",
        "SELECT " + "NOT " * 10_000 + "true",
        "SELECT " + "CASE WHEN true THEN " * 2_000 + "1" + " END" * 2_000,
        "SELECT " + "abs(" * 5_000 + "1" + ")" * 5_000,
        "SELECT * FROM " + "(SELECT * FROM " * 800 + "range(1)" + ")" * 800,
        "SELECT " + "(SELECT " * 800 + "1" + ")" * 800,
        "SELECT 1" + " + 1" * 20_000,
        "SELECT 'a'" + " || 'a'" * 10_000,
        "SELECT CAST(NULL AS " + "STRUCT(a " * 900 + "INT" + ")" * 900 + ")",
        "SELECT CAST(NULL AS INT" + "[]" * 5_000 + ")",
        "SELECT " + "list_transform([1], x -> " * 300 + "x" + ")" * 300,
        "SELECT '" + "[" * 50_000 + "]" * 50_000 + "'::JSON",
        "SELECT " + "{'a': " * 300 + "1" + "}" * 300 + " FROM range(100000)",
    ],
    "breadth": [
        "SELECT count(*) FROM range(100000) WHERE " + " AND ".join(f"range <> {i}" for i in range(4_000)),
        "SELECT count(*) FROM range(100000) WHERE " + " OR ".join(f"range = {i} + 1" for i in range(4_000)),
        f"SELECT count(*) FROM range(10000000) WHERE range NOT IN ({NUMBERS})",
        f"SELECT [{NUMBERS}]",
        "SELECT * FROM (VALUES " + ", ".join(f"({i})" for i in range(12_000)) + ")",
        " UNION ALL ".join(["SELECT 1"] * 6_000),
        " UNION ".join(["SELECT * FROM range(1000000)"] * 500),
        "SELECT count(*) FROM " + ", ".join(f"range(10) t{i}" for i in range(60)),
        "SELECT * FROM " + " JOIN ".join(f"steps s{i}" for i in range(18)) + " USING (step)",
        "SELECT count(*) FROM steps s0 "
        + " ".join(f"JOIN steps s{i} ON s{i}.step = s{i - 1}.step" for i in range(1, 150)),
        "WITH a0 AS (SELECT 1 x), "
        + ", ".join(f"a{i} AS (SELECT a.x FROM a{i - 1} a, a{i - 1} b)" for i in range(1, 30))
        + " SELECT count(*) FROM a29",
        "SELECT '" + "x" * 120_000 + "'",
        'SELECT 1 AS "' + "x" * 120_000 + '" FROM range(1000000)',
        "SELECT " + ", ".join(f"1 AS c{i}" for i in range(10_000)),
        "SELECT " + "9" * 120_000,
        "SELECT COLUMNS('c.*') + COLUMNS('c.*') FROM (SELECT "
        + ", ".join(f"1 AS c{i}" for i in range(5_000))
        + ")",
        "SELECT grouping("
        + ", ".join(f"c{i}" for i in range(12))
        + ") FROM (SELECT "
        + ", ".join(f"range % {i + 2} AS c{i}" for i in range(12))
        + " FROM range(100000)) GROUP BY CUBE ("
        + ", ".join(f"c{i}" for i in range(12))
        + ")",
        "FROM (PIVOT (SELECT range k, range v FROM range(5000)) ON k IN ("
        + NUMBERS[:20_000].rsplit(",", 1)[0]
        + ") USING sum(v))",
    ],
    "message": [
        "SELECT error(repeat('x', 60000000))",
        "SELECT CAST(repeat('x', 60000000) AS INT)",
        "SELECT error(repeat('a' || chr(10), 30000000))",
        "SELECT strptime(repeat('x', 60000000), '%Y')",
        "SELECT " + "x" * 120_000,
        "SELECT '" + "y" * 100_000 + "'::INT",
        "SELECT error(repeat(chr(27) || '[31m', 10000000))",
        "SELECT regexp_matches('a', repeat('(', 60000000))",
        "SELECT enum_range(NULL::ENUM('" + "z" * 50_000 + "'))['" + "q" * 50_000 + "']",
    ],
}

# The answer is the bomb, in every format.
ANSWERS = {
    "null": ["SELECT NULL FROM range(1000000000)", "SELECT NULL::INT FROM range(1000000000)"],
    "bool": ["SELECT true FROM range(500000000)"],
    "rows": ["SELECT range FROM range(1000000000)", "SELECT uuid(), random() FROM range(1000000000)"],
    "struct": [
        "SELECT {'a': NULL, 'b': NULL, 'c': {'d': NULL}} FROM range(200000000)",
        "SELECT {'" + "n" * 50_000 + "': range} FROM range(1000000)",
    ],
    "list of nulls": [
        "SELECT list_resize([NULL], 50000000)",
        "SELECT list_resize([NULL], 1000) FROM range(10000000)",
        "SELECT [[NULL, NULL], NULL, [NULL]] FROM range(100000000)",
    ],
    "map": ["SELECT MAP {'k': NULL, 'l': range} FROM range(100000000)"],
    "union": ["SELECT union_value(a := range) FROM range(100000000)"],
    "long values": [
        "SELECT repeat('x', 100000) FROM range(10000000)",
        "SELECT repeat('x', 100000000), repeat(chr(7), 100000000)",
        "SELECT repeat('x', 100000)::BLOB FROM range(1000000)",
        "SELECT range(30000000)",
    ],
    "wide": [
        f"SELECT {_WIDE} FROM range(10000000)",
        "SELECT [range, range] AS pair, * FROM runs, range(1000000000)",
    ],
    "odd types": [
        "SELECT INTERVAL 1 DAY, 'A'::BLOB, range::DECIMAL(38, 5), bitstring('1', 100) FROM range(100000000)",
        "SELECT TIMESTAMP '290000-01-01', DATE 'infinity' FROM range(100000000)",
    ],
    "told": [
        "EXPLAIN SELECT " + "1 + " * 900 + "range FROM range(10)",
        "SUMMARIZE SELECT * FROM range(1000000000)",
    ],
}


@dataclass
class Outcome:
    """How one query ended; `fault` says why it does not hold, else it is empty."""

    kind: str
    mode: str
    sql: str
    output_format: str
    seconds: float
    memory_gb: float
    end: str
    fault: str = ""

    def line(self) -> str:
        """Return all of it as one line."""
        how = f"{self.seconds:5.1f} s {self.memory_gb:5.2f} GB  {self.mode} {self.output_format}"
        return f"{how}  {self.sql[:90]!r}: {self.end}; {self.fault or 'holds'}"


def bombs(every_format: bool = True) -> Iterator[tuple[str, str, str]]:
    """Yield kind, SQL and format: the formats take turns where the answer is not the bomb."""
    number = 0
    for kinds in (WORK, PLAN):
        for kind, statements in kinds.items():
            for sql in statements:
                yield kind, sql, FORMATS[number % len(FORMATS)]
                number += 1
    for kind, statements in ANSWERS.items():
        for sql in statements:
            for output_format in FORMATS if every_format else (FORMATS[number % len(FORMATS)],):
                yield f"answer: {kind}", sql, output_format
                number += 1


class Memory:
    """Looks every 20 ms at what some processes and their children hold, in one thread for all."""

    def __init__(self) -> None:
        self._peaks: dict[int, Counter[int]] = {}
        self._stop = threading.Event()
        threading.Thread(target=self._look, daemon=True).start()

    def begin(self, pid: int) -> None:
        """Look at a process from now on."""
        self._peaks[pid] = Counter()

    def end(self, pid: int) -> float:
        """Return the sum of the most that a process and each of its children had, in GB."""
        return self._peaks.pop(pid).total() / 2**20

    def _look(self) -> None:
        while not self._stop.wait(0.02):
            for pid, peaks in list(self._peaks.items()):
                for one in (pid, *_children(pid)):
                    peaks[one] = max(peaks[one], _peak_kb(one))


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def _peak_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def ask(
    memory: Memory, folder: Path, bomb: tuple[str, str, str], mode: str, most_s: float, most_gb: float
) -> Outcome:
    """Ask one query on the command line and say how it ended."""
    kind, sql, output_format = bomb
    command = [sys.executable, "-m", "thermograd.cli", "--runs", str(folder / "runs"), "query", sql]
    options = ["--format", output_format, "--timeout", str(TIMEOUT_S), *MODES[mode]]
    begun = time.monotonic()
    with tempfile.TemporaryFile() as errors:
        environment = os.environ | {"TMPDIR": str(folder / "tmp")}
        process = subprocess.Popen(
            [*command, *options], stdout=subprocess.DEVNULL, stderr=errors, env=environment, cwd=folder
        )
        memory.begin(process.pid)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
        seconds = time.monotonic() - begun
        memory_gb = memory.end(process.pid)
        errors.seek(0)
        said = errors.read().decode(errors="replace")
    outcome = Outcome(kind, mode, sql, output_format, seconds, memory_gb, _end(process.returncode, said))
    outcome.fault = ", ".join(_faults(process, said, outcome, most_s, most_gb))
    return outcome


def _end(code: int | None, said: str) -> str:
    for words in ("was stopped after", "more memory", "was cut after", "took its process down"):
        if words in said:
            return words
    return "answered" if code == 0 else "refused"


def _faults(
    process: "subprocess.Popen[bytes]", said: str, outcome: Outcome, most_s: float, most_gb: float
) -> Iterator[str]:
    if outcome.seconds > most_s:
        yield f"{outcome.seconds:.1f} s"
    if outcome.memory_gb > most_gb:
        yield f"{outcome.memory_gb:.2f} GB"
    if process.returncode not in (0, 1):
        yield f"exit code {process.returncode}"
    if len(said) > 2500 or (process.returncode == 1) != said.startswith("Error: ") or "Traceback" in said:
        yield f"says {said[:80]!r} ({len(said)} characters)"


def write_runs(folder: Path) -> None:
    """Write a sealed run and a live one."""
    (folder / "tmp").mkdir()
    for name in ("sealed", "live"):
        run = create_run(folder / "runs", name)
        writer = EventWriter(run.path, run.run_id, "w")
        for i in range(5_000):
            writer.append("step", step=i, loss=i / 7, grad_norm=1.0)
            writer.append("sample", device="gpu", temperature_c=50.0 + i % 7)
        writer.close()
        if name == "sealed":
            seal_run(run.path, run.run_id)


def left_behind(folder: Path, before: list[Path]) -> list[str]:
    """Return the files that are new, and the processes of ours that still run."""
    files = [str(path) for path in sorted(folder.rglob("*")) if path not in before]
    ours = psutil.Process().children(recursive=True)
    return files + [" ".join(p.cmdline()[:5]) for p in ours if p.status() != psutil.STATUS_ZOMBIE]


def print_table(outcomes: list[Outcome]) -> None:
    """Print one row for each kind and mode."""
    print(
        "| kind | mode | queries | hold | worst seconds | worst GB | ended |\n|---|---|---|---|---|---|---|"
    )
    groups: dict[tuple[str, str], list[Outcome]] = {}
    for outcome in outcomes:
        groups.setdefault((outcome.kind, outcome.mode), []).append(outcome)
        groups.setdefault(("all", outcome.mode), []).append(outcome)
    for (kind, mode), group in sorted(groups.items(), key=lambda item: item[0][0] == "all"):
        held = sum(not outcome.fault for outcome in group)
        seconds, gigabytes = max(o.seconds for o in group), max(o.memory_gb for o in group)
        ends = ", ".join(f"{n} {end}" for end, n in Counter(o.end for o in group).most_common())
        print(f"| {kind} | {mode} | {len(group)} | {held} | {seconds:.1f} | {gigabytes:.2f} | {ends} |")


def main() -> None:
    """Ask every query in both modes and print a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=1, help="queries that run at the same time")
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--mode", choices=MODES, help="only this one")
    parser.add_argument("--one-format", action="store_true", help="formats take turns everywhere")
    parser.add_argument("--most-s", type=float, default=7.0)
    parser.add_argument("--most-gb", type=float, default=1.5)
    parser.add_argument("--verbose", action="store_true", help="a line for each query")
    options = parser.parse_args()
    chosen = [bomb for bomb in bombs(not options.one_format) if options.only in bomb[0]]
    outcomes = []
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(options.at_once) as pool:
        folder, memory = Path(name), Memory()
        write_runs(folder)
        before = sorted(folder.rglob("*"))
        modes = [options.mode] if options.mode else list(MODES)
        waiting = [
            pool.submit(ask, memory, folder, bomb, mode, options.most_s, options.most_gb)
            for bomb in chosen
            for mode in modes
        ]
        for future in waiting:
            outcome = future.result()
            outcomes.append(outcome)
            if outcome.fault or options.verbose:
                print(outcome.line(), flush=True)
        left = left_behind(folder, before)
    print_table(outcomes)
    faults = [outcome for outcome in outcomes if outcome.fault]
    print(f"\n{len(outcomes)} queries, {options.at_once} at once, {load()}: {len(faults)} do not hold")
    print(f"left behind: {left or 'nothing'}")
    sys.exit(bool(faults or left))


if __name__ == "__main__":
    main()
