"""When heat held back any device of a run, for a picture."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from thermograd.analysis.run.series import Device
from thermograd.store.throttling.reasons import HEAT
from thermograd.store.throttling.spans import throttled_spans

_STRETCHES = 400  # of the time axis


def heat_spans(devices: Sequence[Device], origin_ns: int, end_s: float) -> list[tuple[float, float]]:
    """Return when at least one device was throttled by heat or the brake, s since `origin_ns`, ascending."""
    edges = np.zeros(_STRETCHES + 1)
    for begin_s, stop_s in _throttled(devices, origin_ns):
        first, last = (int(np.clip(at / end_s * _STRETCHES, 0, _STRETCHES)) for at in (begin_s, stop_s))
        edges[first] += 1
        edges[min(max(last, first + 1), _STRETCHES)] -= 1
    on = np.concatenate([[False], np.cumsum(edges)[:-1] > 0, [False]])
    turns = np.flatnonzero(np.diff(on.astype(np.int8)))
    return [(a / _STRETCHES * end_s, b / _STRETCHES * end_s) for a, b in pairwise(turns.tolist())][::2]


def _throttled(devices: Sequence[Device], origin_ns: int) -> Iterator[tuple[float, float]]:
    for device in devices:
        spans = throttled_spans(device.table)
        on = np.nan_to_num(spans.throttled_s(HEAT)) > 0
        begins, ends = ((times[on] - origin_ns) / 1e9 for times in (spans.begin_ns, spans.end_ns))
        yield from zip(begins.tolist(), ends.tolist(), strict=True)
