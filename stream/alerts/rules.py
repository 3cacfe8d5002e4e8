"""Which rules there are: each watches one series and says what it finds as alerts.

A series is a metric of one writer or a device of one writer. A rule gives one alert at the onset of an
episode and none while it lasts; the detectors' quiet times are the hysteresis that keeps it from
flapping.
"""

from collections.abc import Callable, Mapping
from functools import partial
from math import isfinite
from typing import Any, Protocol

from msgspec.structs import asdict
from thermograd.store.telling.episodes import ended_mark
from thermograd.stream.alerts.alert import Alert, alert_from, as_float, at_step
from thermograd.stream.alerts.gaps import GapRule, Pulse
from thermograd.stream.efficiency import Efficiency
from thermograd.stream.level_shift import LevelShift
from thermograd.stream.settings import Settings, SpikeSettings
from thermograd.stream.spike import Episode, SpikeDetector
from thermograd.stream.throttle import ThrottleDetector, ThrottleEpisode

_SEVERITIES = {
    "collapse.brake": "critical",
    "collapse.thermal": "critical",
    "throttle.warn": "warning",
    "power_limited": "info",
}
_CAUSES = {
    "collapse.thermal": "throttled by heat",
    "collapse.brake": "throttled by the power brake",
    "power_limited": "at its power limit",
}


class Rule(Protocol):
    """Watches one series; `name` says which rule on which series, for the report of a failure."""

    name: str

    def update(self, values: Mapping[str, Any]) -> list[Alert]:
        """Learn one event's values; return the alerts that begin with it."""


class DetectorRule:
    """Watches one metric of a writer's steps by a detector with episodes.

    `describe` returns severity, sentence and value of an episode that begins, None where it is not told.
    """

    def __init__(
        self,
        metric: str,
        alert: str,
        detector: SpikeDetector | LevelShift,
        describe: Callable[[Any, str, float], tuple[str, str, float] | None],
    ) -> None:
        self.name = f"{alert} on {metric}"
        self._metric, self._alert, self._detector, self._describe = metric, alert, detector, describe

    def update(self, values: Mapping[str, Any]) -> list[Alert]:
        """Learn one step; one without the metric changes nothing."""
        x, detector = values.get(self._metric), self._detector
        if x is None:
            return []
        detector.update(x)
        told = self._describe(detector, self._metric, float(x)) if detector.episode_started else None
        if told is None:
            return []
        severity, sentence, value = told
        return [
            alert_from(
                values,
                self._alert,
                severity,
                at_step(values) + sentence,
                metric=self._metric,
                value=value,
                score=detector.score,
                threshold=detector.threshold,
                definition=detector.definition_id,
            )
        ]


def _spike(detector: SpikeDetector, metric: str, x: float, critical_score: float) -> tuple[str, str, float]:
    """Describe a spike: a warning, critical from `critical_score` deviations on."""
    score, ratio = detector.score, detector.level_ratio
    how = f"{ratio:.3g}x" if ratio is not None and ratio > 0 else "above"
    z = "" if score is None else f" (z = {score:.3g})"
    severity = "critical" if score is not None and score >= critical_score else "warning"
    return severity, f"{metric} {x:.3g} is {how} the recent level {detector.level:.3g}{z}", x


def _level_shift(detector: LevelShift, metric: str, x: float) -> tuple[str, str, float] | None:
    recent, level = detector.recent, detector.level
    if not recent or not level:
        return None
    sentence = (
        f"{metric} has grown: the median of the last {detector.fast_steps} steps is {recent:.3g}, "
        f"{recent / level:.3g}x that of the last {detector.slow_steps} ({level:.3g})"
    )
    return "warning", sentence, recent


class FindingRule:
    """Alerts of values that are a finding by themselves, without any past: ``nonfinite``, ``zero_grad``.

    `find` returns severity and sentence for a value that is one, None for any other; `quiet_steps` steps
    without one end an episode.
    """

    def __init__(
        self,
        metric: str,
        alert: str,
        find: Callable[[Mapping[str, Any], str], tuple[str, str] | None],
        quiet_steps: int = 10,
    ) -> None:
        self.name = f"{alert} on {metric}"
        self.definition = f"{alert}/1(quiet_steps={quiet_steps!r})"
        self._metric, self._alert, self._find = metric, alert, find
        self._episode = Episode(quiet_steps)

    def update(self, values: Mapping[str, Any]) -> list[Alert]:
        """Learn one step."""
        x = values.get(self._metric)
        if x is None:
            return []
        finding = self._find(values, self._metric)
        if finding is None and not self._episode.active:
            return []
        self._episode.update(finding is not None)
        if finding is None or not self._episode.started:
            return []
        severity, sentence = finding
        found = {"metric": self._metric, "value": float(x), "definition": self.definition}
        return [alert_from(values, self._alert, severity, at_step(values) + sentence, **found)]


def _nonfinite(values: Mapping[str, Any], metric: str) -> tuple[str, str] | None:
    x = values[metric]
    if isfinite(x):
        return None
    if values.get("skipped"):
        return "warning", f"{metric} is {x}; the optimizer skipped this step"
    return "critical", f"{metric} is {x}"


def _zero(values: Mapping[str, Any], metric: str) -> tuple[str, str] | None:
    if values[metric] != 0:
        return None
    return "warning", f"{metric} is exactly 0: no gradient reaches the optimizer"


class _Clock:
    """Event time in seconds since the first sample: small numbers keep nanoseconds exact."""

    def __init__(self) -> None:
        self.origin_ns: int | None = None

    def elapsed_s(self, values: Mapping[str, Any]) -> float:
        time_ns = int(values["time_ns"])
        if self.origin_ns is None:
            self.origin_ns = time_ns
        return (time_ns - self.origin_ns) / 1e9


class ThrottleRule:
    """Alerts ``collapse.*``, ``throttle.warn`` and ``power_limited`` of one device; `label` is for people.

    When what one told of ends, a mark that says so is added to `ended`.
    """

    def __init__(
        self,
        device: str,
        detector: ThrottleDetector,
        label: str | None = None,
        ended: list[dict[str, Any]] | None = None,
    ) -> None:
        self.name = f"throttling of {device}"
        self._device, self._label = device, label or device
        self._detector = detector
        self._origin_ns: int | None = None
        self._ended = [] if ended is None else ended
        self._last: Mapping[str, Any] = {}

    def update(self, values: Mapping[str, Any]) -> list[Alert]:
        """Learn one sample."""
        self._last, detector, time_ns = values, self._detector, int(values["time_ns"])
        if self._origin_ns is None:
            self._origin_ns = time_ns
        detector.update((time_ns - self._origin_ns) / 1e9, values)  # small numbers keep nanoseconds exact
        if detector.ended:
            self._ended += [self._to_mark(values, episode) for episode in detector.ended]
        return [self._to_alert(values, episode) for episode in detector.started] if detector.started else []

    def close(self) -> None:
        """Tell of all that still lasts until when it is known to have lasted."""
        self._ended += [self._to_mark(self._last, each) for each in self._detector.episodes.values()]

    def _to_mark(self, values: Mapping[str, Any], episode: ThrottleEpisode) -> dict[str, Any]:
        onset_ns, end_ns = map(self._time_ns, (episode.onset_s, episode.last_s))
        return ended_mark(values, episode.condition, self._device, onset_ns, end_ns)

    def _time_ns(self, seconds: float) -> int:
        return (self._origin_ns or 0) + round(seconds * 1e9)

    def _to_alert(self, values: Mapping[str, Any], episode: ThrottleEpisode) -> Alert:
        is_warning = episode.condition == "throttle.warn"
        metric = "temperature_c" if is_warning else "sm_clock_mhz"
        sentence, threshold = self._warning() if is_warning else self._loss(episode, values)
        limit_c, temperature_c = self._detector.temperature_limit_c, as_float(values.get("temperature_c"))
        limit = "" if limit_c is None else f" (limit {limit_c:.0f} degC)"
        heat = "" if temperature_c is None else f" at {temperature_c:.0f} degC{limit}"
        return alert_from(
            values,
            episode.condition,
            _SEVERITIES[episode.condition],
            f"{self._label}: {sentence.format(heat=heat)}",
            device=self._device,
            metric=metric,
            value=as_float(values.get(metric)),
            score=None if is_warning else self._detector.clock_loss,
            threshold=threshold,
            onset_time_ns=self._time_ns(episode.onset_s),
            definition=self._detector.definition_id,
        )

    def _warning(self) -> tuple[str, float | None]:
        """Return the sentence and the temperature from which on is warned."""
        detector = self._detector
        reported = max(detector.thermal_share or 0.0, detector.brake_share or 0.0) > 0.0
        limit_c = detector.temperature_limit_c
        sentence = "the driver reports throttling{heat}" if reported else "close to throttling{heat}"
        return sentence, None if limit_c is None else limit_c - detector.warn_margin_c

    def _loss(self, episode: ThrottleEpisode, values: Mapping[str, Any]) -> tuple[str, float]:
        """Return the sentence and the clock below which it is a loss."""
        detector = self._detector
        usual_mhz, clock_mhz = detector.usual_clock_mhz or 0.0, as_float(values.get("sm_clock_mhz")) or 0.0
        sentence = (
            f"{_CAUSES[episode.condition]}{{heat}}: clock {clock_mhz:.0f} MHz, "
            f"{100.0 * (detector.clock_loss or 0.0):.0f} % below its usual {usual_mhz:.0f} MHz"
        )
        return sentence, usual_mhz * (1.0 - detector.clock_loss_ratio)


def ended_alert(mark: Mapping[str, Any]) -> dict[str, Any]:
    """Return name and severity of the alert of which a mark tells the end; without its own the gravest."""
    return {"alert": mark["text"], "severity": _SEVERITIES.get(mark["text"], "critical")}


class EfficiencyRule:
    """Alert ``collapse.thermal`` by the first instrument's rule: smoothed RLE far below its own peak.

    Off unless configured, and kept for comparison with old recordings only: RLE rises when a device is
    throttled, so this rule does not see throttling. Its alerts differ from those of `ThrottleDetector` by
    their definition, which begins with the name of the RLE definition. `facts` is the device's entry of
    ``run.json``: ``rated_power_w``, ``temperature_limit_c``.
    """

    def __init__(
        self, device: str, facts: Mapping[str, Any], definition: str, label: str | None = None
    ) -> None:
        self.name = f"collapse of the efficiency of {device}"
        self._device, self._label = device, label or device
        self._clock, self._collapsed = _Clock(), False
        rated_w, limit_c = as_float(facts.get("rated_power_w")), as_float(facts.get("temperature_limit_c"))
        self._efficiency = Efficiency(rated_w, limit_c, definition)

    def update(self, values: Mapping[str, Any]) -> list[Alert]:
        """Learn one sample."""
        efficiency = self._efficiency
        readings = (values.get(name) for name in ("utilization_pct", "power_w", "temperature_c"))
        efficiency.update(self._clock.elapsed_s(values), *readings)
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
            f"{self._label}: thermal load efficiency {smoothed:.3g} is below "
            f"{100.0 * efficiency.definition.drop_ratio:.0f} % of its peak {peak:.3g} (the rule of the first "
            "instrument, which does not see throttling)",
            device=self._device,
            metric="rle",
            value=smoothed,
            score=smoothed / peak if peak > 0.0 else None,
            threshold=efficiency.definition.drop_ratio * peak,
            definition=efficiency.definition_id,
        )


def step_rules(settings: Settings) -> list[Rule]:
    """Return fresh rules for the steps of one writer."""
    nonfinite_steps, zero_steps = settings.nonfinite.quiet_steps, settings.zero_grad.quiet_steps
    return [
        _spike_rule("grad_norm", "spike.grad", settings.spike, settings.spike.grad_ratio),
        _spike_rule("loss", "spike.loss", settings.spike, settings.spike.loss_ratio),
        DetectorRule("grad_norm", "shift.grad", LevelShift(**asdict(settings.shift)), _level_shift),
        FindingRule("grad_norm", "nonfinite", _nonfinite, nonfinite_steps),
        FindingRule("loss", "nonfinite", _nonfinite, nonfinite_steps),
        FindingRule("grad_norm", "zero_grad", _zero, zero_steps),
    ]


def _spike_rule(metric: str, alert: str, section: SpikeSettings, ratio: float) -> DetectorRule:
    given = asdict(section) | {"ratio": ratio}
    for name in ("grad_ratio", "loss_ratio", "critical_score"):
        del given[name]
    return DetectorRule(
        metric, alert, SpikeDetector(**given), partial(_spike, critical_score=section.critical_score)
    )


def _gap_rule(
    device: str,
    settings: Settings,
    label: str | None,
    pulse: Pulse | None,
    ended: list[dict[str, Any]] | None,
) -> GapRule:
    if not settings.silence.is_on:
        return GapRule(device, settings.sensor_gap, label)
    return GapRule(device, settings.sensor_gap, label, pulse, settings.silence, ended)


def device_rules(
    device: str,
    facts: Mapping[str, Any],
    settings: Settings,
    label: str | None = None,
    ended: list[dict[str, Any]] | None = None,
    pulse: Pulse | None = None,
) -> list[Rule]:
    """Return fresh rules for one device of one writer, from the device's facts in ``run.json``.

    `label` is what messages call it, its name by default; `ended` is where marks go that tell of an end;
    `pulse` is that of the writer's devices together.
    """
    throttle = ThrottleDetector(as_float(facts.get("temperature_limit_c")), **asdict(settings.throttle))
    rules: list[Rule] = [
        ThrottleRule(device, throttle, label, ended),
        _gap_rule(device, settings, label, pulse, ended),
    ]
    definition = settings.efficiency.collapse
    return rules if definition == "off" else [*rules, EfficiencyRule(device, facts, definition, label)]
