"""Alert ``coupling``: the coupling monitor of one device, fed with its ticks."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from thermograd.store.columns import signal
from thermograd.stream.alerts.alert import Alert, alert_from
from thermograd.stream.coupling.detector import CouplingBank
from thermograd.stream.join.ticks import DRIVERS, SENSORS, Tick


class CouplingEvidence(NamedTuple):
    """What is known of one pair now.

    Attributes
    ----------
    e_value
        Evidence since the last alarm; what counts as alarm is the mean over a device's sensors.
    run_e_value
        Evidence of the whole run, never begun anew: 20 or more is said of at most 5 % of uncoupled pairs.
    strength
        Correlation of what is new in both, at the lag with most evidence, recently.
    lag_s
        That lag; above 0: training leads, the hardware follows.
    """

    e_value: float
    run_e_value: float
    strength: float
    lag_s: int


class CouplingRule:
    """Watches log(grad_norm) against every sensor of a device, the drivers regressed out.

    Learning rate, step time and utilisation are drivers: what both sides owe to them is no coupling.
    Power is not, since it is how a gradient would heat. Step time is no signal either: throttling slows
    steps, so a coupling with speed is expected and nothing to be alarmed by.

    All sensors of all devices share one guarantee: the alarm of a device asks for `alarm_s` times the
    number of devices, of the mean e-value of its sensors.

    `devices` is how many devices are watched together; on uncoupled data alerts are in the mean at least
    `alarm_s` seconds apart. `max_lag_s` and `warmup_s` are those of the monitor, in ticks of 1 s. An alarm
    within `quiet_s` seconds of the last one belongs to the same episode: no new alert. `order`,
    `forgetting` and `driver_lags` are of `thermograd.stream.coupling.innovations.Innovations`.
    """

    def __init__(
        self,
        device: str,
        devices: int = 1,
        alarm_s: float = 259_200.0,
        max_lag_s: int = 12,
        warmup_s: int = 120,
        quiet_s: int = 1800,
        order: int = 4,
        forgetting: float = 0.999,
        driver_lags: int = 1,
    ) -> None:
        self.name = f"coupling of {device}"
        self._device, self._alarm_s, self._quiet_s = device, alarm_s, quiet_s
        self.definition = (
            f"coupling/1({alarm_s=!r},{max_lag_s=!r},{warmup_s=!r},{quiet_s=!r},{order=!r},{forgetting=!r},"
            f"{driver_lags=!r},{devices=!r},sensors={'+'.join(SENSORS)},drivers={'+'.join(DRIVERS)})"
        )
        self._bank = CouplingBank(
            len(SENSORS), len(DRIVERS), alarm_s * devices, max_lag_s, warmup_s, order, forgetting,
            driver_lags=driver_lags,
        )  # fmt: skip
        self._since_alarm: int | None = None

    def update(self, tick: Tick) -> list[Alert]:
        """Learn one tick; return the alert that begins with it, if any."""
        bank = self._bank
        bank.update(tick.x, tick.sensors, tick.drivers)
        if self._since_alarm is not None:
            self._since_alarm += 1
        if not bank.detected:
            return []
        begins = self._since_alarm is None or self._since_alarm > self._quiet_s
        self._since_alarm = 0
        return [self._to_alert(tick, tick.cause)] if begins and tick.cause is not None else []

    def pairs(self) -> dict[str, CouplingEvidence]:
        """Return what is known of each sensor that has been seen, by its column."""
        bank = self._bank
        run = bank.run_e_values.tolist()
        found = {}
        for at, name in enumerate(SENSORS):
            if bank.seen[at]:
                lag, strength = bank.of(at)
                found[name] = CouplingEvidence(float(bank.e_values[at]), run[at], strength, lag)
        return found

    def _to_alert(self, tick: Tick, cause: Mapping[str, Any]) -> Alert:
        bank = self._bank
        sensor, lag, strength = bank.strongest()
        column = SENSORS[sensor]
        name = signal(column).name
        order = f"{name} follows {lag} s later" if lag > 0 else f"{name} leads by {-lag} s"
        order = order if lag else "within the same second"
        asked = column if column != "throttled_s" else "sm_clock_mhz"
        return alert_from(
            cause,
            "coupling",
            "warning",
            f"{self._device}: log(grad_norm) and {name} move together ({order}; correlation of what is new "
            f"in them {strength:+.2f}, e-value {float(bank.e_values[sensor]):.2g}). On uncoupled data such "
            f"an alert comes at most once in {self._alarm_s / 3600.0:.3g} h. Look for a common cause that is "
            "not recorded (length of sequences, evaluation, data loading), then at "
            f"`thermograd analyze RUN --y {asked}`",
            step=tick.step,
            device=self._device,
            metric="grad_norm",
            value=strength,
            score=bank.e_value,
            threshold=bank.alarm_ticks,
            definition=self.definition,
        )
