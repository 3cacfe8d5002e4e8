"""One alert for one spike, however many ranks of a training see it.

Every rank's series has detectors of its own, so nothing waits and nothing is lost where a rank is slow.
Only what they find is brought together: findings are few.
"""

from bisect import insort
from operator import itemgetter
from typing import Any

from thermograd.store.events import gravity
from thermograd.stream.alerts.alert import Alert
from thermograd.stream.join.lateness import LateEvents, extend_ranges

_RANKS = "ranks"  # what these left out, in the log's marks
_Key = tuple[int, str, int]  # time_ns, writer, seq


class RankGroups:
    """Makes one alert of what several ranks find in the same episode.

    The alerts of one name and metric are taken in the order of event time. The first of an episode goes
    out, with the ranks that found it at the same step; those that follow within `quiet_steps` steps are
    the same episode, unless one is at least twice as strong as what was told.

    A finding waits until every rank has reached its step and its time, or until event time (that of the
    steps) has gone beyond it by twice the lateness, whichever comes first. So the result depends on which
    findings there were, not on the order in which ranks deliver. A finding that is too late, because its
    rank's clock or delivery is behind by more than the lateness, goes out by itself, and that it did is
    remembered in `left_out`.

    `world_size` is the number of ranks; with 1 or None every finding goes out at once, as it is.
    `lateness_s` is how late a rank's step may arrive; `quiet_steps` steps without a finding end an episode;
    `left_out` remembers which findings were too late, or knows it in a replay.
    """

    def __init__(
        self,
        world_size: int | None,
        lateness_s: float = 2.0,
        quiet_steps: int = 10,
        left_out: LateEvents | None = None,
    ) -> None:
        self.world_size = world_size or 1
        self._left_out = left_out or LateEvents()
        self._lateness_ns, self._quiet_steps = round(lateness_s * 1e9), quiet_steps
        self._waiting: list[tuple[_Key, int, Alert]] = []  # rank
        self._newest_ns: int | None = None
        self._reached: dict[int, tuple[int, int]] = {}  # rank: step, time
        self._last: _Key | None = None
        self._episodes: dict[tuple[str, str], tuple[int, float]] = {}  # last step, strongest score

    def update(self, values: dict[str, Any], writer: str, alerts: list[Alert]) -> list[Alert]:
        """Take in one step and what was found at it; return the alerts that go out now."""
        if self.world_size == 1:
            return alerts
        time_ns, seq = int(values["time_ns"]), int(values["seq"])
        rank, step = int(values.get("rank") or 0), int(values.get("step") or 0)
        key = (time_ns, writer, seq)
        told = []
        for alert in alerts:
            if self._is_late(key):
                told.append(_with_ranks(alert, [rank]))
            else:
                insort(self._waiting, (key, rank, alert), key=itemgetter(0))
        self._reached[rank] = (step, time_ns)
        if self._newest_ns is None or time_ns > self._newest_ns:
            self._newest_ns = time_ns
        return told + self._release(False)

    def close(self) -> list[Alert]:
        """Return what still waits."""
        return self._release(True)

    def _is_late(self, key: _Key) -> bool:
        time_ns, writer, seq = key
        passed = self._newest_ns is not None and time_ns <= self._newest_ns - self._lateness_ns
        late = passed or (self._last is not None and key < self._last)
        return self._left_out.decide(_RANKS, writer, "step", seq, late)

    def _release(self, everything: bool) -> list[Alert]:
        told: list[Alert] = []
        while self._waiting and (everything or self._is_due(*self._waiting[0])):
            key, rank, alert = self._waiting.pop(0)
            self._last = key
            told += self._tell(rank, alert)
        return told

    def _is_due(self, key: _Key, rank: int, alert: Alert) -> bool:
        if self._newest_ns is not None and self._newest_ns > key[0] + 2 * self._lateness_ns:
            return True
        step = int(alert.get("step") or 0)
        if len(self._reached) < self.world_size:
            return False
        return all(at >= step and time_ns >= key[0] for at, time_ns in self._reached.values())

    def _tell(self, rank: int, alert: Alert) -> list[Alert]:
        """Return the alert of all ranks at this step, nothing where its episode has been told."""
        name, step = (str(alert["alert"]), str(alert["metric"])), int(alert.get("step") or 0)
        last, strongest = self._episodes.get(name, (step - self._quiet_steps, 0.0))
        if step == last:
            return []
        found = [(rank, alert), *self._same(alert)]
        score = max(float(each.get("score") or 0.0) for _, each in found)
        same = abs(step - last) < self._quiet_steps
        self._episodes[name] = (step, max(score, strongest) if same else score)
        if same and not score >= 2.0 * strongest > 0.0:
            return []
        gravest = max(  # the first of equals
            (each for _, each in found),
            key=lambda each: (gravity(each["severity"]), float(each.get("score") or 0.0)),
        )
        return [_with_ranks(gravest, sorted({at for at, _ in found}))]

    def _same(self, alert: Alert) -> list[tuple[int, Alert]]:
        """Return what other ranks found at the same step: it has arrived, or is too late."""
        until_ns = alert["time_ns"] + self._lateness_ns
        return [
            (rank, other)
            for (time_ns, _, _), rank, other in self._waiting
            if time_ns <= until_ns and all(other[key] == alert[key] for key in ("alert", "metric", "step"))
        ]


def _with_ranks(alert: Alert, ranks: list[int]) -> Alert:
    """Return the alert with the ranks that found it, those in a row as a range."""
    runs: list[list[int]] = []
    for rank in ranks:
        extend_ranges(runs, rank, rank)
    text = ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
    return alert | {"message": f"{alert['message']} (rank {text})"}
