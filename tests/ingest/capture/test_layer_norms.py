"""Norms of single layers: right, off by default, and a bounded number of marks."""

import json
import math

import pytest

torch = pytest.importorskip("torch")

import thermograd  # noqa: E402
from thermograd.store.log.reader import read_kind  # noqa: E402


def train(tmp_path, layer_norms, factors, clip=0.5, tell=None):
    """Train on losses of these factors; return steps, the layer marks, and each step's true layer norms."""
    torch.manual_seed(0)
    model = torch.nn.Sequential()
    for name, size in (("first", 6), ("second", 8), ("third", 10)):
        model.add_module(name, torch.nn.Linear(size - 2, size))
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-6)
    truth = []
    with thermograd.start_run(runs=tmp_path, agent=False, layer_norms=layer_norms) as run:
        run.watch(optimizer, model)
        for step, factor in enumerate(factors, start=1):
            optimizer.zero_grad()
            (model(torch.ones(2, 4)).square().mean() * factor).backward()
            truth.append(
                {
                    name: math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in layer.parameters()))
                    for name, layer in model.named_children()
                }
            )
            if clip:
                torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimizer.step()
            if tell is not None:
                tell(run, step)
    marks = [m for m in read_kind(run.path, "mark").to_pylist() if m["mark"] == "note"]
    return read_kind(run.path, "step").to_pylist(), marks, truth


def test_nothing_is_measured_unless_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "thermograd.ingest.capture.layer_norms.LayerNorms.measure", lambda *_: pytest.fail("measured")
    )
    assert train(tmp_path, False, [1.0] * 30 + [1000.0])[1] == []


@pytest.mark.parametrize("clip", [0.5, None])
def test_the_step_of_a_spike_and_every_hundredth_name_their_layers(tmp_path, clip):
    steps, marks, truth = train(tmp_path, True, [1.0] * 104 + [100.0] + [1.0] * 10, clip)
    assert [m["step"] for m in marks] == [100, 105, 106, 107, 108, 109, 110]
    details = [json.loads(m["detail"]) for m in marks]
    assert [d["why"] for d in details] == ["regular", "spike", *["after a spike"] * 5]
    for mark, detail in zip(marks, details, strict=True):
        expected = truth[mark["step"] - 1]
        whole = steps[mark["step"] - 1]["grad_norm"]
        assert {d["layer"]: d["norm"] for d in detail["layer_norms"]} == pytest.approx(expected, rel=1e-5)
        norms = [d["norm"] for d in detail["layer_norms"]]
        assert norms == sorted(norms, reverse=True)
        assert math.hypot(*norms) == pytest.approx(whole, rel=1e-5)
        assert sum(d["share"] for d in detail["layer_norms"]) == pytest.approx(1)
    assert details[1]["layer_norms"][0]["layer"] in marks[1]["text"]


def test_after_a_spike_the_next_five_steps_are_measured_and_no_other(tmp_path):
    _, marks, _ = train(tmp_path, "after_spike", [1.0] * 30 + [100.0] + [1.0] * 90)
    assert [m["step"] for m in marks] == [32, 33, 34, 35, 36]


def test_an_alert_of_the_agent_counts_as_a_spike(tmp_path):
    def tell(run, step):
        if step in (3, 20):
            run.alert_tasks({"alert": "spike.loss" if step == 3 else "throttle.warn", "severity": "warning"})

    _, marks, _ = train(tmp_path, "after_spike", [1.0] * 30, tell=tell)
    assert [m["step"] for m in marks] == [4, 5, 6, 7, 8]


def test_layers_that_are_not_finite_are_named_first_and_the_detail_is_json(tmp_path):
    steps, marks, _ = train(tmp_path, True, [1.0, math.inf, 1.0], clip=None)
    detail = json.loads(marks[0]["detail"], parse_constant=lambda c: pytest.fail(f"{c} is no JSON"))
    assert marks[0]["step"] == 2
    assert not math.isfinite(steps[1]["grad_norm"])
    assert set(detail["not_finite"]) == {"first", "second", "third"}
    assert detail["layer_norms"] == []


def test_the_marks_of_a_run_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("thermograd.ingest.capture.layer_norms._MOST_MARKS", 7)
    _, marks, _ = train(tmp_path, True, [math.inf] * 30, clip=None)
    assert len(marks) == 7


def test_a_wrong_mode_is_refused(tmp_path):
    with pytest.raises(ValueError, match="layer_norms is 'sometimes'; allowed: True, False, 'after_spike'"):
        thermograd.start_run(runs=tmp_path, layer_norms="sometimes")
