"""Logs that training programs printed: every step of them, against plain regular expressions."""

import json
import math
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.formats.text_logs import TEXT_LOGS
from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.registry import recognise

LOGS = Path(__file__).parents[2] / "fixtures/imports/text_logs"
START = Hints("2026-11-24T10:00:00Z")
_START_NS = 1795514400 * 10**9
# Of each log: its program, whether it has times, what is in the lines of its steps and in no other, and where
# the numbers are. A step that several lines tell of is one.
TRUTH: dict[str, tuple[str, bool, str, dict[str, str]]] = {
    "megatron": (
        "Megatron-LM", True, "consumed samples",
        {"step": r"iteration +(\d+)/", "loss": r"lm loss: (\S+)", "grad_norm": r"grad norm: (\S+)",
         "learning_rate": r"learning rate: (\S+)", "step_time_ms": r"iteration \(ms\): (\S+)",
         "time": r"\[(\S+ \S+?)\]"},
    ),
    "megatron_old": (
        "Megatron-LM", False, "consumed samples",
        {"step": r"iteration +(\d+)/", "loss": r"lm loss: (\S+)", "grad_norm": r"grad norm: (\S+)",
         "learning_rate": r"learning rate: (\S+)", "step_time_ms": r"iteration \(ms\): (\S+)"},
    ),
    "nemo": (
        "NeMo", False, "Training epoch",
        {"step": r"global_step: (\d+)", "loss": r"reduced_train_loss: (\S+)", "learning_rate": r"lr: (\S+)",
         "step_time_s": r"timing in s: (\S+)", "epoch": r"epoch (\d+),"},
    ),
    "nemo_bar": (
        "NeMo (progress bar)", False, "global_step",
        {"step": r"global_step=(\d+)\.000", "loss": r"reduced_train_loss=([\d.]+)",
         "step_time_s": r"timing in s=([\d.]+)", "epoch": r"Epoch (\d+)"},
    ),
    "torchtitan": (
        "torchtitan", True, "[rank0]:.*31mstep: ",
        {"step": r"step: +(\d+)", "loss": r"loss: +([\d.]+)", "grad_norm": r"grad_norm: +([\d.]+)",
         "time": r"(2026-\S+ [\d:,]+)"},
    ),
    "torchtitan_old": (
        "torchtitan", True, "step: ",
        {"step": r"step: +(\d+)", "loss": r"loss: +([\d.]+)", "time": r"^(2024-\S+ [\d:,]+)"},
    ),
    "nanogpt": (
        "nanoGPT", False, "^iter ",
        {"step": r"iter (\d+)", "loss": r"loss ([\d.]+)", "step_time_ms": r"time ([\d.]+)ms"},
    ),
    "nanochat": (
        "nanochat", False, "dt:",
        {"step": r"step (\d+)", "loss": r"loss: (\S+)", "grad_norm": r"grad norm: (\S+)",
         "step_time_ms": r"dt: ([\d.]+)ms"},
    ),
    "nanochat_bar": (
        "nanochat", False, "dt:",
        {"step": r"step (\d+)", "loss": r"loss: (\S+)", "step_time_ms": r"dt: ([\d.]+)ms",
         "epoch": r"epoch: (\d+)"},
    ),
    "build_nanogpt": (
        "build-nanogpt", False, "dt:",
        {"step": r"step +(\d+)", "loss": r"loss: (\S+)", "grad_norm": r"norm: (\S+)",
         "learning_rate": r"lr: (\S+)", "step_time_ms": r"dt: ([\d.]+)ms"},
    ),
    "llm_c": (
        "llm.c", False, "tok/s",
        {"step": r"step +(\d+)/", "loss": r"loss (\S+)", "grad_norm": r"norm (\S+)",
         "learning_rate": r"lr (\S+)", "step_time_ms": r"\| ([\d.]+) ms"},
    ),
    "modded_nanogpt": ("modded-nanogpt", False, r"^step:\d+/1770 train", {"step": r"step:(\d+)"}),
    "olmo": (
        "OLMo", True, "step=",
        {"step": r"step=(\d+)", "loss": r"CrossEntropyLoss=(\S+)", "grad_norm": r"total_grad_norm=(\S+)",
         "learning_rate": r"learning_rate_group0=(\S+)", "epoch": r"epoch=(\d+)", "time": r"^\[(\S+ \S+)\]"},
    ),
    "olmo_core": (
        "OLMo", True, "step=",
        {"step": r"step=(\d+)", "loss": r"train/CE loss=(\S+)", "grad_norm": r"total grad norm=(\S+)",
         "learning_rate": r"LR \(group 0\)=(\S+)", "epoch": r"epoch=(\d+)", "time": r"^(\S+ \S+)"},
    ),
    "deepspeed": (
        "DeepSpeed", True, "^steps: ",
        {"step": r"steps: (\d+)", "loss": r"loss: (\S+)", "step_time_s": r"iter time \(s\): (\S+)",
         "learning_rate": r"lr=\[([^,]+)", "time": r"\n\[(\S+ \S+)\]"},
    ),
    "fairseq": (
        "fairseq", True, "train_inner",
        {"step": r"num_updates=(\d+)", "loss": r" loss=([\d.]+)", "grad_norm": r"gnorm=([\d.]+)",
         "learning_rate": r"lr=([\d.e-]+)", "epoch": r"epoch (\d+)", "time": r"^(\S+ \S+)"},
    ),
    "fairseq_json": (
        "fairseq", True, "train_inner",
        {"step": r'num_updates": "(\d+)', "loss": r' "loss": "([\d.]+)', "grad_norm": r'gnorm": "([\d.]+)',
         "learning_rate": r'lr": "([\d.e-]+)', "epoch": r'epoch": (\d+)', "time": r"^(\S+ \S+)"},
    ),
    "torchtune": (
        "torchtune", False, "^Step ",
        {"step": r"Step (\d+)", "loss": r"loss:(\S+)", "learning_rate": r"lr:(\S+)",
         "grad_norm": r"grad_norm:(\S+)"},
    ),
    "torchtune_bar": (
        "torchtune (progress bar)", False, r"^\d+\|\d+\|",
        {"step": r"\|(\d+)\|Loss", "loss": r"Loss: ([\d.]+)", "epoch": r"^(\d+)\|"},
    ),
    "trainer": (
        "Hugging Face Trainer (printed)", False, "^{'loss'",
        {"loss": r"'loss': '([^']+)", "grad_norm": r"'grad_norm': '([^']+)", "epoch": r"'epoch': '([^']+)",
         "learning_rate": r"'learning_rate': '([^']+)"},
    ),
    "swift": (
        "Hugging Face Trainer (printed)", False, "'loss'",
        {"step": r"max_steps': '(\d+)/", "loss": r"'loss': '([^']+)", "grad_norm": r"'grad_norm': '([^']+)",
         "epoch": r"'epoch': '([^']+)", "learning_rate": r"'learning_rate': '([^']+)"},
    ),
}  # fmt: skip


def _entries(name: str) -> list[str]:
    """The text of each step: from its line to the next one's."""
    _, _, marker, _ = TRUTH[name]
    text = (LOGS / f"{name}.log").read_text(encoding="utf-8").replace("\r", "\n")
    entries: list[str] = []
    for line in text.split("\n"):
        if re.search(marker, line):
            entries.append(line)
        elif entries:
            entries[-1] += "\n" + line
    return entries


def _true_rows(name: str) -> list[dict[str, float]]:
    rows: list[dict[str, float]] = []
    for entry in _entries(name):
        entry = re.sub(r"\x1b\[[\d;]*m", "", entry)
        found = {what: re.search(where, entry) for what, where in TRUTH[name][3].items()}
        row: dict[str, float] = {}
        for what, match in found.items():
            if match and what == "time":
                digits = re.split(r"[-T :.,]", match[1])
                row["second"] = int(digits[4]) * 60 + int(digits[5])
            elif match:
                row[what] = float(match[1])
        if "step_time_ms" in row:
            row["step_time_s"] = row.pop("step_time_ms") / 1000
        if row not in rows:
            rows.append(row)
    return rows


def _our_rows(steps: list[dict[str, Any]], known: dict[str, float]) -> list[dict[str, float]]:
    rows = []
    for step in steps:
        row = {name: value for name, value in step.items() if name in known and value is not None}
        if "second" in known:
            row["second"] = step["time_ns"] // 10**9 % 3600
        rows.append(row)
    return rows


@pytest.mark.parametrize("name", sorted(path.stem for path in LOGS.iterdir()))
def test_every_value_of_a_log_is_the_one_that_plain_expressions_find(name: str, tmp_path: Path) -> None:
    program, is_timed, _, where = TRUTH[name]
    path = LOGS / f"{name}.log"
    without = "" if is_timed else " without times"
    assert recognise(path)[1] == f"a log of {program} (text{without})"
    hints = Hints() if is_timed else START._replace(step_time_s=None if "step_time" in str(where) else 0.5)
    found = imported(tmp_path, path, timezone="UTC", hints=hints)
    steps, true = found.rows("step"), _true_rows(name)
    known = {what: 0.0 for row in true for what in row}
    ours = _our_rows(steps, known)
    assert len(ours) == len(true) > 2
    for mine, theirs in zip(ours, true, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-12)
    text = re.sub(r"\x1b\[[\d;]*[mA]", "", path.read_text(encoding="utf-8")).replace("\r", "\n")
    assert found.result["account"]["read"] == sum(bool(line.strip()) for line in text.split("\n"))


@pytest.mark.parametrize(
    ("log", "name", "values"),
    [
        ("megatron", "validation/lm loss value", {60: 8.95}),
        ("megatron", "throughput per GPU (TFLOP/s/GPU)", {n: 390 + n / 100 for n in range(10, 121, 10)}),
        ("megatron", "number of nan iterations", dict.fromkeys(range(10, 121, 10), 0.0)),
        ("torchtitan", "validation/loss", {40: 10.5}),
        ("torchtitan", "tps", {n: 7022.0 + n for n in (1, *range(10, 71, 10))}),
        ("torchtitan", "mfu (%)", dict.fromkeys((1, *range(10, 51, 10)), 41.19)),
        ("nanogpt", "val loss", {0: 4.2823, 50: 2.5312}),
        ("nanochat", "Validation bpb", {0: 3.2014}),
        ("nanochat", "tok/sec", {n: 83_385.0 - n for n in range(7)}),
        ("modded_nanogpt", "val_loss", {0: 10.8258, 5: 9.1591, 10: 7.4925}),
        ("olmo", "train/Perplexity", {n: 76_631.0 - 1000 * n for n in range(1, 6)}),
        ("deepspeed", "RunningAvgSamplesPerSec", dict.fromkeys(range(10, 51, 10), 25.025)),
        ("trainer", "eval_loss", {20: 13.71, 40: 13.7, 60: 13.69}),
        ("trainer", "train_runtime", {60: 0.2761}),
    ],
)
def test_what_is_no_column_is_a_metric_at_its_step(
    log: str, name: str, values: dict[int, float], tmp_path: Path
) -> None:
    is_timed = TRUTH[log][1]
    hints = Hints() if is_timed else START._replace(step_time_s=0.5)
    rows = imported(tmp_path, LOGS / f"{log}.log", timezone="UTC", hints=hints).rows("metric")
    assert {row["step"]: row["value"] for row in rows if row["name"] == name} == pytest.approx(values)


def test_what_the_program_calls_a_column_is_said(tmp_path: Path) -> None:
    assert imported(tmp_path / "a", LOGS / "megatron.log", timezone="UTC").result["columns"] == {
        "loss": "lm loss",
        "grad_norm": "grad norm",
        "learning_rate": "learning rate",
        "step_time_s": "elapsed time per iteration (ms)",
    }
    olmo = imported(tmp_path / "b", LOGS / "olmo.log", timezone="UTC").result["columns"]
    assert olmo["loss"] == "train/CrossEntropyLoss"


def test_an_evaluation_is_when_the_step_before_it_was(tmp_path: Path) -> None:
    found = imported(tmp_path, LOGS / "megatron.log", timezone="UTC")
    at = {row["step"]: row["time_ns"] for row in found.rows("step")}
    times = {row["time_ns"] for row in found.rows("metric") if row["name"].startswith("validation/")}
    assert times == {at[60]}


def test_the_step_of_a_printed_dictionary_is_that_of_the_bar_below_it(tmp_path: Path) -> None:
    hints = START._replace(step_time_s=0.5)
    steps = imported(tmp_path, LOGS / "trainer.log", hints=hints).rows("step")
    assert [row["step"] for row in steps] == list(range(5, 61, 5))
    burst = "  0%|  | 0/40 [00:00<?, ?it/s]\r  5%|  | 2/40 [00:01<00:19]\n" + "".join(
        f"{{'loss': {2 - n / 10}, 'epoch': {n / 4}}}\n" for n in range(1, 6)
    )
    left = imported(tmp_path, written(tmp_path / "a.log", burst), hints=hints)
    assert [row["step"] for row in left.rows("step")] == [2]  # of the others nothing says which they are
    (reason,) = [
        text for text in left.result["left_out"] if text.startswith("a step's line that does not say")
    ]
    assert reason.endswith("(trainer_state.json does)")
    assert left.result["left_out"][reason] == 4
    absurd = written(tmp_path / "b.log", burst + f" 50%|  | {'9' * 5000}/40 [00:01<00:19]\n")
    assert len(imported(tmp_path / "b", absurd, hints=hints).rows("step")) == 1


def _seconds(steps: list[dict[str, Any]]) -> list[float]:
    return [(step["time_ns"] - _START_NS) / 1e9 for step in steps]


def test_a_line_of_a_mean_is_as_long_as_the_steps_that_it_is_of(tmp_path: Path) -> None:
    line = "iteration {0:8d}/  90 | elapsed time per iteration (ms): {1} | lm loss: 2.0E+00 |\n"
    text = "".join(line.format(step, ms) for step, ms in ((10, 500.0), (20, 250.0), (30, 1000.0)))
    steps = imported(tmp_path, written(tmp_path / "a.log", text), hints=START).rows("step")
    assert _seconds(steps) == [5.0, 7.5, 17.5]


def test_steps_of_which_no_line_tells_took_as_long_as_the_median_of_those_around(tmp_path: Path) -> None:
    times_ms = (90_000, 1000, 1000, 1000, 50_000)
    text = "".join(f"iter {10 * n}: loss 2.{n}, time {ms}ms, mfu 1%\n" for n, ms in enumerate(times_ms))
    steps = imported(tmp_path, written(tmp_path / "a.log", text), hints=START).rows("step")
    assert _seconds(steps) == [90.0, 100.0, 110.0, 120.0, 179.0]


def test_a_log_that_goes_on_from_a_checkpoint_begins_when_it_began(tmp_path: Path) -> None:
    text = "".join(f"iter {n}: loss 2.5, time 1000ms\n" for n in (5000, 5010, 5020, 5010, 5020))
    found = imported(tmp_path, written(tmp_path / "a.log", text), hints=START)
    assert _seconds(found.rows("step")) == [10.0, 20.0, 30.0, 40.0, 50.0]
    assert [row["step"] for row in found.rows("step")] == [5000, 5010, 5020, 5010, 5020]
    assert [mark["mark"] for mark in found.rows("mark")] == ["gap"]


def test_a_step_time_that_a_person_gives_goes_before_the_logs_own(tmp_path: Path) -> None:
    steps = imported(tmp_path, LOGS / "nanogpt.log", hints=START._replace(step_time_s=2.0)).rows("step")
    assert _seconds(steps)[:3] == [2.0, 22.0, 42.0]  # step 0 is the first


def test_what_a_log_without_times_needs_is_said_as_a_command(tmp_path: Path) -> None:
    message = refused(tmp_path, LOGS / "nanogpt.log")
    assert "this log of nanoGPT has steps but no times" in message
    assert message.endswith("nanogpt.log --started-at 2026-11-24T10:00:00Z")
    message = refused(tmp_path, LOGS / "torchtune.log", hints=START)
    assert message.endswith("torchtune.log --started-at 2026-11-24T10:00:00Z --step-time 0.5")
    message = refused(tmp_path, LOGS / "megatron.log", hints=START, timezone="UTC")
    assert "--started-at is for a step log without times" in message


def test_a_skipped_step_is_one_only_where_the_count_says_so(tmp_path: Path) -> None:
    line = "iteration {0:8d}/ 9 | consumed samples: 1 | elapsed time per iteration (ms): 1.0 | lm loss: 2.0 |"
    counts = ((1, 1), (2, 0), (4, 1), (6, 2), (8, 0))
    text = "".join(f"{line.format(s)} number of skipped iterations: {n} |\n" for s, n in counts)
    steps = imported(tmp_path, written(tmp_path / "a.log", text), hints=START).rows("step")
    assert [step["skipped"] for step in steps] == [True, False, None, True, False]


def _titan(rank: int, step: int, loss: float = 2.0) -> str:
    when = f"2026-11-24 10:00:{step:02},000"
    return f"[rank{rank}]:[titan] {when} - root - INFO - step: {step:2}  loss: {loss:8.5f}  tps: 1,024\n"


def test_of_interleaved_ranks_one_is_taken(tmp_path: Path) -> None:
    text = "".join(_titan(rank, step, step + rank / 10) for step in range(1, 6) for rank in (3, 1, 0, 2))
    found = imported(tmp_path, written(tmp_path / "a.log", text), timezone="UTC")
    assert [(row["step"], row["loss"]) for row in found.rows("step")] == [(n, n) for n in range(1, 6)]
    assert found.result["left_out"]["a line of another rank than the one that is read"] == 15


def test_a_torn_last_line_is_left_out_and_no_number_is_cut(tmp_path: Path) -> None:
    text = "".join(_titan(0, step) for step in range(1, 5)) + _titan(0, 5)[:-3]
    found = imported(tmp_path, written(tmp_path / "a.log", text), timezone="UTC")
    assert [row["step"] for row in found.rows("step")] == [1, 2, 3, 4]
    assert found.result["left_out"] == {"torn row: the line has no end, its last number may be cut short": 1}


def test_a_time_with_a_zone_goes_before_one_without(tmp_path: Path) -> None:
    text = "".join(f"2026-11-24T09:00:0{n}.5Z stdout F {_titan(0, n)}" for n in range(1, 5))
    steps = imported(tmp_path, written(tmp_path / "a.log", text)).rows("step")
    assert _seconds(steps) == [n + 0.5 - 3600 for n in range(1, 5)]


def test_bytes_that_are_no_utf8_and_utf16_are_read(tmp_path: Path) -> None:
    text = "".join(_titan(0, step) for step in range(1, 5))
    latin = written(tmp_path / "a.log", b"caf\xe9 \xff\n" + text.encode())
    wide = written(tmp_path / "b.log", ("\ufeff" + text).encode("utf-16-le"))
    for path in (latin, wide):
        steps = imported(tmp_path / path.stem, path, timezone="UTC").rows("step")
        assert [step["step"] for step in steps] == [1, 2, 3, 4]


def test_numbers_that_are_none_and_infinite_stay_what_they_are(tmp_path: Path) -> None:
    losses = ("nan", "inf", "1,024.5", "2.5e-05")
    text = "".join(f"iter {n}: loss {loss}, time 1ms\n" for n, loss in enumerate(losses))
    steps = imported(tmp_path, written(tmp_path / "a.log", text), hints=START).rows("step")
    assert math.isnan(steps[0]["loss"])
    assert [step["loss"] for step in steps[1:]] == [math.inf, 1024.5, 2.5e-05]


def test_a_step_that_a_bar_has_rounded_is_not_taken(tmp_path: Path) -> None:
    bar = "Epoch 0: : 1%| | 1/9 [00:01<00:02, reduced_train_loss=1.5, global_step={}, lr=0.1]\r"
    text = "".join(bar.format(step) for step in ("998.0", "999.0", "1e+3", "1001.0"))
    found = imported(
        tmp_path, written(tmp_path / "a.log", text + "\n"), hints=START._replace(step_time_s=1.0)
    )
    assert [row["step"] for row in found.rows("step")] == [998, 999, 1001]
    assert found.result["left_out"] == {"a step's line that does not say which step it is": 1}


def test_the_steps_are_found_behind_whatever_stands_before_them(tmp_path: Path) -> None:
    noise = "NCCL INFO Channel 00/16 : 0 1 2 3\n" * 20_000
    text = noise + "".join(_titan(0, step) for step in range(1, 5))
    assert len(imported(tmp_path, written(tmp_path / "a.log", text), timezone="UTC").rows("step")) == 4


def test_a_printed_log_gives_way_to_one_that_was_written_to_be_read(tmp_path: Path) -> None:
    folder = written(tmp_path / "run/train.log", "".join(_titan(0, step) for step in range(1, 5))).parent
    written(folder / "steps.json", json.dumps([{"step": 7, "loss": 1.5, "timestamp": 1795514400.0}]))
    found = imported(tmp_path, folder, timezone="UTC")
    assert [row["step"] for row in found.rows("step")] == [7]
    assert "train.log: what a program printed; the steps are taken from steps.json" in found.result["ignored"]


def test_of_two_logs_without_times_the_printed_one_gives_way(tmp_path: Path) -> None:
    folder = written(tmp_path / "out/train.log", (LOGS / "nanogpt.log").read_bytes()).parent
    written(folder / "trainer_state.json", json.dumps({"log_history": [{"step": 5, "loss": 1.5}]}))
    found = imported(tmp_path, folder, hints=START._replace(step_time_s=1.0))
    assert [row["step"] for row in found.rows("step")] == [5]


@pytest.mark.parametrize(
    ("lines", "rows"),
    [
        (  # the third stage of nanochat, with counts of tokens
            "Step {0:05d}/00500 | Training loss: 1.{0}| lrm: 1.00| num_tokens: 12,34{0}\n",
            [{"step": n, "loss": float(f"1.{n}"), "tokens": 12_340 + n} for n in range(1, 5)],
        ),
        (  # by mpirun, the loss beyond what a float holds
            "[1,3]<stdout>: iteration {0:8d}/ 9 | consumed samples: {0} | lm loss: INF | grad norm: nan |\n",
            [{"step": n, "loss": "inf", "grad_norm": "nan"} for n in range(1, 5)],
        ),
        (
            "[default3]:2026-11-24T10:00:0{0}Z - step:  {0}  loss: 1,{0}00.5  memory: info  tps: 1,024\n",
            [{"step": n, "loss": 1000.5 + 100 * n} for n in range(1, 5)],
        ),
    ],
)
def test_other_shapes_of_lines(lines: str, rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", "".join(lines.format(n) for n in range(1, 5)))
    is_timed = "T10:" in lines
    hints = Hints() if is_timed else START._replace(step_time_s=1.0)
    steps = imported(tmp_path, path, hints=hints).rows("step")
    ours = [{name: step[name] for name in rows[0]} for step in steps]
    told = [
        {n: str(v) if isinstance(v, float) and not math.isfinite(v) else v for n, v in r.items()}
        for r in ours
    ]
    assert told == rows


@pytest.mark.parametrize(
    "text",
    [
        "# Results\n\n```\n" + "".join(_titan(0, step) for step in range(1, 5)) + "```\n",
        "The last line was:\n" + _titan(0, 1) + "and it went on.\n" * 5,
        "Iteration 1 of the loop\nstep one\nloss: 2.0\nepoch 1\n" * 5,
        'print0(f"step:{step}/{train_steps} val_loss:{val_loss:.4f} train_time:{ms:.0f}ms")\n' * 5,
        "step, loss\n1, 2.0\n2, 1.5\n3, 1.0\n",
    ],
)
def test_a_text_that_only_shows_steps_is_no_log(text: str, tmp_path: Path) -> None:
    assert recognise(written(tmp_path / "a.txt", text))[0] not in TEXT_LOGS


def test_what_the_fixtures_are_about_is_all_that_is_in_the_table() -> None:
    assert {path.stem for path in LOGS.iterdir()} == set(TRUTH)
    assert all(earlier["step"] < later["step"] for earlier, later in pairwise(_true_rows("megatron")))


def test_lines_of_a_step_without_a_time_beside_one_that_has_it(tmp_path: Path) -> None:
    head = "[2026-11-24 10:00:{0},000] [INFO] [logging.py:96:log_dist] [Rank 0] "
    line = "steps: {0} loss: 3.{0} iter time (s): 1.250 samples/sec: 25.6\n"
    text = "".join(
        line.format(n) + head.format(n) + f"step={n}, skipped=0, lr=[1e-05]\n" for n in (10, 20, 30)
    )
    rows = imported(tmp_path, written(tmp_path / "o.log", text), timezone="UTC").rows("step")
    seconds = [(row["time_ns"] - _START_NS) / 1e9 for row in rows]
    assert list(zip([row["loss"] for row in rows], seconds, strict=True)) == [(3.1, 10), (3.2, 20), (3.3, 30)]


def test_a_log_of_two_steps_with_lines_below_is_recognised(tmp_path: Path) -> None:
    text = "".join(
        f"2026-11-24 10:00:{n}0.123\thost:0\tolmo.train:900\tINFO\t[step={n}/1000,epoch=0]\n"
        f"    train/CrossEntropyLoss=11.{n}\n    train/Perplexity=73,000\n"
        f"    throughput/total_tokens=4,194,304\n"
        for n in (1, 2)
    )
    found = imported(tmp_path, written(tmp_path / "o.log", text), timezone="UTC")
    assert [(row["step"], row["loss"]) for row in found.rows("step")] == [(1, 11.1), (2, 11.2)]


def test_a_bar_that_a_line_break_ended_is_of_the_line_below_it(tmp_path: Path) -> None:
    bars = [f"\r  {n}%|#    | {n}/100 [00:0{n}<01:39,  1.00s/it]" for n in range(5)]
    entries = [
        f"{{'loss': 2.{n}, 'grad_norm': 1.5, 'learning_rate': 5e-05, 'epoch': 0.{n}}}" for n in range(5)
    ]
    broken = bars[0] + "".join(f"{bars[n]}\n{entries[n]}\n" for n in range(1, 5))
    redrawn = bars[0] + "".join(f"{bars[n - 1]}\r      \r{entries[n]}\n{bars[n]}" for n in range(1, 5)) + "\n"
    hints = START._replace(step_time_s=1.0)
    for name, text in (("broken", broken), ("redrawn", redrawn)):
        rows = imported(tmp_path / name, written(tmp_path / f"{name}.log", text), hints=hints).rows("step")
        assert [(row["step"], row["loss"]) for row in rows] == [(n, float(f"2.{n}")) for n in range(1, 5)]
