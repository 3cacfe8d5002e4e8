import numpy as np
import pytest
from thermograd.analysis.coupling.evidence.not_excluded import _largest_in_a_part


@pytest.mark.parametrize("rest", [1.0, 1e-8, 1e-16, 0.0])
def test_a_part_in_which_next_to_nothing_moves_shows_no_more_than_chance(rest):
    rng, n = np.random.default_rng(0), 2000
    leader, follower = rng.normal(size=(2, n))
    leader[n // 2 :] *= rest
    r, looks = _largest_in_a_part(leader, follower, np.arange(n), np.arange(11))
    parts = [
        (follower[begin : begin + n // 4], leader[begin - lag : begin + n // 4 - lag])
        for begin in range(n // 4, n, n // 4)
        for lag in range(11)
    ]
    largest = max(abs(a @ b) / np.linalg.norm(a) / max(np.linalg.norm(b), 1e-300) for a, b in parts)
    assert largest / 2.0 - 1e-12 <= r < 0.12
    assert looks == (4 + 8) * 11
