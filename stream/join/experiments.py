"""The alert ``effect``: a randomised experiment whose e-value may be looked at after every pair of blocks."""

import math
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Collection, Mapping
from operator import itemgetter
from typing import Any, NamedTuple

from thermograd.store.experiment.e_process import REJECT_AT, BlockOutcomes, EProcess
from thermograd.store.experiment.marks import INTERVENTION, read_experiments
from thermograd.store.experiment.outcomes import CONTROLS, OUTCOMES, QUESTIONS, Outcome
from thermograd.store.experiment.schedules import Schedule, Switchback
from thermograd.store.telling.devices import is_simulated
from thermograd.stream.alerts.alert import Alert, alert_from
from thermograd.stream.join.event_time import key_of
from thermograd.stream.join.lateness import EVERY_DEVICE

_REMEMBERED = 4096  # steps before the mark of an experiment is read: it may be delivered after them
_MOST = 64  # experiments of a run
_Key = tuple[int, int, str]
_ARMS = {"duty": "duty cycle", "cap": "power cap"}


class OutcomeEvidence(NamedTuple):
    """What is known of one outcome now: e-value, the largest so far, pairs, and hot less cool in its unit."""

    e_value: float
    largest: float
    pairs: int
    effect: float | None
    is_control: bool


class Experiments:
    """Follows the experiments of a run through their marks and the steps of rank 0.

    Steps are taken in the order of event time, once the join's watermark has passed them, and those that it
    left out as too late are left out here; so what comes out depends on which events there were, not on
    the order of delivery. `devices` are facts by name: whether any is simulated is said.
    """

    name = "effect"

    def __init__(self, devices: Mapping[str, Mapping[str, Any]]) -> None:
        self._is_simulated = any(is_simulated(name, facts) for name, facts in devices.items())
        self._waiting: list[tuple[_Key, Mapping[str, Any]]] = []
        self._released: deque[Mapping[str, Any]] = deque(maxlen=_REMEMBERED)
        self._followed: dict[str, _Followed] = {}
        self._until_ns: int | None = None  # what waits until then can be released

    def mark(self, values: Mapping[str, Any]) -> list[Alert]:
        """Learn of an experiment by its first mark."""
        if values.get("mark") != INTERVENTION or len(self._followed) >= _MOST:
            return []
        alerts: list[Alert] = []
        self._release_due()
        for recorded in read_experiments([values]):
            schedule = recorded.schedule
            name = repr(schedule.to_json())
            if name not in self._followed and isinstance(schedule.design, Switchback):
                followed = self._followed[name] = _Followed(schedule, self._is_simulated)
                alerts += [alert for step in self._released for alert in followed.update(step)]
        return alerts

    def step(
        self, values: Mapping[str, Any], writer: str, refused: Collection[str], watermark_ns: int | None
    ) -> list[Alert]:
        """Take in a step of rank 0 that the join has just taken or refused; its watermark is given."""
        if EVERY_DEVICE not in refused and values.get("step") is not None:
            entry, waiting = (key_of(values, writer), values), self._waiting
            if not waiting or waiting[-1][0] <= entry[0]:
                waiting.append(entry)
            else:
                insort(waiting, entry, key=itemgetter(0))
        self._until_ns = watermark_ns
        if not self._followed and len(self._waiting) < 2 * _REMEMBERED:
            return []  # nobody asks
        return self._release_due()

    def close(self) -> list[Alert]:
        """Take the steps that still wait."""
        return self._release(len(self._waiting))

    def _release_due(self) -> list[Alert]:
        if self._until_ns is None:
            return []
        return self._release(bisect_right(self._waiting, self._until_ns, key=lambda entry: entry[0][0]))

    def _release(self, until: int) -> list[Alert]:
        """Learn the oldest waiting steps: nothing can come before them any more."""
        waiting = self._waiting
        due = [values for _, values in waiting[:until]]
        del waiting[:until]
        self._released.extend(due)
        return [alert for values in due for each in self._followed.values() for alert in each.update(values)]

    def standing(self) -> list[tuple[Schedule, float, int]]:
        """Return each experiment with the e-value that the alert looks at, and the pairs behind it."""
        return [(each.schedule, *each.standing()) for each in self._followed.values()]

    def evidence(self) -> list[tuple[Schedule, dict[str, OutcomeEvidence]]]:
        """Return each experiment with what is known of its outcomes."""
        return [(each.schedule, each.evidence()) for each in self._followed.values()]


class _Followed:
    """One experiment: an e-process an outcome, and whether it has been told."""

    def __init__(self, schedule: Schedule, simulated: bool) -> None:
        self.schedule, self._is_simulated = schedule, simulated
        self._outcomes = {name: _Outcome(schedule, read, name in CONTROLS) for name, read in OUTCOMES.items()}
        self._asked: list[str] | None = None
        self._is_told = False

    def update(self, values: Mapping[str, Any]) -> list[Alert]:
        step = int(values["step"])
        ended = [outcome.update(step, values) for outcome in self._outcomes.values()]
        if not any(ended):
            return []
        asked, (e_value, _) = self._family(), self.standing()
        if self._is_told or not asked or e_value < REJECT_AT:
            return []
        self._is_told = True
        return [self._to_alert(values, asked, e_value)]

    def standing(self) -> tuple[float, int]:
        """Return the mean e-value of what is asked about, 1 without any, and the most pairs of one."""
        asked = [self._outcomes[name].process for name in self._family()]
        e_value = math.fsum(each.e_value for each in asked) / len(asked) if asked else 1.0
        return e_value, max((each.n for each in asked), default=0)

    def _family(self) -> list[str]:
        """Return the questions whose mean counts: those with values in the first pair that has any."""
        if self._asked is None:
            known = [name for name in QUESTIONS if self._outcomes[name].process.n]
            self._asked = known or None
        return self._asked or []

    def evidence(self) -> dict[str, OutcomeEvidence]:
        return {name: outcome.evidence() for name, outcome in self._outcomes.items()}

    def _to_alert(self, values: Mapping[str, Any], asked: list[str], e_value: float) -> Alert:
        name = max(asked, key=lambda each: self._outcomes[each].process.e_value)
        found = self._outcomes[name].evidence()
        effect = found.effect or 0.0
        way = "higher" if effect > 0 else "lower"
        unit = f"{abs(effect):.3g} {way}"
        if name == "log_grad_norm":
            unit += f", the norm {100.0 * abs(math.expm1(effect)):.2g} %,"
        arm = _ARMS.get(self.schedule.arm, self.schedule.arm)
        simulated = "SIMULATED devices; " if self._is_simulated else ""
        message = (
            f"step {values['step']}: the experiment ({arm}, {simulated}blocks drawn by chance) shows an "
            f"effect: {name} is {unit} in hot blocks than in cool ones, over {found.pairs} pairs; e-value "
            f"{e_value:.3g}: by chance {REJECT_AT:.0f} is ever reached in at most 1 of {REJECT_AT:.0f} "
            "experiments without an effect"
        )
        outcomes, block_steps = "+".join(asked), self.schedule.design.stretch_steps
        return alert_from(
            values,
            "effect",
            "info",
            message,
            metric=name,
            value=found.effect,
            score=e_value,
            threshold=REJECT_AT,
            definition=f"effect/1(outcomes={outcomes},{block_steps=!r})",
        )


class _Outcome:
    """One outcome of an experiment."""

    def __init__(self, schedule: Schedule, read: Outcome, is_control: bool) -> None:
        self.process = EProcess()
        self._blocks, self._read, self._is_control = BlockOutcomes(schedule), read, is_control

    def update(self, step: int, values: Mapping[str, Any]) -> bool:
        """Learn a step; return whether a pair ended with it."""
        contrasts = self._blocks.contrasts
        before = len(contrasts)
        self._blocks.update(step, self._read(values))
        for contrast in contrasts[before:]:
            self.process.update(contrast.d)
        return len(contrasts) > before

    def evidence(self) -> OutcomeEvidence:
        known = [each.d for each in self._blocks.contrasts if each.d is not None]
        effect = math.fsum(known) / len(known) if known else None
        process = self.process
        return OutcomeEvidence(process.e_value, process.largest, process.n, effect, self._is_control)
