"""One table of several devices, matched as each device by itself."""

import naive
import numpy as np
import pytest
from thermograd.benchmarks import nearest_by as by_key
from thermograd.benchmarks.nearest_by import nearest_by

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


def random_clocks(rng):
    steps = rng.integers(-15, 55, rng.integers(0, 25))
    samples = np.sort(rng.integers(0, 40, rng.integers(0, 25)))
    return steps, samples


@pytest.mark.parametrize("block", [2, 7, 1 << 18])
@pytest.mark.parametrize("kind", [np.int8, np.uint64])
def test_one_table_of_several_devices_equals_the_brute_force_loop_on_each(monkeypatch, block, kind):
    monkeypatch.setattr(by_key, "_BLOCK", block)
    rng = np.random.default_rng(block)
    for trial in range(150):
        steps, samples = random_clocks(rng)
        step_key, sample_key = (rng.integers(0, 4, array.size).astype(kind) for array in (steps, samples))
        tolerance = int(rng.integers(0, 7)) if trial % 5 else 10**18
        found = nearest_by(steps, step_key, samples, sample_key, tolerance)
        for key in range(4):
            (mine,), (theirs,) = np.nonzero(step_key == key), np.nonzero(sample_key == key)
            index = naive.nearest(steps[mine], samples[theirs], tolerance)
            assert found[mine].tolist() == [theirs[i] if i >= 0 else -1 for i in index]


def test_keys_of_another_shape_or_type_are_refused():
    with pytest.raises(ValueError, match=r"step_key has shape \(2,\)"):
        nearest_by([1], [0, 1], [1], [0], 5)
    with pytest.raises(TypeError, match="sample_key is float64"):
        nearest_by([1], [0], [1], [0.0], 5)
