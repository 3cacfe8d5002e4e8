"""Joins steps with the nearest hardware sample, as soon as no later event could change the answer."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Mapping
from math import inf
from operator import itemgetter
from typing import Any

from thermograd.stream.join.lateness import EVERY_DEVICE, LateEvents

Joined = tuple[Mapping[str, Any], str, Mapping[str, Any] | None]
_Key = tuple[int, int, str]  # time_ns, seq, writer
_Entry = tuple[_Key, Mapping[str, Any]]
Row = tuple[_Key, str, Mapping[str, Any], Mapping[str, Any] | None]  # a step's key, device, step, sample
_NONE: frozenset[str] = frozenset()
_BEFORE_NS, _NEVER_NS = -(2**63), 2**63 - 1


class EventTimeJoin:
    """Finds for each step and device the nearest sample in event time, under a watermark.

    The rule is that of the alignment after the run: per device the sample with the smallest
    ``|dt| <= tolerance`` (inclusive); tie: the earlier time; same time twice: the one logged last
    (highest ``seq``). The answers are the same, in every row, as long as no event is late.

    **Watermark.** For each device: the newest event time among *its own samples* and *all steps*,
    minus the lateness. An event at or before it is late: counted in `late`, kept in the log, not
    joined. A step is released for a device once that device's watermark has reached the next sample
    at or after the step, or step + tolerance. So a device that falls silent delays nothing but its
    own rows, and those only until the steps (or `advance`, for a heartbeat) have moved on by
    tolerance + lateness; a device whose clock runs ahead makes nothing late but its own events.

    Answers are exact if the lateness exceeds the longest delay from an event's time to its arrival
    here. `late` belongs beside every figure that rests on this join; the remedy is the same join
    over the whole log.

    **Delivery.** The rows depend on which events were taken in, not on the order in which they came.
    What was too late is remembered in `left_out`, for the log; a replay is given what the log says and
    then leaves out exactly those events, see `thermograd.stream.join.lateness.LateEvents`.

    A device that is not in `devices` is known from its first sample; steps released before that give
    no rows for it (after the run they are its unmatched rows).

    Parameters
    ----------
    tolerance_s, lateness_s
        Largest accepted distance; how much older than the newest an event may be when it arrives; s.
    devices
        Devices known beforehand.
    max_pending_steps
        Steps that may wait for a device; beyond, the oldest is answered as things stand (and counted
        in `forced`), for memory stays bounded even where time stands still.
    left_out
        Remembers what was too late, or knows it in a replay.

    Attributes
    ----------
    refused
        Devices for which the latest event was too late; `EVERY_DEVICE` among them means all.
    joined, unmatched, late, forced
        Rows returned with a sample, and without; events that came too late to be joined; rows answered
        early because too many waited.

    Examples
    --------
    >>> join = EventTimeJoin(tolerance_s=1.0, lateness_s=2.0)
    >>> join.sample({"time_ns": 0, "seq": 0, "device": "cpu", "temperature_c": 50.0})
    []
    >>> join.step({"time_ns": 400_000_000, "seq": 0, "step": 1})
    []
    >>> rows = join.step({"time_ns": 3_400_000_000, "seq": 1, "step": 2})
    >>> [(step["step"], device, sample["temperature_c"]) for step, device, sample in rows]
    [(1, 'cpu', 50.0)]
    >>> [(step["step"], device, sample) for step, device, sample in join.close()]
    [(2, 'cpu', None)]
    """

    def __init__(
        self,
        tolerance_s: float = 1.0,
        lateness_s: float = 2.0,
        devices: Iterable[str] = (),
        max_pending_steps: int = 65_536,
        left_out: LateEvents | None = None,
    ) -> None:
        if not (tolerance_s >= 0 and lateness_s >= 0 and max_pending_steps >= 1):
            raise ValueError(
                f"tolerance_s={tolerance_s!r}, lateness_s={lateness_s!r}, "
                f"max_pending_steps={max_pending_steps!r}; expected >= 0, >= 0, >= 1"
            )
        self.tolerance_ns = round(tolerance_s * 1e9)
        self.lateness_ns = round(lateness_s * 1e9)
        self.max_pending_steps = max_pending_steps
        self.left_out = left_out or LateEvents()
        self.refused = _NONE
        self.joined = self.unmatched = self.late = self.forced = 0
        self._watermark_ns = self._latest_ns = (
            _BEFORE_NS  # of all steps and heartbeats; the latest of a device
        )
        self._arrived: list[_Entry] = []  # steps that no device has been told of
        self._most_waiting = 0
        self._found: list[Row] = []
        self._recent: list[_Entry] = []  # what a new device can still match
        self._sides: dict[str, _DeviceBuffer] = {}
        for device in devices:
            self._side(device)

    def step(self, values: Mapping[str, Any], writer: str = "") -> list[Joined]:
        """Take in a step; return the rows that are now certain, in (time_ns, seq) order."""
        self.take_step(key_of(values, writer), values)
        return self.rows()

    def sample(self, values: Mapping[str, Any], writer: str = "") -> list[Joined]:
        """Take in a sample of a device; return the rows that are now certain."""
        self.take_sample(key_of(values, writer), values)
        return self.rows()

    def advance(self, time_ns: int) -> list[Joined]:
        """Take in the bare fact that event time has reached `time_ns`: a heartbeat."""
        self.take_time(time_ns)
        return self.rows()

    def close(self) -> list[Joined]:
        """Answer for every step that still waits."""
        self.end()
        return self.rows()

    def end(self) -> None:
        """Make every step that still waits certain, as `close` does: it is in the next `rows`."""
        self._distribute()
        for side in self._sides.values():
            side.closed = True
        self._answer()
        self._recent = []

    def take_step(self, key: _Key, values: Mapping[str, Any]) -> None:
        """Take in a step; what that makes certain is in the next `rows`, whenever they are asked for."""
        entry = (key, values)
        if key[0] > self._latest_ns and not self.left_out.leaves_out:
            self.refused = _NONE
            self._arrived.append(entry)
        else:
            self._take_doubtful(entry)
        self.take_time(key[0])

    def take_sample(self, key: _Key, values: Mapping[str, Any]) -> int | None:
        """Take in a sample, as `take_step` does a step; return its device's watermark, None if too late."""
        side = self._sides.get(values["device"]) or self._side(values["device"])
        time_ns = key[0]
        late = time_ns <= self._watermark_ns or time_ns <= side.own_ns
        if late or (self.left_out.recorded and self.left_out.leaves_out):
            if self._leaves_out(side.device, "sample", key, late):
                self.refused = frozenset((side.device,))
                self.late += 1
                return None
            if late:
                self._answer()
        self.refused = _NONE
        side.keep(key, values)
        watermark_ns = time_ns - self.lateness_ns
        if watermark_ns > side.own_ns:
            side.own_ns = watermark_ns
            if watermark_ns > self._latest_ns:
                self._latest_ns = watermark_ns
        if late or len(side.samples) > side.roomy:
            self._answer()
        return side.own_ns if side.own_ns > self._watermark_ns else self._watermark_ns

    def take_time(self, time_ns: int) -> None:
        """Take in a heartbeat, as `take_step` does a step."""
        watermark_ns = time_ns - self.lateness_ns
        if watermark_ns > self._watermark_ns:
            self._watermark_ns = watermark_ns
            if watermark_ns > self._latest_ns:
                self._latest_ns = watermark_ns
        if len(self._arrived) + self._most_waiting > self.max_pending_steps:
            self._answer()

    @property
    def waiting(self) -> int:
        """How many steps or rows nobody has looked at, more or less."""
        return len(self._arrived) + len(self._found)

    def found(self) -> list[Row]:
        """Return what `rows` returns, in order for each device alone, with the steps' keys."""
        self._answer()
        found, self._found = self._found, []
        return found

    def rows(self) -> list[Joined]:
        """Return the rows that have become certain since the last call, in (time_ns, seq) order."""
        found = self.found()
        if len(self._sides) > 1:
            found.sort(key=itemgetter(0, 1))
        return [(step, device, sample) for _, device, step, sample in found]

    def watermark_ns(self, device: str | None = None) -> int | None:
        """Return the event time up to which nothing more is taken in for a device, or for none of them."""
        watermark_ns, side = self._watermark_ns, None if device is None else self._sides.get(device)
        if side is not None and side.own_ns > watermark_ns:
            watermark_ns = side.own_ns
        return None if watermark_ns == _BEFORE_NS else watermark_ns

    def _take_doubtful(self, entry: _Entry) -> None:
        """Take in a step that is too late for some device, or was when it was recorded."""
        key = entry[0]
        time_ns, refused = key[0], []
        if self._leaves_out(EVERY_DEVICE, "step", key, time_ns <= self._watermark_ns):
            refused.append(EVERY_DEVICE)
        else:
            self._answer()
            insort(self._recent, entry, key=itemgetter(0))
            for side in self._sides.values():
                late = time_ns <= max(side.own_ns, self._watermark_ns)
                if self._leaves_out(side.device, "step", key, late):
                    refused.append(side.device)
                else:
                    side.wait([entry])
            self.take_time(time_ns)
            self._answer()
        self.refused = frozenset(refused) if refused else _NONE
        self.late += bool(refused)

    def _leaves_out(self, device: str, kind: str, key: _Key, late: bool) -> bool:
        _, seq, writer = key
        return (late or self.left_out.leaves_out) and self.left_out.decide(device, writer, kind, seq, late)

    def _side(self, device: str) -> "_DeviceBuffer":
        side = self._sides.get(device)
        if side is None:
            self._distribute()
            side = self._sides[device] = _DeviceBuffer(device, self.tolerance_ns)
            side.wait(self._recent)
        return side

    def _distribute(self) -> None:
        """Let every device wait for the steps that have arrived; remember those that a new one can match."""
        arrived, self._arrived = self._arrived, []
        arrived.sort(key=itemgetter(0))
        for side in self._sides.values() if arrived else ():
            side.wait(arrived)
        recent = self._recent
        _extend(recent, arrived)
        old_ns = self._watermark_ns - self.tolerance_ns
        past = bisect_right(recent, old_ns, key=_time_ns) if recent and recent[0][0][0] <= old_ns else 0
        del recent[: max(past, len(recent) - self.max_pending_steps)]

    def _answer(self) -> None:
        """Find the rows that are certain by now."""
        self._distribute()
        found: list[Row] = []
        self._most_waiting = 0
        for side in self._sides.values():
            watermark_ns = max(side.own_ns, self._watermark_ns)
            if side.closed or watermark_ns >= side.due_ns:
                found += side.release(watermark_ns)
            while len(side.steps) > self.max_pending_steps:
                found.append(side.answer_oldest())
                self.forced += 1
            self._most_waiting = max(self._most_waiting, len(side.steps))
            if len(side.samples) > side.roomy:
                side.forget(watermark_ns)
        unmatched = sum([row[3] is None for row in found])
        self.joined += len(found) - unmatched
        self.unmatched += unmatched
        self._found += found


class _DeviceBuffer:
    """What one device still needs: steps that wait, samples they may match.

    `own_ns` is the watermark of its own samples. Once the device's watermark has reached `due_ns`, the oldest
    waiting step is certain.
    """

    def __init__(self, device: str, tolerance_ns: int) -> None:
        self.device = device
        self.own_ns = _BEFORE_NS
        self.due_ns = _NEVER_NS
        self.closed = False
        self.roomy = 16
        self.steps: list[_Entry] = []
        self.samples: list[_Entry] = []
        self._times: list[int] = []  # of the samples: searched often
        self._tolerance_ns = tolerance_ns

    def wait(self, entries: list[_Entry]) -> None:
        """Take in steps, in order."""
        _extend(self.steps, entries)
        if self.steps:
            self.due_ns = self._due_ns(self.steps[0])

    def keep(self, key: _Key, values: Mapping[str, Any]) -> None:
        """Keep a sample; of several at one time only the one logged last can ever match."""
        samples, times, time_ns = self.samples, self._times, key[0]
        if not times or times[-1] < time_ns:
            samples.append((key, values))
            times.append(time_ns)
        else:
            at = bisect_left(times, time_ns)
            if times[at] == time_ns:
                if key > samples[at][0]:
                    samples[at] = (key, values)
                return
            samples.insert(at, (key, values))
            times.insert(at, time_ns)
        if time_ns < self.due_ns and self.steps and self.steps[0][0][0] <= time_ns:
            self.due_ns = time_ns

    def release(self, watermark_ns: int) -> list[Row]:
        """Return the rows of the steps that are certain by now."""
        found: list[Row] = []
        device, times, samples, tolerance_ns = self.device, self._times, self.samples, self._tolerance_ns
        at, known = bisect_left(times, self.steps[0][0][0]) if self.steps else 0, len(times)
        until_ns = inf if self.closed else watermark_ns
        self.due_ns = _NEVER_NS
        for key, values in self.steps:
            time_ns = key[0]
            while at < known and times[at] < time_ns:
                at += 1
            ahead_ns = times[at] - time_ns if at < known else _NEVER_NS
            if until_ns < time_ns + tolerance_ns and until_ns < time_ns + ahead_ns:
                self.due_ns = time_ns + min(ahead_ns, tolerance_ns)
                break
            # as `_row` has it, without a call
            behind_ns = time_ns - times[at - 1] if at else _NEVER_NS
            best = None
            if behind_ns <= ahead_ns:
                if behind_ns <= tolerance_ns:
                    best = samples[at - 1][1]
            elif ahead_ns <= tolerance_ns:
                best = samples[at][1]
            found.append((key, device, values, best))
        del self.steps[: len(found)]
        return found

    def answer_oldest(self) -> Row:
        """Return the row of the oldest waiting step as things stand."""
        entry = self.steps.pop(0)
        self.due_ns = self._due_ns(self.steps[0])
        return self._row(entry, bisect_left(self._times, entry[0][0]))

    def _due_ns(self, entry: _Entry) -> int:
        ahead_ns, at = entry[0][0] + self._tolerance_ns, bisect_left(self._times, entry[0][0])
        return min(ahead_ns, self._times[at]) if at < len(self._times) else ahead_ns

    def _row(self, entry: _Entry, at: int) -> Row:
        """Return a step with its nearest sample within the tolerance; the first not before it is at `at`."""
        key, values = entry
        time_ns, times = key[0], self._times
        best_ns, best = self._tolerance_ns + 1, None
        if at and time_ns - times[at - 1] < best_ns:  # the earlier one first: it wins a tie
            best_ns, best = time_ns - times[at - 1], self.samples[at - 1][1]
        if at < len(times) and times[at] - time_ns < best_ns:
            best = self.samples[at][1]
        return key, self.device, values, best

    def forget(self, watermark_ns: int) -> None:
        """Drop the samples that neither a waiting nor a coming step can match."""
        first_ns = watermark_ns + 1
        if self.steps:
            first_ns = min(first_ns, self.steps[0][0][0])
        past = bisect_left(self._times, first_ns - self._tolerance_ns)
        del self.samples[:past], self._times[:past]
        self.roomy = 2 * len(self.samples) + 16  # to look again only then keeps the cost per sample small


def _extend(entries: list[_Entry], others: list[_Entry]) -> None:
    """Add what is in order to what is in order."""
    ordered = not entries or not others or entries[-1][0] <= others[0][0]
    entries += others
    if not ordered:
        entries.sort(key=itemgetter(0))


def key_of(values: Mapping[str, Any], writer: str) -> _Key:
    """Return what the events of all writers are sorted by."""
    return int(values["time_ns"]), int(values.get("seq") or 0), writer


def _time_ns(entry: _Entry) -> int:
    return entry[0][0]
