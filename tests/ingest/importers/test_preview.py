"""``import --dry-run``: what would be taken from which column; nothing is written."""

import json
from pathlib import Path

from click.testing import CliRunner
from importing import SMI_HEADER, refused, smi_row, written
from thermograd.cli import main
from thermograd.ingest.importers.import_logs import import_run
from thermograd.ingest.importers.recording import Hints

TABLE = (
    "when;mW;step;loss;note\n"
    "2026-11-24T10:00:00Z;52300;1;2,5;a\n"
    "2026-11-24T10:00:01.5Z;;2;2,25;b\n"
    "noon;1;3;1;c\n"
)
OPTIONS = ("--time", "when", "--column", "power_w=mW", "--unit", "power_w=mW", "--dry-run")


def test_what_would_be_taken_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", TABLE)
    command = ["--runs", str(tmp_path / "runs"), "import", str(path), *OPTIONS]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0
    assert result.output.splitlines()[0] == "Nothing is written. This would be imported:"
    for line in (
        "  1 sample event with these columns:",
        "    power_w                from mW in mW: 1 value",
        "    first 2026-11-24T10:00:00Z  device gpu, power_w 52.3",
        "  2 step events with these columns:",
        "    step                   from step: 2 values",
        "    loss                   from loss: 2 values",
        "    last  2026-11-24T10:00:01.5Z  step 2, loss 2.25",
        "  times: telemetry: when, read as a date and time; step log: when, read as a date and time",
        "  rows: 4 read = 3 kept + 0 merged + 1 left out",
    ):
        assert line in result.output.splitlines()
    would = json.loads(CliRunner().invoke(main, [*command, "--json"]).stdout)
    assert would["run_id"] is None
    assert would["would"]["sample"]["columns"][1] == {
        "column": "power_w",
        "from": "mW",
        "unit": "mW",
        "values": 1,
        "null": 0,
    }
    assert would["would"]["step"]["last"]["time_ns"] == 1_795_514_401_500_000_000
    assert sorted(tmp_path.iterdir()) == [path]


def test_what_is_refused_is_refused_before_anything_would_be_written(tmp_path: Path) -> None:
    path = written(tmp_path / "a.csv", TABLE)
    hints = Hints(time="when", columns=(("power_w", "W"),))
    assert refused(tmp_path, path, hints=hints, dry_run=True) == refused(tmp_path, path, hints=hints)


def test_the_fields_of_a_format_are_named_too(tmp_path: Path) -> None:
    path = written(tmp_path / "smi.csv", SMI_HEADER + smi_row("00", 0) + smi_row("01", 0))
    told = import_run(tmp_path / "runs", [path], timezone="UTC", dry_run=True)
    sources = {column["column"]: column["from"] for column in told["would"]["sample"]["columns"]}
    assert sources["power_w"] == "power.draw [W]"
    assert sources["memory_used_bytes"] == "memory.used [MiB]"
    assert not (tmp_path / "runs").exists()
