"""What repeats as logged: patterns of epochs are taken out whole, in as many columns as there is room for."""

import numpy as np
import pytest
from series_in_memory import series_of
from thermograd.analysis.coupling.cross_correlation import residual_cross_correlation
from thermograd.analysis.run.common_drivers import driver_columns
from thermograd.analysis.run.cycles import logged_cycles


def epochs_of(
    seed, batches=57, seconds=1200, steps_per_s=2.4, logged="fraction", noise=1.0, marks=None, changing=False
):
    """A loader that does not shuffle: each batch is as hard, as long and as hot in every epoch."""
    rng = np.random.default_rng(seed)
    hard, hot, long = rng.standard_normal((3, batches))
    number = np.arange(int(2 * seconds * steps_per_s))
    ends = np.cumsum(np.exp(0.3 * long)[number % batches]) / steps_per_s
    number, ends = number[ends < seconds], ends[ends < seconds]
    epoch = {
        "fraction": (number + 1) / batches,
        "whole": number // batches * 1.0,
        "two decimals": np.round((number + 1) / batches, 2),
        "begun again": (number % (5 * batches) + 1) / batches,
    }[logged]
    late = ends / seconds if changing else np.zeros(ends.size)  # another pattern takes over
    pattern = (1 - late) * hard[number % batches] + late * hot[number % batches]
    norm = np.exp(0.1 * (pattern + noise * rng.standard_normal(number.size)))
    sampled = np.arange(float(seconds))
    batch = number[np.minimum(np.searchsorted(ends, sampled), number.size - 1)] % batches
    power = 200 + 10 * (hot[batch] + noise * rng.standard_normal(sampled.size))
    steps = {"epoch": epoch, "grad_norm": norm, "tokens": np.full(number.size, 8.0)}
    return series_of(ends, steps, sampled, {"power_w": power}, marks)


def cleaned(data):
    device = data.devices["gpu0"]
    grid = data.grid("grad_norm", device, device.signal("power_w"))
    return grid, driver_columns(data, device, grid, "grad_norm", "power_w")


def explained(values, columns):
    columns = np.column_stack([np.ones(values.size), columns])
    left = values - columns @ np.linalg.lstsq(columns, values, rcond=None)[0]
    return 1 - left.var() / values.var()


@pytest.mark.parametrize("logged", ["fraction", "whole", "two decimals", "begun again"])
def test_the_whole_pattern_of_an_epoch_is_known_however_the_epoch_is_logged(logged):
    grid, drivers = cleaned(epochs_of(1, logged=logged, noise=0.0))
    assert drivers.names == ["epoch"]
    assert drivers.left_out == []
    assert explained(grid.x, drivers.unlagged) > 0.97
    assert explained(grid.x, drivers.unlagged[:, :4]) < 0.5  # two waves are not enough


def test_epochs_that_vary_in_length_keep_their_phase():
    data = epochs_of(2, batches=40, steps_per_s=1.0, seconds=1600, noise=0.0)
    pauses = np.random.default_rng(3).uniform(0, 9, 100)[data.steps.column("step").to_numpy() // 40]
    ends = (data.step_time_ns - data.step_time_ns[0]) / 1e9 + np.cumsum(
        np.where(np.arange(pauses.size) % 40 == 39, pauses, 0)
    )
    columns = {name: np.asarray(data.steps.column(name)) for name in ("epoch", "grad_norm")}
    sampled = np.arange(round(ends[-1]) * 1.0)
    grid, drivers = cleaned(series_of(ends, columns, sampled, {"power_w": np.sin(sampled)}))
    assert explained(grid.x, drivers.unlagged) > 0.95


@pytest.mark.parametrize("batches", [24, 57])
def test_two_patterns_of_one_epoch_are_not_taken_for_coupling(batches):
    """With two waves of the epoch only, more than half of these runs were significant."""
    found = 0
    for seed in range(24):
        grid, drivers = cleaned(epochs_of([seed, batches], batches))
        found += (
            residual_cross_correlation(grid.x, grid.y, permutations=0, unlagged=drivers.unlagged).p <= 0.05
        )
    assert found <= 6


def test_a_pattern_that_changes_over_the_run_may_change_and_a_steady_one_costs_no_more():
    steady, changing = (cleaned(epochs_of(9, batches=30, changing=way)) for way in (False, True))
    assert steady[1].unlagged.shape[1] == 30
    assert changing[1].unlagged.shape[1] == 90
    pure = cleaned(epochs_of(9, batches=30, changing=True, noise=0.0))
    assert explained(pure[0].x, pure[1].unlagged) > 0.9
    assert explained(pure[0].x, pure[1].unlagged[:, :30]) < 0.8


def test_cycles_have_a_quarter_of_the_bins_and_what_has_no_room_is_named():
    grid, drivers = cleaned(epochs_of(4, batches=400, seconds=600))
    assert drivers.unlagged.shape[1] == 2 * (grid.x.size // 8)
    assert drivers.left_out == [f"epoch (waves {grid.x.size // 8 + 1} to 200 of its pattern)"]


def test_a_cycle_needs_two_turns_and_two_bins():
    assert cleaned(epochs_of(5, batches=2000, seconds=600))[1].names == []
    assert cleaned(epochs_of(5, batches=3, steps_per_s=6.0, seconds=300))[1].names == []


def test_an_evaluation_after_every_epoch_is_part_of_the_epoch():
    data = epochs_of(6, batches=60, steps_per_s=1.0)
    after_each = (data.step_time_ns[59::60] - data.step_time_ns[0]) / 1e9 + 0.01
    steps = {"epoch": data.training("epoch"), "grad_norm": data.training("grad_norm")}
    ends = (data.step_time_ns - data.step_time_ns[0]) / 1e9
    sampled = np.arange(1200.0)
    power = {"power_w": np.sin(sampled)}
    assert [
        c.name for c in logged_cycles(series_of(ends, steps, sampled, power, {"evaluation": after_each}))
    ] == ["epoch"]
    others = {"checkpoint": ends[16::49] + 0.01}  # these are not
    found = logged_cycles(series_of(ends, steps, sampled, power, others))
    assert [(cycle.name, round(cycle.steps)) for cycle in found] == [
        ("epoch", 60),
        ("period of checkpoint marks", 49),
    ]


def test_a_log_of_every_tenth_loss_is_a_cycle():
    rng = np.random.default_rng(7)
    ends = np.cumsum(rng.uniform(0.9, 1.1, 600))
    loss = np.where(np.arange(600) % 10 == 3, rng.standard_normal(600), np.nan)
    data = series_of(ends, {"loss": loss, "grad_norm": np.ones(600)}, ends, {"power_w": ends})
    (cycle,) = logged_cycles(data)
    assert (cycle.name, cycle.steps) == ("logging interval", 10.0)
    assert np.ptp(cycle.turn) == pytest.approx(59.9)
    every = series_of(ends, {"loss": rng.standard_normal(600)}, ends, {"power_w": ends})
    assert logged_cycles(every) == []


def test_marks_at_even_times_are_a_cycle_and_marks_at_random_are_none():
    rng = np.random.default_rng(8)
    ends = np.cumsum(rng.uniform(0.2, 1.8, 900))
    steps = {"grad_norm": np.ones(900)}
    even = series_of(ends, steps, ends, {"power_w": ends}, {"checkpoint": np.arange(60.0, 900, 60)})
    (cycle,) = logged_cycles(even)
    assert np.ptp(cycle.turn) == pytest.approx(ends[-1] / 60, abs=0.3)
    random = {"checkpoint": np.sort(rng.uniform(0, 900, 14))}
    assert logged_cycles(series_of(ends, steps, ends, {"power_w": ends}, random)) == []
