"""Every way to train that changes where gradients are right: norm and loss, computed once more."""

import math

import pytest

torch = pytest.importorskip("torch")

from small_training import exact, loss_of, norm_of, seen  # noqa: E402
from thermograd.ingest.capture import hooks  # noqa: E402
from thermograd.ingest.capture.tap import StepTap  # noqa: E402
from torch.nn.utils import (  # noqa: E402  # bound before the hooks are installed, as scripts do
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)

# -- plain loops -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [None, 0.5, math.inf])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_plain_loop(model, rows, bound, accumulate):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    expected = []
    for step in range(3):
        total = 0.0
        for micro in range(accumulate):
            loss = loss_of(model, 50, seed=10 * step + micro) / accumulate
            loss.backward()
            total += loss.item()
            loss.detach_().zero_()  # the script may do with its loss what it likes
        expected.append((exact(total), exact(norm_of(*model.parameters())), False))
        if bound is not None:
            clip_grad_norm_(model.parameters(), bound).zero_()
        optimizer.step()
        optimizer.zero_grad()
    assert seen(rows) == expected
    assert {row["max_grad_norm"] for row in rows} == {0.5 if bound == 0.5 else None}


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("owner", ["optimizer", "model"])
def test_a_loss_whose_gradients_were_dropped_is_no_part_of_the_step(model, rows, owner, set_to_none):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for factor in (1.0, 2.0):
        loss_of(model, 7.0).backward()  # a look at the gradients, as a learning-rate finder takes
        (optimizer if owner == "optimizer" else model).zero_grad(set_to_none=set_to_none)
        loss = loss_of(model, factor)
        loss.backward()
        expected = norm_of(*model.parameters())
        optimizer.step()
        optimizer.zero_grad()
        if factor == 2.0:  # the first time, nothing of the optimizer was known before it stepped
            assert seen(rows)[-1] == (exact(loss.item()), exact(expected), False)


def test_clipping_by_value_is_measured_before(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = loss_of(model, 50)
    loss.backward()
    expected = norm_of(*model.parameters())
    clip_grad_value_(model.parameters(), 0.01)
    assert norm_of(*model.parameters()) < expected / 2
    optimizer.step()
    assert seen(rows) == [(exact(loss.item()), exact(expected), False)]
    assert rows[0]["max_grad_norm"] is None


def test_clipping_by_value_and_then_by_norm_keeps_the_norm_before_both(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, 50).backward()
    expected = norm_of(*model.parameters())
    clip_grad_value_(model.parameters(), 0.01)
    clip_grad_norm_(model.parameters(), 0.02)
    optimizer.step()
    assert (rows[0]["grad_norm"], rows[0]["max_grad_norm"]) == (exact(expected), 0.02)


def test_parts_that_are_clipped_one_by_one_add_up_to_one_norm(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, 50).backward()
    expected = norm_of(*model.parameters())
    clip_grad_norm_(model[0].parameters(), 0.1)
    clip_grad_norm_(model[2].parameters(), 0.1)
    optimizer.step()
    assert (rows[0]["grad_norm"], rows[0]["max_grad_norm"]) == (exact(expected), 0.1)


def test_a_total_that_is_clipped_to_mesh_by_mesh_is_one_total(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model, 50).backward()
    expected = norm_of(*model.parameters())
    norms = [get_total_norm([p.grad for p in part.parameters()]) for part in (model[0], model[2])]
    total = torch.linalg.vector_norm(torch.stack(norms))
    for part in (model[0], model[2]):
        clip_grads_with_norm_(part.parameters(), 0.5, total)
    optimizer.step()
    assert (rows[0]["grad_norm"], rows[0]["max_grad_norm"]) == (exact(expected), 0.5)


def test_clipping_at_every_micro_batch_gives_what_the_last_clip_saw(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for micro in range(3):
        loss_of(model, 50, seed=micro).backward()
        expected = norm_of(*model.parameters())
        clip_grad_norm_(model.parameters(), 0.5)
    optimizer.step()
    assert len(rows) == 1
    assert rows[0]["grad_norm"] == exact(expected)


def test_a_step_that_the_script_leaves_out_is_skipped_with_its_own_norm_and_loss(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    expected = []
    for step in range(4):
        optimizer.zero_grad()
        loss = loss_of(model, math.inf if step in (0, 2) else 1.0, seed=step)
        loss.backward()
        norm = clip_grad_norm_(model.parameters(), 1.0)
        if step % 2:
            optimizer.step()
        expected.append((exact(loss.item()), exact(norm.item()), step % 2 == 0))
    assert seen(rows) == expected
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


def test_a_closure_is_measured_after_it_ran(model, rows):
    optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
    last = []

    def closure():
        optimizer.zero_grad()
        loss = loss_of(model)
        loss.backward()
        last[:] = [loss.item(), norm_of(*model.parameters())]
        return loss

    for _ in range(2):
        optimizer.step(closure)
        assert seen(rows)[-1] == (exact(last[0]), exact(last[1]), False)


# -- gradient scalers --------------------------------------------------------------------------------


@pytest.mark.parametrize("unscale", [True, False])
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize("fused", [True, False])
def test_a_gradient_scaler_with_an_overflow(model, rows, unscale, clip, fused):
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2)
    expected = []
    for step in range(5):
        optimizer.zero_grad()
        factor = math.inf if step == 2 else 50.0
        loss = loss_of(model, factor, seed=step)
        scale = scaler.get_scale()
        scaler.scale(loss).backward()
        norm = norm_of(*model.parameters()) / scale
        if unscale:
            scaler.unscale_(optimizer)
        if clip:
            clip_grad_norm_(model.parameters(), 0.5)
        before = [p.detach().clone() for p in model.parameters()]
        scaler.step(optimizer)
        scaler.update()
        skipped = all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
        expected.append((exact(loss.item()), exact(norm), skipped))
    assert [e[2] for e in expected] == [False, False, True, False, False]
    got = seen(rows)
    assert [s[2] for s in got] == [s[2] for s in expected]
    assert [s[0] for s in got] == [s[0] for s in expected]
    for step in (0, 1, 3, 4):
        assert got[step][1] == expected[step][1]
    assert not math.isfinite(got[2][1])  # inf or NaN: unscaling and clipping turn one into the other


def test_losses_that_are_scaled_and_then_added_count_unscaled(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    a, b = loss_of(model, 2.0), loss_of(model, 3.0, seed=1)
    (scaler.scale(a) + scaler.scale(b)).backward()
    scaler.step(optimizer)
    assert rows[0]["loss"] == exact((a + b).item())


def test_a_scaler_that_is_off_changes_nothing(model, rows):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    loss = loss_of(model)
    scaler.scale(loss).backward()
    expected = norm_of(*model.parameters())
    scaler.step(optimizer)
    assert seen(rows) == [(exact(loss.item()), exact(expected), False)]


# -- several taps ------------------------------------------------------------------------------------


def test_two_taps_see_the_same(model, rows):
    others = []
    second = StepTap(lambda **values: others.append(values))
    second.start()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss_of(model).backward()
    optimizer.step()
    second.stop()
    assert seen(others) == seen(rows)
    assert len(rows) == 1


def test_a_loss_that_cannot_be_unscaled_is_said_and_the_loop_goes_on(model, rows, monkeypatch, caplog):
    monkeypatch.setattr(hooks.Scaled, "unscaled", lambda *_: 1 / 0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss_of(model).backward()
    optimizer.step()
    assert [row["loss"] for row in rows] == [None]
    assert caplog.text.count("could not read a loss") == 1
