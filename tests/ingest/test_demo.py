import pytest
from thermograd.ingest.demo import demo_text, faulty_steps


@pytest.mark.parametrize("steps", [300, 600, 2000])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_three_batches_are_spoilt_after_the_warm_up_and_before_the_end(steps, seed):
    faults = faulty_steps(steps, seed)
    assert list(faults.values()) == ["noise", "one byte", "noise"]
    assert list(faults) == sorted(faults)
    assert all(150 < step < steps for step in faults)


def test_another_seed_spoils_other_steps_and_the_same_seed_the_same():
    assert faulty_steps(600, 0) == faulty_steps(600, 0)
    assert len({tuple(faulty_steps(600, seed)) for seed in range(5)}) == 5


def test_the_text_is_english_that_ships_with_python():
    text = demo_text()
    assert len(text) > 100_000
    assert b"statement" in text


@pytest.mark.slow
def test_a_small_demo_is_recorded_marked_and_analysed(tmp_path, monkeypatch):
    pytest.importorskip("transformers")
    from thermograd.analysis.run.analyze import analyze_run
    from thermograd.analysis.run.result import question_verdict
    from thermograd.ingest.demo import train_demo
    from thermograd.store.log.reader import read_kind

    seen = []
    run = train_demo(tmp_path, 30, 3, on_step=lambda step, logs: seen.append(step), on_alert_line=seen.append)
    assert [step for step in seen if isinstance(step, int)] == list(range(1, 31))
    assert run.state() == "finished"
    steps = read_kind(run.path, "step").to_pylist()
    assert [s["step"] for s in steps] == list(range(1, 31))
    assert all(s["grad_norm"] > 0 and s["max_grad_norm"] == 1.0 for s in steps)
    marks = [m for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "injection"]
    assert {m["step"]: m["text"] for m in marks} == {
        step: f"a batch of {fault}, on purpose" for step, fault in faulty_steps(30, 3).items()
    }
    for mark in marks:
        assert steps[mark["step"] - 2]["time_ns"] < mark["time_ns"] < steps[mark["step"] - 1]["time_ns"]
    assert set(run.facts["devices"]) >= {"cpu"}
    assert question_verdict(analyze_run(run)) == "insufficient"


def test_a_missing_package_says_which_extra_to_install(monkeypatch, tmp_path):
    import sys

    from thermograd.ingest.demo import train_demo
    from thermograd.store.errors import MissingExtraError

    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(
        MissingExtraError, match=r"needs torch: install thermograd\[train\], or use --no-train"
    ):
        train_demo(tmp_path, 10, 0)
