import math

import pytest

torch = pytest.importorskip("torch")

from thermograd.ingest.capture.tap import StepTap  # noqa: E402
from torch.nn.utils import clip_grad_norm_  # noqa: E402  # bound before the tap is installed, as scripts do


@pytest.fixture
def model():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 1))


@pytest.fixture
def tapped():
    """Yield a started tap and the rows it emits; stop it afterwards."""
    rows = []
    tap = StepTap(lambda **values: rows.append(values))
    tap.start()
    yield tap, rows
    tap.stop()


def loss_of(model, scale=1.0):
    return (model(torch.randn(4, 8)) ** 2).mean() * scale


def norm_of(model):
    return float(torch.sqrt(sum((p.grad.double() ** 2).sum() for p in model.parameters())))


def test_a_clipped_loop_gives_the_norm_before_clipping(model, tapped):
    _, rows = tapped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    expected = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(model, 100)
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        expected.append((float(loss.detach()), float(norm), 0.5, 0.1))
    assert [(r["loss"], r["grad_norm"], r["max_grad_norm"], r["learning_rate"]) for r in rows] == expected
    assert [r["step"] for r in rows] == [1, 2, 3]
    assert all(norm > 0.5 for _, norm, _, _ in expected)
    assert rows[0]["step_time_s"] is None
    assert rows[1]["step_time_s"] == (rows[1]["monotonic_ns"] - rows[0]["monotonic_ns"]) / 1e9


def test_a_loop_without_clipping_gives_the_norm_of_its_gradients(model, tapped):
    _, rows = tapped
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    loss_of(model).backward()
    expected = norm_of(model)
    optimizer.step()
    assert rows[0]["grad_norm"] == pytest.approx(expected, rel=1e-6)
    assert rows[0]["max_grad_norm"] is None


def test_clipping_without_a_bound_has_no_bound(model, tapped):
    _, rows = tapped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    norm = clip_grad_norm_(model.parameters(), math.inf)
    optimizer.step()
    assert (rows[0]["grad_norm"], rows[0]["max_grad_norm"]) == (float(norm), None)


def test_the_norm_is_l2_whatever_norm_the_script_clips_by(model, tapped):
    _, rows = tapped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    expected = norm_of(model)
    largest = clip_grad_norm_(model.parameters(), 1e-3, norm_type=math.inf)
    optimizer.step()
    assert rows[0]["grad_norm"] == pytest.approx(expected, rel=1e-6)
    assert rows[0]["grad_norm"] != pytest.approx(float(largest))


def test_the_loss_is_the_sum_of_all_backward_calls_of_the_step(model, tapped):
    _, rows = tapped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    parts = [loss_of(model) / 2 for _ in range(2)]
    for part in parts:
        part.backward()
    optimizer.step()
    assert rows[0]["loss"] == pytest.approx(float(sum(parts).detach()), rel=1e-6)


def test_an_optimizer_with_a_closure_gives_the_gradients_of_that_step(model, tapped):
    _, rows = tapped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    for scale in (1.0, 100.0):

        def closure(scale=scale):
            optimizer.zero_grad()
            loss = loss_of(model, scale)
            loss.backward()
            return loss

        optimizer.step(closure)
        assert rows[-1]["grad_norm"] == pytest.approx(norm_of(model), rel=1e-6)
    assert rows[1]["grad_norm"] > 10 * rows[0]["grad_norm"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_passes_as_it_is(model, tapped, value):
    _, rows = tapped
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, value).backward()
    clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    assert not math.isfinite(rows[0]["loss"])
    assert not math.isfinite(rows[0]["grad_norm"])


def test_a_fused_optimizer_with_a_pending_scale_gives_the_unscaled_norm(model, tapped):
    _, rows = tapped
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0, fused=True)
    loss_of(model, 1024.0).backward()
    scaled = norm_of(model)
    optimizer.grad_scale = torch.tensor(1024.0)
    optimizer.found_inf = torch.tensor(0.0)
    optimizer.step()
    assert rows[0]["grad_norm"] == pytest.approx(scaled / 1024, rel=1e-6)


def test_only_a_watched_optimizer_makes_steps(model, tapped):
    tap, rows = tapped
    watched, other = (torch.optim.SGD(model.parameters(), lr=lr) for lr in (0.1, 0.2))
    tap.watch(watched)
    loss_of(model).backward()
    other.step()
    watched.step()
    assert [row["learning_rate"] for row in rows] == [0.1]


def test_a_step_that_a_callback_ends_without_an_optimizer_step_was_skipped(model):
    rows = []
    tap = StepTap(lambda **values: rows.append(values), rank=3, deferred_end=True)
    tap.start()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    clip_grad_norm_(model.parameters(), 1.0)
    tap.finish_step(7, 0.5)
    loss_of(model).backward()
    optimizer.step()
    tap.finish_step(8, 0.6)
    tap.stop()
    assert [(r["step"], r["epoch"], r["skipped"], r["rank"]) for r in rows] == [
        (7, 0.5, True, 3),
        (8, 0.6, False, 3),
    ]


def test_a_fault_of_ours_is_counted_and_never_reaches_the_loop(model, caplog):
    def emit(**values):
        raise RuntimeError("no")

    tap = StepTap(emit)
    tap.start()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        loss_of(model).backward()
        optimizer.step()
    tap.stop()
    assert tap.guard.failures == 3
    assert caplog.text.count("training goes on") == 1


def test_after_stop_nothing_is_seen(model, tapped):
    tap, rows = tapped
    tap.stop()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    optimizer.step()
    assert rows == []
