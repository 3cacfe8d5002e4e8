"""A text log of which a person says, with --pattern, what its lines are."""

from pathlib import Path

import pytest
from importing import imported, refused, written
from thermograd.ingest.importers.hints.given import Hints
from thermograd.ingest.importers.printed import own_pattern

_LINE = "2026/11/24 10:00:0{0},250 [I] it={0} loss=2.{0} gn=1,20{0}.5 dt=25ms acc=0.5 tok=4096 lr=N/A\n"
LOG = "hello\n" + "".join(_LINE.format(n) for n in range(1, 5))
PATTERN = (
    r"^(?P<time>\S+ \S+) \[I\] it=(?P<step>\d+) loss=(?P<loss>\S+) gn=(?P<grad_norm>\S+) "
    r"dt=(?P<step_time_ms>\d+)ms acc=(?P<accuracy>\S+) tok=(?P<tokens>\d+) lr=(?P<learning_rate>\S+)"
)


def test_the_named_groups_are_the_columns_of_a_step(tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", LOG)
    found = imported(tmp_path, path, timezone="UTC", hints=Hints(pattern=PATTERN))
    assert found.rows("step") == [
        {
            "step": n,
            "loss": float(f"2.{n}"),
            "grad_norm": 1200.5 + n,
            "step_time_s": 0.025,
            "tokens": 4096,
            "time_ns": (1795514400 + n) * 10**9 + 250_000_000,
        }
        for n in range(1, 5)
    ]
    assert found.result["account"] == {"read": 5, "kept": 4, "merged": 0, "left_out": 1}


def test_without_a_time_it_needs_a_start_and_counts_from_the_step_that_comes_first(tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", "".join(f"n {n} l {n}.5\n" for n in range(4)))
    hints = Hints(pattern=r"n (?P<step>\d+) l (?P<loss>\S+)")
    assert "--started-at 2026-11-24T10:00:00Z --step-time 0.5" in refused(tmp_path, path, hints=hints)
    steps = imported(tmp_path, path, hints=hints._replace(started_at="2026-11-24T10:00:00Z", step_time_s=2.0))
    times = [(row["time_ns"] // 10**9) - 1795514400 for row in steps.rows("step")]
    assert times == [2, 4, 6, 8]


def test_a_unit_that_a_person_says_and_cells_that_are_no_numbers(tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", "n 1 l x t 500\nn 2 l 1.5 t 250\nn 99999999999999999999 l 1 t 1\n")
    hints = Hints(
        pattern=r"n (?P<step>\d+) l (?P<loss>\S+) t (?P<step_time_s>\S+)",
        units=(("step_time_s", "ms"),),
        started_at="2026-11-24T10:00:00Z",
        step_time_s=1.0,
    )
    found = imported(tmp_path, path, hints=hints)
    assert [(row["loss"], row["step_time_s"]) for row in found.rows("step")] == [(None, 0.5), (1.5, 0.25)]
    assert found.result["nulls"] == {"loss is x": 1}
    assert found.result["left_out"] == {"a step's line that does not say which step it is": 1}


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        (r"it=(?P<step>\d+", "is no regular expression (missing ), unterminated subpattern at position 3)"),
        (r"it=(\d+) loss=(?P<loss>\S+)", "has to name the step and a value, but its named groups are: loss"),
        (r"it=(?P<step>\d+)", "has to name the step and a value, but its named groups are: step"),
        (r"xt=(?P<step>\d+) (?P<loss>.)", "in which --pattern finds no line"),
    ],
)
def test_a_pattern_that_finds_no_steps_is_refused(pattern: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in refused(tmp_path, written(tmp_path / "a.log", LOG), hints=Hints(pattern=pattern))


def test_a_pattern_that_would_never_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own_pattern, "_LONGEST_TRIAL_S", 0.3)
    pattern = r"(?P<step>(?:[\w/=.,: \[\]]+)+)(?P<loss>Q)$"
    message = refused(tmp_path, written(tmp_path / "a.log", LOG), hints=Hints(pattern=pattern))
    assert "takes more than 0.3 s for 5 lines: something in it is repeated inside a repetition" in message


def test_a_pattern_for_what_is_no_text_log_is_refused(tmp_path: Path, data: Path) -> None:
    message = refused(tmp_path, data / "pair", hints=Hints(pattern=PATTERN))
    assert "--pattern is for a text log of steps, but " in message


def test_a_time_that_is_a_small_number_counts_from_the_start(tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", "".join(f"t={n}.5 it={n + 1} loss=2.{n}\n" for n in range(4)))
    hints = Hints(pattern=r"t=(?P<time>\S+) it=(?P<step>\d+) loss=(?P<loss>\S+)")
    assert "say when the training began" in refused(tmp_path, path, hints=hints)
    hints = hints._replace(started_at="2026-11-24T10:00:00Z")
    for unit, ns in ((None, 10**9), ("ms", 10**6)):
        units = () if unit is None else (("time", unit),)
        found = imported(tmp_path / str(unit), path, hints=hints._replace(units=units))
        passed = [row["time_ns"] - 1795514400 * 10**9 for row in found.rows("step")]
        assert passed == [(2 * n + 1) * ns // 2 for n in range(4)]
        assert {row.get("step_time_s") for row in found.rows("step")} == {None}


def test_times_since_1970_are_read_in_their_unit_and_no_other(tmp_path: Path) -> None:
    path = written(tmp_path / "a.log", "".join(f"t=179551440{n}250 it={n} loss=2.{n}\n" for n in range(4)))
    hints = Hints(pattern=r"t=(?P<time>\S+) it=(?P<step>\d+) loss=(?P<loss>\S+)")
    times = [row["time_ns"] for row in imported(tmp_path, path, hints=hints).rows("step")]
    assert times == [(1795514400 + n) * 10**9 + 250_000_000 for n in range(4)]
    assert "--unit time=s is for times that count from the start" in refused(
        tmp_path / "b", path, hints=hints._replace(units=(("time", "s"),))
    )
