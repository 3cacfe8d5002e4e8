"""The rows of the view `throttling`: for how long each cause throttled a device, how often, how hot."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from thermograd.store.throttling.reasons import HEAT, Cause
from thermograd.store.throttling.spans import INPUT, ThrottledSpans, episodes_s, readings, throttled_spans

SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("run_id", "device", "cause", "source")),
        *((name, pa.float64()) for name in ("observed_s", "throttled_s", "share")),
        ("episodes", pa.int64()),
        *((name, pa.float64()) for name in ("longest_s", "max_temperature_c")),
    ]
)
COLUMNS = (*INPUT, "temperature_c")
CAUSES: dict[str, tuple[Cause, ...]] = {
    "thermal": ("thermal",),
    "brake": ("brake",),
    "thermal or brake": HEAT,
    "power": ("power",),
    "any": (*HEAT, "power"),
}


def throttling_of(samples: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield a row for each of `CAUSES` from a device's `COLUMNS` in time order; None is what is not known."""
    return throttling_of_spans(throttled_spans(samples), samples)


def throttling_of_spans(spans: ThrottledSpans, samples: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield what `throttling_of` does, of spans that are known already."""
    temperature_c = _at_ends(samples, spans)
    for name, causes in CAUSES.items():
        yield {"cause": name} | _row(spans, causes, temperature_c)


def _row(
    spans: ThrottledSpans, causes: tuple[Cause, ...], temperature_c: np.ndarray[Any, Any]
) -> dict[str, Any]:
    throttled_s = spans.throttled_s(causes)
    known = np.isfinite(throttled_s)
    source = spans.source(causes)
    if source is None:
        return {"source": None}
    observed_s, total_s = float(spans.elapsed_s[known].sum()), float(throttled_s[known].sum())
    lasted_s, hot = episodes_s(spans, causes), temperature_c[known & (throttled_s > 0)]
    return {
        "source": source,
        "observed_s": observed_s,
        "throttled_s": total_s,
        "share": total_s / observed_s,
        "episodes": int(lasted_s.size),
        "longest_s": float(lasted_s.max(initial=0.0)),
        "max_temperature_c": float(np.nanmax(hot)) if np.isfinite(hot).any() else None,
    }


def _at_ends(samples: pa.Table, spans: ThrottledSpans) -> np.ndarray[Any, Any]:
    """Return the temperature at the end of each span, degC."""
    time_ns = np.asarray(samples.column("time_ns"), dtype=np.int64)
    return readings(samples, "temperature_c")[np.searchsorted(time_ns, spans.end_ns, side="right") - 1]
