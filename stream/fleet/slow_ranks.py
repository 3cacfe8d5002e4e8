"""Slow ranks of all live runs: each run's ranks against each other, within the fleet's budget.

The state of the bets is not kept: after a restart they begin anew, which makes no false alarm.
"""

from thermograd.stream.fleet.brokers.messages import Beat
from thermograd.stream.fleet.state import FleetAlert
from thermograd.stream.slow_rank import SlowRank, SlowRanks

_DAY_S = 86_400.0
MOST_RUNS = 1000  # at once, among which the false alarms are shared out
_LATENESS_S = 5.0  # of a node behind the others
_FORGET_NS = 3600 * 10**9


class FleetSlowRanks:
    """Feeds the times of each run's ranks to its `SlowRanks`; `per_day` are the false alarms of all runs.

    A rank's own times are taken where the training tells them, else its steps' whole times, in which ranks
    that wait for each other do not differ.
    """

    def __init__(self, per_day: float) -> None:
        self._alarm_s = _DAY_S / per_day * MOST_RUNS
        self._runs: dict[str, SlowRanks] = {}
        self._tells_work: set[str] = set()
        self._heard_ns: dict[str, int] = {}

    def take(self, beat: Beat) -> list[FleetAlert]:
        """Take in a beat; return an alert for each rank that is found slow."""
        if beat.run not in self._runs:
            self._runs[beat.run] = SlowRanks(alarm_s=self._alarm_s, lateness_s=_LATENESS_S)
        ranks = self._runs[beat.run]
        self._heard_ns[beat.run] = beat.time_ns
        if any(now.work_times_s for now in beat.ranks):
            self._tells_work.add(beat.run)
        found: list[FleetAlert] = []
        for now in beat.ranks:
            for time_s in now.work_times_s if beat.run in self._tells_work else now.step_times_s:
                if now.rank is not None:
                    slow = ranks.update(now.rank, beat.time_ns, time_s)
                    found += [_alert(beat, each) for each in slow]
        return found

    def forget_old(self, now_ns: int) -> None:
        """Let go of runs that have not been heard for long."""
        for run in [run for run, heard_ns in self._heard_ns.items() if now_ns - heard_ns > _FORGET_NS]:
            del self._runs[run], self._heard_ns[run]
            self._tells_work.discard(run)


def _alert(beat: Beat, slow: SlowRank) -> FleetAlert:
    text = (
        f"rank {slow.rank} takes {slow.ratio:.3g} times as long as its peers (evidence {slow.evidence:.2g}, "
        "within the false alarms that the fleet is allowed)"
    )
    identity = f"{beat.run}/slow.rank/{slow.rank}/{slow.since_ns}"
    found = FleetAlert(identity, "fleet", beat.run, "", "slow.rank", "warning", text, slow.time_ns)
    found.metric, found.value = "step_time_s", slow.ratio
    found.score, found.threshold = slow.evidence, slow.threshold
    return found
