"""Which files of those given are imported, and what is said of the others."""

from collections.abc import Callable
from pathlib import Path

from importing import Importer, write


def test_options_choose_among_several_logs(do_import: Importer, data: Path, tmp_path: Path) -> None:
    folder = tmp_path / "session"
    for copy in ("a", "b"):
        write(folder / f"{copy}.json", (data / "pair/step_log.json").read_bytes())
        write(folder / f"{copy}.csv", (data / "pair/device_log.csv").read_bytes())
    result, run = do_import(folder, training=Path("b.json"), telemetry=folder / "a.csv")
    assert result["rows"] == {"step": 40, "sample": 140, "metric": 0}
    assert {file["name"] for file in run.facts["import"]["files"]} == {"a.csv", "b.json"}
    assert result["ignored"] == [
        "a.json: another step log; --training names b.json",
        "b.csv: another device log; --telemetry names a.csv",
    ]


def test_an_option_that_names_the_wrong_kind_is_refused(refusal: Callable[..., str], data: Path) -> None:
    message = refusal(data / "pair", training=data / "pair/device_log.csv")
    assert "--training needs a step log, but this is an RLE device log (CSV)" in message


def test_formats_are_recognised_by_content_not_by_name(
    do_import: Importer, data: Path, tmp_path: Path
) -> None:
    csv = write(tmp_path / "steps.json", (data / "pair/device_log.csv").read_bytes())
    log = write(tmp_path / "telemetry.csv", (data / "pair/step_log.json").read_bytes())
    assert do_import(csv, log)[0]["rows"] == {"step": 40, "sample": 140, "metric": 0}


def test_the_same_file_twice_is_one_file(do_import: Importer, data: Path) -> None:
    result, _ = do_import(data / "pair", data / "pair" / ".." / "pair" / "step_log.json")
    assert result["rows"]["step"] == 40


def test_what_else_lies_in_a_folder_is_named_with_a_reason(
    do_import: Importer, data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "session"
    write(folder / "log.json", (data / "pair/step_log.json").read_bytes())
    write(folder / "weights.bin", b"\x00\xff\xfe" * 50)
    write(folder / "other.csv", "a,b\n1,2\n")
    write(folder / "bare.csv", "device,temp_c\ngpu,50\n")
    write(folder / "list.json", "[1, 2]")
    write(folder / "notes.txt", "hello")
    write(folder / "nothing", "")
    (folder / "sub").mkdir()
    result, _ = do_import(folder)
    assert result["ignored"] == [
        "bare.csv: a CSV without a time column (timestamp); it has: device, temp_c",
        "list.json: a JSON list, but not of objects with a 'step'",
        "notes.txt: text, not a step log or device log",
        "nothing: an empty file",
        "other.csv: a CSV; no name of its columns is known (a, b); say which are which: thermograd import "
        f"{folder / 'other.csv'} --time COLUMN --column power_w=COLUMN",
        "sub: a folder; name it to import it",
        "weights.bin: a binary file, not UTF-8 text",
    ]
