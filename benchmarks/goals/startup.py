"""Commands that answer at once: `--help`, `runs`, `show latest`, a count over three runs and over 1,000."""

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from goals.goal import CLI, Goal, against, in_turns, main, take


def measure(quick: bool) -> Iterator[Goal]:
    """Measure whole processes against a Python that imports one library, in turns."""
    rounds = 2 if quick else 9
    with tempfile.TemporaryDirectory() as folder:
        for seed in ("1", "2", "3"):
            take(*CLI, "--runs", folder, "simulate", "--minutes", "1", "--seed", seed)
        ours = (*CLI, "--runs", folder)
        python = sys.executable
        taken = in_turns(
            rounds,
            empty=(python, "-c", "pass"),
            pyarrow=(python, "-c", "import pyarrow"),
            duckdb=(python, "-c", "import duckdb"),
            help=(*CLI, "--help"),
            runs=(*ours, "runs"),
            show=(*ours, "show", "latest"),
            query=(*ours, "query", "SELECT count(*) FROM steps"),
        )
    yield against("start.help", "`--help` against `python -c pass`", 2.5, taken["help"], taken["empty"])
    yield against(
        "start.runs", "`runs` of three against `import pyarrow`", 2.0, taken["runs"], taken["pyarrow"]
    )
    yield against(
        "start.show", "`show latest` against `import pyarrow`", 2.0, taken["show"], taken["pyarrow"]
    )
    yield against(
        "start.query", "count of 3 runs against `import duckdb`", 2.5, taken["query"], taken["duckdb"]
    )


if __name__ == "__main__":
    main(measure)
