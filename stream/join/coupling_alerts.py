"""Alert ``coupling``: the coupling monitor of one device, fed with its ticks."""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

from msgspec.structs import asdict
from thermograd.store.telling.columns import signal
from thermograd.stream.alerts.alert import Alert, alert_from
from thermograd.stream.coupling.bets import Row
from thermograd.stream.coupling.detector import MEMORIES, CouplingMonitor
from thermograd.stream.join.grid_ticks import DRIVERS, SENSORS, Tick
from thermograd.stream.settings import CouplingSettings

NOTABLE_EXCESS = 0.5  # worth a word


class CouplingEvidence(NamedTuple):
    """What is known of one pair now.

    `e_value` is the evidence since the last alarm (what counts as alarm is the mean over a device's sensors),
    `run_e_value` that of the whole run, never begun anew: 20 or more is said of at most 5 % of uncoupled
    pairs. `strength` is the correlation of what is new in both, at the lag with most evidence, recently;
    `lag_s` is that lag; above 0: training leads, the hardware follows. `memory_s` is the memory of a slow
    response, where that has most evidence; 0: at one lag.

    `excess` says by how much chance moves the evidence beyond what it may where nothing is coupled, 0 where
    it is as promised: rhythms, averaging sensors and a memory that changes leave something to predict. Bets
    are taxed by it; `withheld` counts the alarms of the device that were none, as much was found a minute to
    half an hour away, where no coupling is looked for.
    """

    e_value: float
    run_e_value: float
    strength: float
    lag_s: int
    memory_s: float = 0.0
    excess: float = 0.0
    withheld: int = 0


class CouplingRule:
    """Watches log(grad_norm) against every sensor of a device, the drivers regressed out.

    Learning rate, step time and utilisation are drivers: what both sides owe to them is no coupling. The
    pattern of an epoch is taken off as well, by the phase of its steps.
    Power is not, since it is how a gradient would heat. Step time is no signal either: throttling slows
    steps, so a coupling with speed is expected and nothing to be alarmed by.

    All sensors of all devices share one guarantee: the alarm of a device asks for `alarm_s` times the
    number of devices, of the mean e-value of its sensors.

    `devices` is how many devices are watched together, `label` what messages call this one; `section` says
    how: on uncoupled data alerts are in the mean at least ``alarm_s`` apart, and an alarm within ``quiet_s``
    of the last one belongs to the same episode: no new alert.
    """

    def __init__(
        self, device: str, devices: int, section: CouplingSettings, label: str | None = None
    ) -> None:
        self.name = f"coupling of {device}"
        self.device, self._section, self._label = device, section, label or device
        given = ",".join(f"{name}={value!r}" for name, value in asdict(section).items())
        memories = f"memories_s={'+'.join(f'{memory:g}' for memory in MEMORIES)}"
        watched = f"sensors={'+'.join(SENSORS)},drivers={'+'.join(DRIVERS)},cycle=epoch"
        self.definition = f"coupling/2({given},{memories},{devices=!r},{watched})"
        self._devices = devices
        self._since_alarm: int | None = None

    @cached_property
    def monitor(self) -> CouplingMonitor:
        """Half a megabyte: of a device with a single reading it is never made."""
        section = self._section
        return CouplingMonitor(
            len(DRIVERS),
            section.alarm_s * self._devices,
            section.max_lag_s,
            section.warmup_s,
            section.order,
            section.forgetting,
            driver_lags=section.driver_lags,
            sensors=len(SENSORS),
        )

    def update(self, tick: Tick) -> list[Alert]:
        """Learn one tick; return the alert that begins with it, if any."""
        self.learn([(self, tick)])
        return self.told(tick)

    @staticmethod
    def learn(ticks: "Iterable[tuple[CouplingRule, Tick]]") -> None:
        """Learn one tick each of several devices whose monitors share."""
        CouplingMonitor.update_all(
            (rule.monitor, Row((tick.x, *tick.sensors), tick.drivers, tick.epoch)) for rule, tick in ticks
        )

    def told(self, tick: Tick) -> list[Alert]:
        """Return the alert that begins with the tick that was learnt last, if any."""
        if self._since_alarm is not None:
            self._since_alarm += 1
        if not self.monitor.detected:
            return []
        begins = self._since_alarm is None or self._since_alarm > self._section.quiet_s
        self._since_alarm = 0
        return [self._to_alert(tick, tick.cause)] if begins and tick.cause is not None else []

    def standing(self) -> tuple[float, float]:
        """Return what all bets ever begun are worth, and how many were."""
        return self.monitor.standing, self.monitor.begun

    def pairs(self) -> dict[str, CouplingEvidence]:
        """Return what is known of each sensor that has been seen, by its column."""
        if "monitor" not in vars(self):
            return {}
        monitor = self.monitor
        run, excess = monitor.run_e_values.tolist(), monitor.excess.tolist()
        found = {}
        for at, name in enumerate(SENSORS):
            if monitor.seen[at]:
                what, e_value = monitor.of(at), float(monitor.e_values[at])
                found[name] = CouplingEvidence(
                    e_value, run[at], what.strength, what.lag, what.memory, excess[at], monitor.withheld
                )
        return found

    def _to_alert(self, tick: Tick, cause: Mapping[str, Any]) -> Alert:
        monitor = self.monitor
        sensor, lag, strength = monitor.strongest()
        memory_s = monitor.of(sensor).memory
        e_value = float(monitor.e_values[sensor])
        left = ""
        if float(monitor.excess[sensor]) > NOTABLE_EXCESS:
            left = "; rhythms or averaging let part of what is new be predicted, which is taken off"
        column = SENSORS[sensor]
        name = signal(column).name
        apart_h = self._section.alarm_s / 3600.0
        order = f"{name} follows {lag} s later" if lag > 0 else f"{name} leads by {-lag} s"
        order = order if lag else "within the same second"
        if memory_s:
            follows, leads = (name, "the norm") if lag > 0 else ("the norm", name)
            order = f"{follows} follows {leads} slowly, with a memory of about {memory_s:.0f} s"
        asked = column if column != "throttled_s" else "sm_clock_mhz"
        return alert_from(
            cause,
            "coupling",
            "warning",
            f"{self._label}: log(grad_norm) and {name} move together ({order}; correlation of what is new "
            f"in them {strength:+.2f}, e-value {e_value:.2g}){left}. On uncoupled data such "
            f"an alert comes at most once in {apart_h:.3g} h. Look for a common cause that is "
            "not recorded (length of sequences, evaluation, data loading), then at "
            f"`thermograd analyze RUN --y {asked}`",
            step=tick.step,
            device=self.device,
            metric="grad_norm",
            value=strength,
            score=monitor.e_value,
            threshold=monitor.alarm_ticks,
            definition=self.definition,
        )
