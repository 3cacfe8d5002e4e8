"""What is known of all live runs, from what their agents publish: one state, to be kept and resumed."""

from collections.abc import Iterator
from itertools import chain
from math import isfinite
from typing import Any

from msgspec import Struct, field
from thermograd.store.events import gravity
from thermograd.store.text import printable
from thermograd.stream.fleet.brokers.messages import AlertNote, Beat, Body, Bye, DeviceNow, RankNow
from thermograd.stream.fleet.brokers.seen import Seen
from thermograd.stream.fleet.budget import Alarm, FleetBudget

SPIKES = ("spike.grad", "spike.loss", "nonfinite")
# what a reading or a driver says, with no chance in it: told at once, whatever the budget is
FACTS = frozenset(
    ("nonfinite", "collapse.thermal", "collapse.brake", "silent.node", "silent.rank", "silent.agent")
)
_LOST = ("silent.device", "critical")  # a GPU; a driver that hangs for a moment is its node's business
_KEPT_ENDED_S, _KEPT_SILENT_S = 600, 3600
_BEGIN_S = 5
_MOST_ALERTS, _MOST_SPIKES, _MOST_KNOWN = 100, 1000, 5000


class FleetAlert(Struct, omit_defaults=True):
    """An alert as the consumer tells it, once.

    `level` is ``fleet`` where it is within the fleet's budget of false alarms, else ``node``; `id` is the
    same whenever it is found again. `time_ns` is the time of what it tells of.
    """

    id: str
    level: str
    run: str
    node: str
    alert: str
    severity: str
    message: str
    time_ns: int
    step: int | None = None
    device: str | None = None
    metric: str | None = None
    value: float | None = None
    score: float | None = None
    threshold: float | None = None


class NodeState(Struct):
    """One node of one run: a host, whichever agent of it is the latest.

    `arrived_ns` is when its latest message did, `tick` its latest evidence; `gone` are the agents that have
    said goodbye: the node has ended when its latest did.
    """

    writer: str
    beat: Beat
    arrived_ns: int
    silent: bool = False
    ended: bool = False
    gone: set[str] = set()
    tick: int = -1
    devices: dict[str, DeviceNow] = {}
    told_alerts: dict[str, int] = {}
    """How many alerts each of its writers says it has written."""


class RunState(Struct):
    """One run: its nodes, ranks, and what was found in it."""

    run: str
    name: str
    began_ns: int
    nodes: dict[str, NodeState] = {}
    ranks: dict[str, RankNow] = {}
    spikes: list[int] = []
    alerts: list[FleetAlert] = []
    known: dict[str, None] = {}
    seen: dict[str, Seen] = {}
    lost_beats: int = 0

    @property
    def is_live(self) -> bool:
        """Whether any of its nodes has not said goodbye."""
        return any(not node.ended for node in self.nodes.values()) or not self.nodes

    @property
    def newest_ns(self) -> int:
        """When its latest message arrived."""
        return max((node.arrived_ns for node in self.nodes.values()), default=self.began_ns)

    def missing_alerts(self) -> int:
        """Return how many alerts its agents have written that have not come: the log has them."""
        told = {w: n for node in self.nodes.values() for w, n in node.told_alerts.items()}
        writers = {key.partition("/")[2] for key in self.seen if key.startswith("alert/")} | set(told)
        return sum(self.seen.get(f"alert/{w}", Seen()).missing(told.get(w, 0)) for w in sorted(writers))


class FleetState(Struct):
    """Takes in messages in any order, any number of times; returns each alert once.

    A spike is one for the whole job, whichever rank, node or agent tells of it first: what is the same by
    run, alert, metric and step (or device and onset) is told once. A node is silent when nothing has arrived
    from it for `silent_s` while its run lives, by the one clock of arrivals: the hosts' own do not count.
    """

    silent_s: float = 10.0
    recent_s: float = 300.0
    budget: FleetBudget = field(default_factory=FleetBudget)
    runs: dict[str, RunState] = {}
    messages: int = 0
    repeated: int = 0
    unreadable: int = 0
    clock_ns: int = 0

    def take(self, body: Body | None, arrived_ns: int) -> list[FleetAlert]:
        """Take in a message; return what is to be told."""
        self.messages += 1
        self.clock_ns = max(self.clock_ns, arrived_ns)
        if body is None:
            self.unreadable += 1
            return []
        run = self.runs.get(body.run)
        if run is None:
            run = self.runs[body.run] = RunState(body.run, body.run, arrived_ns)
        if not self._is_new(run, body):
            self.repeated += 1
            return []
        if isinstance(body, Beat):
            return self._beat(run, body, arrived_ns)
        if isinstance(body, Bye):
            return self._bye(run, body, arrived_ns)
        return self._alert(run, body, arrived_ns)

    def _is_new(self, run: RunState, body: Body) -> bool:
        kind = str(type(body).__struct_config__.tag)
        seen = run.seen.setdefault(f"{kind}/{body.writer}", Seen())
        if kind == "beat":
            seen.begin_at(body.seq)  # those before were never wanted: an old beat is of no use
        return seen.is_new(body.seq)

    def _beat(self, run: RunState, beat: Beat, arrived_ns: int) -> list[FleetAlert]:
        for each in beat.evidence:
            self.budget.take(run.run, each.device, each.tick, each.value, each.begun)
        node = run.nodes.get(beat.node)
        if node is None:
            node = run.nodes[beat.node] = NodeState(beat.writer, beat, arrived_ns)
        is_newest = self._is_of_newest(node, beat)
        told = self._heard(run, node, beat.writer, arrived_ns) if is_newest else []
        node.told_alerts[beat.writer] = max(beat.alerts, node.told_alerts.get(beat.writer, 0))
        if not is_newest or (beat.writer == node.writer and beat.seq < node.beat.seq):
            return told  # an old one, sent again: what came since is newer
        node.writer, node.beat = beat.writer, beat
        node.tick = max([node.tick, *(each.tick for each in beat.evidence)])
        run.name = beat.name or run.name
        for device in beat.devices:
            node.devices[device.device] = device
        for rank in beat.ranks:
            key = f"{beat.node}" if rank.rank is None else f"{rank.rank}"
            before = run.ranks.get(key)
            if before is None or _says_more(rank, before):
                run.ranks[key] = rank
        return told

    @staticmethod
    def _is_of_newest(node: NodeState, body: Beat | Bye) -> bool:
        """Whether it is from the node's latest agent, by the node's own clock: streams come in any order."""
        return body.writer == node.writer or body.time_ns >= node.beat.time_ns

    def _heard(self, run: RunState, node: NodeState, writer: str, arrived_ns: int) -> list[FleetAlert]:
        """Note that a node lives; one that was silent is back."""
        node.arrived_ns = max(node.arrived_ns, arrived_ns)
        node.ended = writer in node.gone  # else another has begun after the one that said goodbye
        if not node.silent or node.ended:
            return []
        node.silent = False
        text = f"node {printable(node.beat.node)} is back"
        return self._tell(run, self._of_node(run, node, "node.back", "info", text, arrived_ns))

    def _of_node(
        self, run: RunState, node: NodeState, alert: str, severity: str, text: str, time_ns: int
    ) -> FleetAlert:
        last = f"{node.writer}:{node.beat.seq}"
        level = "fleet" if alert in FACTS else "node"
        identity = f"{run.run}/{node.beat.node}/{alert}/{last}"
        return FleetAlert(identity, level, run.run, node.beat.node, alert, severity, text, time_ns)

    def _bye(self, run: RunState, bye: Bye, arrived_ns: int) -> list[FleetAlert]:
        node = run.nodes.get(bye.node)
        if node is None:
            node = run.nodes[bye.node] = NodeState(bye.writer, _nothing_but(bye), arrived_ns)
        node.gone.add(bye.writer)
        if bye.writer != node.writer and self._is_of_newest(node, bye):
            node.writer, node.beat = bye.writer, _nothing_but(bye)
        node.told_alerts[bye.writer] = max(bye.alerts, node.told_alerts.get(bye.writer, 0))
        if bye.writer == node.writer:
            node.arrived_ns, node.ended, node.silent = max(node.arrived_ns, arrived_ns), True, False
        return []

    def _alert(self, run: RunState, note: AlertNote, arrived_ns: int) -> list[FleetAlert]:
        node = run.nodes.get(note.node)
        told = self._heard(run, node, note.writer, arrived_ns) if node and note.writer == node.writer else []
        columns = note.columns
        alert, severity = str(columns.get("alert")), str(columns.get("severity"))
        step, onset_ns = columns.get("step"), columns.get("onset_time_ns")
        of_step = step is not None and columns.get("device") is None
        what = "/".join(
            str(part)
            for part in (alert, columns.get("device"), columns.get("metric"), step if of_step else onset_ns)
        )
        if what in run.known:
            return told
        run.known[what] = None
        if len(run.known) > _MOST_KNOWN:
            del run.known[next(iter(run.known))]
        if alert in SPIKES:
            run.spikes = [*run.spikes, arrived_ns][-_MOST_SPIKES:]
        is_fact = alert in FACTS and gravity(severity) >= gravity("warning")
        is_fact |= (alert, severity) == _LOST
        given: dict[str, Any] = {name: columns.get(name) for name in _COPIED}
        found = FleetAlert(
            f"{run.run}/{what}",
            "fleet" if is_fact else "node",
            run.run,
            note.node,
            alert,
            severity,
            printable(columns.get("message") or ""),
            int(columns.get("time_ns") or 0),
            **given,
        )
        return told + self._tell(run, found)

    def tell(self, alert: FleetAlert) -> list[FleetAlert]:
        """Take in an alert that was found beside this state; return it, if its run is known."""
        run = self.runs.get(alert.run)
        return [] if run is None else self._tell(run, alert)

    def _tell(self, run: RunState, alert: FleetAlert) -> list[FleetAlert]:
        run.alerts = [*run.alerts, alert][-_MOST_ALERTS:]
        return [alert]

    def look(self, now_ns: int | None = None, is_caught_up: bool = True) -> list[FleetAlert]:
        """Return what time itself tells: nodes that have fallen silent, alarms whose evidence is complete.

        Whoever has not caught up with what the broker has knows of nobody's silence, nor of what is old.
        """
        now_ns = self.clock_ns if now_ns is None else max(now_ns, self.clock_ns)
        told: list[FleetAlert] = []
        for run in list(self.runs.values()) if is_caught_up else ():
            told += chain.from_iterable(self._silences(run, now_ns))
            self._forget_old(run, now_ns)
        for alarm in self.budget.advance(self._complete()):
            told += self._alarm(alarm)
        return told

    def _silences(self, run: RunState, now_ns: int) -> Iterator[list[FleetAlert]]:
        self._end_with_run(run, now_ns)
        for node in run.nodes.values():
            quiet_s = (now_ns - node.arrived_ns) / 1e9
            if node.ended or node.silent or quiet_s <= self.silent_s:
                continue
            node.silent = True
            text = (
                f"node {printable(node.beat.node)} has been silent for {quiet_s:.0f} s: its agent is gone, "
                "or the network between it and the broker"
            )
            alert = self._of_node(run, node, "silent.node", "critical", text, node.beat.time_ns)
            yield self._tell(run, alert)

    def _end_with_run(self, run: RunState, now_ns: int) -> None:
        """End the nodes that were never heard again after the run's last goodbye: it ended there too."""
        left = [node for node in run.nodes.values() if not node.ended]
        goodbyes_ns = [node.arrived_ns for node in run.nodes.values() if node.ended]
        heard_ns = max((node.arrived_ns for node in left), default=0)
        silent_ns = round(self.silent_s * 1e9)
        if goodbyes_ns and heard_ns <= max(goodbyes_ns) + silent_ns and now_ns - heard_ns > silent_ns:
            for node in left:
                node.ended, node.silent = True, False

    def reconnected(self, now_ns: int) -> None:
        """Give every node its time again: while we heard nothing, nobody's silence was theirs."""
        for node in self._live_nodes():
            node.arrived_ns = max(node.arrived_ns, now_ns)

    def _live_nodes(self) -> list[NodeState]:
        return [n for run in self.runs.values() for n in run.nodes.values() if not (n.ended or n.silent)]

    def _complete(self) -> int | None:
        """Return the second up to which every live node that has evidence has told it.

        A node that has just begun may not have been heard yet: it has some seconds.
        """
        since = self.budget.newest - self.budget.lateness_s
        told = [node.tick for node in self._live_nodes() if node.tick >= since]
        return min([*told, self.budget.newest - _BEGIN_S]) if told else None

    def _alarm(self, alarm: Alarm) -> list[FleetAlert]:
        run = self.runs.get(alarm.run)
        if run is None:
            return []
        of = [each for each in run.alerts if each.alert == "coupling" and each.device == alarm.device]
        how = f"; its node says: {of[-1].message}" if of and of[-1].level == "node" else ""
        node = next((n.beat.node for n in run.nodes.values() if alarm.device in n.devices), "")
        text = (
            f"{alarm.device}: log(grad_norm) and its sensors move together, evidence {alarm.value:.2g} among "
            f"{alarm.devices} devices; by chance such an alert comes at most {self.budget.per_day:g} times a "
            f"day in the whole fleet{how}"
        )
        identity = f"{alarm.run}/fleet/coupling/{alarm.device}/{alarm.tick}"
        found = FleetAlert(
            identity, "fleet", alarm.run, node, "coupling", "warning", text, (alarm.tick + 1) * 10**9
        )
        found.device, found.score, found.threshold = alarm.device, alarm.value, alarm.threshold
        return self._tell(run, found)

    def _forget_old(self, run: RunState, now_ns: int) -> None:
        kept_s = _KEPT_SILENT_S if run.is_live else _KEPT_ENDED_S
        if now_ns - run.newest_ns > kept_s * 1e9:
            del self.runs[run.run]
            self.budget.forget(run.run)


def _says_more(rank: RankNow, before: RankNow) -> bool:
    if rank.step is None or before.step is None:
        return rank.step is not None or before.step is None
    return rank.step > before.step or (rank.step == before.step and bool(rank.steps or not before.steps))


def _nothing_but(bye: Bye) -> Beat:
    """Return what is known of an agent of which only the goodbye has come."""
    return Beat(bye.run, bye.node, bye.writer, -1, bye.time_ns)


_COPIED = ("step", "device", "metric", "value", "score", "threshold")


def finite(value: float | None) -> float | None:
    """Return a number that JSON has, None for any other."""
    return value if value is not None and isfinite(value) else None
