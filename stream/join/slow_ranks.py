"""The alert ``slow.rank``: a rank that works longer than its peers, from the steps of all ranks."""

from collections.abc import Mapping
from typing import Any

from thermograd.stream.alerts.alert import Alert, alert_from, as_float
from thermograd.stream.join.lateness import LateEvents
from thermograd.stream.settings import SlowRankSettings
from thermograd.stream.slow_rank import SlowRank, SlowRanks

_FEWEST = 3  # ranks: of two nobody can say which one is slow
_SLOW = "slow ranks"  # what these left out, in the log's marks


class SlowRankRule:
    """Follows the steps of all ranks; alerts are told of the end of a block, not of a rank's event.

    `world_size` is the number of ranks; with fewer than three nothing is compared. `left_out` remembers
    which steps were too late, or knows it in a replay.
    """

    name = "slow.rank"

    def __init__(
        self, world_size: int | None, section: SlowRankSettings, lateness_s: float, left_out: LateEvents
    ) -> None:
        self._is_on, self._left_out = (world_size or 1) >= _FEWEST, left_out
        self._alarm_h = section.alarm_s / 3600.0
        self._ranks = SlowRanks(section.tolerance, section.alarm_s, section.block_s, lateness_s)

    def update(self, values: Mapping[str, Any], writer: str) -> list[Alert]:
        """Learn one step; return the alerts of the block that it ends."""
        if not self._is_on or values.get("rank") is None:
            return []
        time_ns = int(values["time_ns"])
        late = self._ranks.is_late(time_ns)
        if self._left_out.decide(_SLOW, writer, "step", int(values["seq"]), late):
            return []
        work_s = as_float(values.get("step_time_s"))
        return [
            self._to_alert(values, slow) for slow in self._ranks.update(int(values["rank"]), time_ns, work_s)
        ]

    def _to_alert(self, values: Mapping[str, Any], slow: SlowRank) -> Alert:
        percent = 100.0 * (slow.ratio - 1.0)
        message = (
            f"rank {slow.rank} takes {percent:.0f} % longer for its steps than the ranks' median (evidence "
            f"{slow.evidence:.2g}); where no rank is slow such an alert comes at most once in "
            f"{self._alarm_h:.3g} h"
        )
        shift_ns = slow.time_ns - int(values["time_ns"])
        return alert_from(
            values,
            self.name,
            "warning",
            message,
            time_ns=slow.time_ns,
            monotonic_ns=int(values["monotonic_ns"]) + shift_ns,
            onset_time_ns=slow.since_ns,
            step=None,
            offset=None,
            metric="step_time_s",
            value=slow.ratio,
            score=slow.evidence,
            threshold=slow.threshold,
            definition=self._ranks.definition,
        )
