"""Offsets between clocks from step ends, against clocks whose errors are known."""

import numpy as np
import pytest
from thermograd.store.clocks.lines import pieces_through
from thermograd.store.clocks.offsets import FEWEST_STEPS, clock_offsets
from thermograd.store.clocks.step_ends import StepEnds, step_ends

OFFSETS_S, DRIFTS_PPM = 0.2, 50.0


def job(
    seed,
    hosts=8,
    ranks=2,
    steps=400,
    late_s=0.003,
    slow_host=None,
    own_pace=False,
    jump_s=0.0,
    lost=0.0,
    join=0,
):
    """Return step ends by host as its clock shows them, and how far each was ahead at every one of them."""
    rng = np.random.default_rng(seed)
    offsets, drifts = (
        rng.uniform(-OFFSETS_S, OFFSETS_S, hosts),
        1e-6 * rng.uniform(-DRIFTS_PPM, DRIFTS_PPM, hosts),
    )
    together = np.cumsum(0.5 * np.exp(0.03 * rng.standard_normal(steps)))
    ends, ahead = {}, {}
    for host in range(hosts):
        true = np.cumsum(0.5 * np.exp(0.03 * rng.standard_normal(steps))) if own_pace and host else together
        is_last = host == hosts - 1
        error = offsets[host] + drifts[host] * true + jump_s * is_last * (np.arange(steps) >= steps // 2)
        reference = offsets[0] + drifts[0] * true
        kept = (rng.random((ranks, steps)) >= lost) & (np.arange(steps) >= join * is_last)
        late = rng.exponential(late_s * (10 if host == slow_host else 1), (ranks, steps))
        rank, step = np.nonzero(kept)
        ends[host] = step_ends(rank + host * ranks, step + 1, (true + late + error)[kept])
        ahead[host] = (error - reference)[ends[host].step - 1]
    return ends, ahead


def errors_s(ends, ahead):
    """Return how wrong the offset of each other host was at 99 % of the steps, and its stated half-width."""
    found = clock_offsets(ends, 0)
    assert all(offset.reason is None for offset in found.values())
    wrong = {host: np.abs(offset.at(ends[host].time_s) - ahead[host]) for host, offset in found.items()}
    return [(float(np.quantile(wrong[host], 0.99)), found[host].unsure_s) for host in ends if host != 0]


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"jump_s": 0.15},
        {"jump_s": -0.15},
        {"lost": 0.1},
        {"join": 150},
        {"hosts": 2},
        {"hosts": 2, "ranks": 1},
        {"steps": 60},
        {"slow_host": 3},
        {"slow_host": 0},
        {"hosts": 3, "late_s": 0.005},
    ],
    ids=str,
)
def test_offsets_are_right_within_5_ms_and_as_sure_as_they_say(how):
    """Drifts, a clock that is set, lost steps, a late host, one that is slow to note, few hosts and ranks."""
    found = [each for seed in range(2) for each in errors_s(*job(seed, **how))]
    assert max(wrong for wrong, _ in found) < 0.005
    covered = np.mean([wrong <= unsure for wrong, unsure in found])
    assert covered >= 0.95
    assert max(unsure for _, unsure in found) < 0.02


@pytest.mark.parametrize("steps", [40, 100, 400])
def test_trainings_that_do_not_wait_for_each_other_have_no_offset(steps):
    """Their step ends part like a random walk: a line through it would be called a drift."""
    found = [
        offset
        for seed in range(6)
        for host, offset in clock_offsets(job(seed, steps=steps, own_pace=True, ranks=1)[0], 0).items()
        if host != 0
    ]
    assert all(offset.reason and "drift apart" in offset.reason for offset in found)
    assert not any(offset.pieces or offset.unsure_s is not None for offset in found)


def test_one_stranger_does_not_spoil_the_others():
    ends, ahead = job(1)
    ends[5] = job(2, own_pace=True)[0][5]
    found = clock_offsets(ends, 0)
    assert found[5].reason
    assert all(np.abs(found[h].at(ends[h].time_s) - ahead[h]).max() < 0.005 for h in (1, 2, 3, 4, 6, 7))


@pytest.mark.parametrize("join", [0, 120])
def test_a_host_that_counts_its_steps_from_one_when_it_joins_is_matched_by_their_lengths(join):
    """As after a restart: by number alone its steps would look like those of another training."""
    ends, ahead = job(3, join=join)
    own = ends[7]
    ends[7] = StepEnds(own.step - join + 1, own.time_s)
    found = clock_offsets(ends, 0)
    assert np.abs(found[7].at(own.time_s) - ahead[7]).max() < 0.005


def test_too_few_steps_in_common_are_no_comparison():
    ends, _ = job(0, hosts=2, steps=FEWEST_STEPS - 1)
    assert (
        clock_offsets(ends, 0)[1].reason
        == f"only {FEWEST_STEPS - 1} steps in common, at least {FEWEST_STEPS} are needed"
    )


def test_a_step_that_is_done_again_is_compared_with_its_own_repetition():
    """After a restart from a checkpoint all ranks do steps again; the second time is another moment."""
    rank, step = np.zeros(4, dtype=np.int64), np.array([1, 2, 2, 3])
    ends = step_ends(rank, step, np.array([1.0, 2.0, 9.0, 10.0]))
    assert ends.time_s.tolist() == [1.0, 2.0, 10.0, 9.0]
    assert (ends.step & (2**40 - 1)).tolist() == [1, 2, 3, 2]


def test_the_reference_is_right_by_definition():
    ends, _ = job(0)
    own = clock_offsets(ends, 0)[0]
    assert not own.at(ends[0].time_s).any()
    assert own.unsure_s == 0


def test_a_line_is_broken_where_the_clock_was_set_to_the_step():
    at = np.arange(300.0)
    noise = 0.002 * np.random.default_rng(0).standard_normal(300)
    pieces = pieces_through(at, noise + 0.1 * (at >= 97) - 0.3 * (at >= 210))
    assert [piece.start_s for piece in pieces] == [0.0, 97.0, 210.0]
    assert [piece.level_s for piece in pieces] == pytest.approx([0, 0.1, -0.2], abs=2e-3)
