"""Thermal load efficiency as a stream estimator; the mathematics is the store's, for SQL uses it too."""

from collections.abc import Mapping
from typing import Any

from thermograd.store.efficiency.estimator import Efficiency
from thermograd.stream.alerts.alert import Alert, alert_from, as_float


class EfficiencyRule:
    """Alert ``collapse.thermal`` by the first instrument's rule: smoothed RLE far below its own peak.

    Off unless configured, and kept for comparison with old recordings only: RLE rises when a device is
    throttled, so this rule does not see throttling. Its alerts differ from those of `ThrottleDetector` by
    their definition, which begins with the name of the RLE definition.

    Parameters
    ----------
    device, facts
        Its name, and its entry of ``run.json``: ``rated_power_w``, ``temperature_limit_c``.
    definition
        Name of the RLE definition.
    """

    def __init__(self, device: str, facts: Mapping[str, Any], definition: str) -> None:
        self.name = f"collapse of the efficiency of {device}"
        self._device = device
        self._efficiency = Efficiency(
            as_float(facts.get("rated_power_w")), as_float(facts.get("temperature_limit_c")), definition
        )
        self._origin_ns: int | None = None
        self._collapsed = False

    def update(self, values: Mapping[str, Any]) -> list[Alert]:
        """Learn one sample."""
        time_ns = int(values["time_ns"])
        if self._origin_ns is None:
            self._origin_ns = time_ns
        efficiency = self._efficiency
        readings = (values.get(name) for name in ("utilization_pct", "power_w", "temperature_c"))
        efficiency.update((time_ns - self._origin_ns) / 1e9, *readings)
        begins = bool(efficiency.collapse) and not self._collapsed
        self._collapsed = bool(efficiency.collapse)
        return [self._to_alert(values)] if begins else []

    def _to_alert(self, values: Mapping[str, Any]) -> Alert:
        efficiency = self._efficiency
        peak, smoothed = efficiency.rolling_peak or 0.0, efficiency.rle_smoothed or 0.0
        return alert_from(
            values,
            "collapse.thermal",
            "warning",
            f"{self._device}: thermal load efficiency {smoothed:.3g} is below "
            f"{100.0 * efficiency.definition.drop_ratio:.0f} % of its peak {peak:.3g} (the rule of the first "
            "instrument, which does not see throttling)",
            device=self._device,
            metric="rle",
            value=smoothed,
            score=smoothed / peak if peak > 0.0 else None,
            threshold=efficiency.definition.drop_ratio * peak,
            definition=efficiency.definition_id,
        )
