"""What cannot be imported is refused with what it is and what to do, and nothing is left behind."""

import gzip
import io
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from importing import refused, written


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("smi.csv", "timestamp, index\n")
    return buffer.getvalue()


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"loss": [1.0]}), buffer)
    return buffer.getvalue()


_LINES = '{"a": {"deep": 1}, "a": 1, "b": 2.0}\n{"a": 2, "b": 1.9}\n'
_SMI = "timestamp, index, power.draw [W]\n2026/01/01 12:00:00.123, 0, 312.34 W\n"
_CASES = {
    "noheader": (
        "2026/01/01 12:00:00.123, 0, NVIDIA A100, 98 %, 312.34 W, 61\n" * 2,
        "an nvidia-smi log without its header (noheader)",
    ),
    "noheader, nounits": (
        "2026/01/01 12:00:00.123, 0, NVIDIA A100, 98, 312.34\n",
        "without its header (noheader)",
    ),
    "noheader, no time": ("0, NVIDIA A100, 98 %, 312.34 W\n", "without its header (noheader)"),
    "noheader after a warning": (
        "Unable to determine the device handle\n2026/01/01 12:00:00.123, 0, 98 %\n",
        "without its header (noheader)",
    ),
    "no header": (
        "2026-01-01T12:00:00Z,gpu,0.1,50\n",
        "a CSV without a header, so its columns have no names",
    ),
    "no header, of milliseconds": (
        "1761699262000;250,5;gpu0\n1761699263000;251,5;gpu0\n",
        "a CSV without a header, so its columns have no names; name them with --columns (also --time and ",
    ),
    "steps without a number": (
        "Loss;seen\n2,5;1\n",
        "no name of its columns is known (Loss, seen); say which are which: thermograd import ",
    ),
    "JSON lines": (
        _LINES,
        "JSON Lines (an object a line); no name of its columns is known (a, b); say which are which: "
        "thermograd import ",
    ),
    "some table": (
        "when;Watt;noise\n1700000000;2,5;1\n",
        "a CSV; no name of its columns is known (Watt, noise, when); say which are which: thermograd import ",
    ),
    "text log": (
        "[2026-01-01 12:00:00] INFO step 1 loss 2.0\n[2026-01-01 12:00:01] INFO step 2\n",
        "text, not a step log or device log (it begins with a bracket, but is no JSON)",
    ),
    "text log of ranks": ("[rank0]: loss 2.0\n", "text, not a step log"),
    "text log of numbers": ("[1] step 2\n[2] step 3\n", "text, not a step log"),
    "Python dictionaries": ("{'loss': 1.9, 'grad_norm': 1.0}\n", "text, not a step log"),
    "LFS": (
        "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a2146\nsize 12345\n",
        "a Git LFS pointer, not the file that it stands for; fetch that with git lfs pull",
    ),
    "W&B with tabulators": (
        "_step\t_timestamp\tloss\n1\t1700000000\t2\n",
        "a W&B history (CSV) with tabulators",
    ),
    "HTML": (
        "\n<!DOCTYPE html>\n<html><title>Log in</title></html>\n",
        "an HTML page (of a login, or an error?)",
    ),
    "screen without GPUs": ("Thu Jan  1\n+-----+\n| NVIDIA-SMI 535.1 |\n", "log"),
    "pmon": (
        "# gpu        pid  type    sm   mem   command\n# Idx          #   C/G     %     %   name\n",
        "nvidia-smi pmon, which is by process",
    ),
    "amd-smi monitor": (
        "GPU  POWER   GPU_T   MEM_T   GFX_CLK   GFX%\n  0  150 W   45 °C   38 °C   132 MHz   0 %\n",
        "the screen of amd-smi monitor; log with amd-smi monitor -w 1 --csv",
    ),
    "nvitop": (
        "Tue Nov 24 10:00:00 2026\n╒════╕\n│ NVITOP 1.3.2      Driver Version: 535.129.03 │\n",
        "the screen of nvitop",
    ),
    "a table that only looks like GPU-Z's": ("Date,Water [C]\n2026-11-24 10:00:00,61\n", "Date, Water [C]"),
    "a table that only looks like amd-smi's": (
        "timestamp,gpu,power_usage,vram_used\n1795514400,0,250000,1024\n",
        "a CSV; no name of its columns is known",
    ),
    "a comment that only looks like dmon's": ("# gpu temp and more\n0 61\n", "log"),
    "rocm-smi": (
        "\n===== ROCm System Management Interface =====\nDevice  Node  Temp\n",
        "the screen of rocm-smi; log with rocm-smi --csv",
    ),
    "gzip": (gzip.compress(_SMI.encode()), "a gzip archive; unpack it first"),
    "zip": (_zip(), "a zip archive; unpack it first"),
    "Parquet": (_parquet(), "a table (Parquet); no name of its columns is known ("),
    "SQLite": (b"SQLite format 3\0" + bytes(100), "a SQLite database"),
    "garbage": (bytes(range(256)) * 20, "a binary file, not UTF-8 text"),
    "UTF-16 without a mark": (
        _SMI.encode("utf-16-le"),
        "UTF-16 text without a byte order mark; save it as UTF-8",
    ),
    "UTF-16 of the other end": (_SMI.encode("utf-16-be"), "UTF-16 text without a byte order mark"),
    "empty": (b"", "an empty file"),
    "a byte order mark": (b"\xef\xbb\xbf", "an empty file"),
    "one line": ("timestamp, index, power.draw [W]", "no usable row in this device log (it has none)"),
    "one row without an end": (_SMI.rstrip("\n"), "1 x torn row: the file ends in mid-line"),
    "no times": (
        "step,loss\n1,2\n",
        "a table (CSV) has steps, but none of its columns is known as their time; name it with --time COLUMN",
    ),
    "one scrape": (
        '# TYPE DCGM_FI_DEV_SM_CLOCK gauge\nDCGM_FI_DEV_SM_CLOCK{gpu="0",UUID="GPU-a"} 210\n',
        "no sample has a timestamp, so this is one scrape and no time series",
    ),
    "one scrape of one line": ('DCGM_FI_DEV_SM_CLOCK{gpu="0"} 210', "no sample has a timestamp"),
}


@pytest.mark.parametrize("name", _CASES)
def test_what_a_file_is_that_cannot_be_imported_is_said(tmp_path: Path, name: str) -> None:
    content, sentence = _CASES[name]
    path = written(tmp_path / "log", content)
    message = refused(tmp_path, path, timezone="UTC")
    assert message.startswith(str(path))
    assert sentence in message
    assert "\n" not in message
    assert len(message) < 600
