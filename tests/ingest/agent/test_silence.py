"""Devices that fall silent, on a clock of our own: nothing here waits."""

import json

import pytest
from thermograd.ingest.agent.silence import DeviceSilence, SilenceLimits
from thermograd.store.telling.episodes import ENDED_MARK

SECOND = 10**9
EPOCH = 1_795_000_000 * SECOND
PERIOD = SECOND // 5


class Node:
    """A sampler's readers, its clock, and what it says of silence; looks come every 20 ms."""

    def __init__(self, readers=None, period_ns=PERIOD):
        self.readers = readers or {"nvml": ["gpu0", "gpu1"], "host": ["cpu"]}
        self.silence = DeviceSilence(period_ns)
        self.period_ns, self.now_ns, self.marks = period_ns, 0, []
        self.hangs = self.absent = frozenset()
        self.reading = {}
        self._hung = set()

    def look(self):
        for mark in self.silence.look(self.now_ns, self.reading):
            self.marks.append((self.now_ns, mark))

    def tick(self, error=None):
        """Read every reader that does not hang, then look until the next tick."""
        self._hung &= self.hangs
        for reader, devices in self.readers.items():
            if reader in self._hung and reader in self.hangs:
                continue
            self.silence.begins(reader, self.now_ns)
            self._hung |= {reader} & self.hangs
            if reader not in self.hangs:
                samples = [
                    {"device": name, "temperature_c": 66.0, "power_w": 300.0}
                    for name in devices
                    if name not in self.absent
                ]
                given = () if error else samples
                self.silence.ends(reader, self.now_ns + PERIOD // 50, given, error, EPOCH + self.now_ns)
        end_ns = self.now_ns + self.period_ns
        while self.now_ns + SECOND // 50 < end_ns:
            self.now_ns += SECOND // 50
            self.look()
        self.now_ns = end_ns

    def ticks(self, count, **given):
        for _ in range(count):
            self.tick(**given)

    def told(self):
        return [(at, json.loads(mark["detail"])) for at, mark in self.marks if mark["mark"] == "gap"]

    def ended(self):
        return [json.loads(mark["detail"]) for _, mark in self.marks if mark["mark"] == ENDED_MARK]


def test_a_driver_that_does_not_answer_is_one_alert_within_three_periods_and_ends_when_it_is_back():
    node = Node()
    node.ticks(20)
    begun_ns, node.hangs, node.reading = node.now_ns, frozenset({"nvml"}), {"nvml": "gpu1"}
    node.ticks(15)
    ((at_ns, told),) = node.told()
    assert at_ns - begun_ns <= 2 * PERIOD, "it was read a period before"
    assert (told["alert"], told["severity"]) == ("silent.device", "warning")
    assert (told["devices"], told["device"]) == (["gpu0", "gpu1"], "gpu1"), "one driver, one alert"
    assert (told["metric"], told["value"]) == ("temperature_c", 66.0)
    assert told["onset_time_ns"] == EPOCH + begun_ns - PERIOD
    text = node.marks[0][1]["text"]
    assert "the driver of GPU 1 does not answer" in text
    assert "the last, at 11:06:43: 66 degC, 300 W" in text
    node.hangs, back_ns = frozenset(), node.now_ns
    node.ticks(20)
    assert node.ended() == [], "it has to be back for a while"
    node.ticks(10)
    (ended,) = node.ended()
    assert ended["onset_time_ns"] == told["onset_time_ns"]
    assert ended["end_time_ns"] == EPOCH + back_ns
    assert len(node.told()) == 1


def test_a_device_that_is_not_among_the_readings_is_silent_at_the_second_and_the_others_are_not():
    node = Node()
    node.ticks(10)
    before_ns, node.absent = node.now_ns - PERIOD, frozenset({"gpu0"})
    node.ticks(10)
    ((at_ns, told),) = node.told()
    assert told["devices"] == ["gpu0"]
    assert 2 * PERIOD < at_ns - before_ns <= 3 * PERIOD
    assert "the driver gives none" in node.marks[0][1]["text"]


def test_a_reader_that_fails_says_with_which_error():
    node = Node({"nvml": ["gpu0"]})
    node.ticks(10)
    node.ticks(4, error=OSError("no answer"))
    assert "(OSError: no answer)" in node.marks[0][1]["text"]


def test_a_reading_of_ten_periods_is_told_and_what_is_always_slow_is_usual():
    node = Node()
    node.ticks(40)
    for _ in range(2):
        node.hangs = frozenset({"nvml"})
        node.ticks(10)
        node.hangs = frozenset()
        node.ticks(40)
    assert [told["devices"] for _, told in node.told()] == [["gpu0", "gpu1"]] * 2
    slow = Node({"nvml": ["gpu0"]}, period_ns=PERIOD)
    for _ in range(100):  # each reading takes two seconds
        slow.silence.begins("nvml", slow.now_ns)
        for _ in range(100):
            slow.now_ns += SECOND // 50
            slow.look()
        slow.silence.ends("nvml", slow.now_ns, [{"device": "gpu0"}], None, slow.now_ns)
    assert slow.told() == []


@pytest.mark.parametrize(
    ("detail", "why"), [({"error": "GPU is lost"}, "GPU is lost"), ({"xid": 79}, "XID 79")]
)
def test_a_lost_gpu_is_told_at_once_and_once(detail, why):
    node = Node()
    node.ticks(10)
    mark = {"mark": "error", "text": "x", "detail": json.dumps({"device": "gpu0"} | detail)}
    (told,) = node.silence.lost(mark, node.now_ns)
    detail = json.loads(told["detail"])
    assert (detail["severity"], detail["device"], detail["value"]) == ("critical", "gpu0", 66.0)
    assert why in told["text"]
    assert node.silence.lost(mark, node.now_ns) == []
    node.absent = frozenset({"gpu0"})
    node.ticks(100)
    assert node.told() == node.ended() == []
    assert node.silence.close(node.now_ns) == []


def test_of_other_errors_and_of_devices_that_never_had_a_reading_nothing_is_told():
    node = Node()
    node.absent = frozenset({"gpu1"})
    node.ticks(50)
    details = ('{"xid": 13, "device": "gpu0"}', "[", '{"device": "gpu1", "error": "lost"}')
    for mark in ({"mark": "gap"}, *({"mark": "error", "detail": detail} for detail in details)):
        assert node.silence.lost(mark, node.now_ns) == []
    assert node.marks == []


def test_time_in_which_the_agent_did_not_run_is_nobodys_silence():
    node = Node()
    node.ticks(10)
    node.silence.begins("nvml", node.now_ns)
    node.now_ns += 3600 * SECOND  # stopped within a reading
    node.silence.slept(3600 * SECOND, node.now_ns)
    node.look()
    assert node.marks == []
    node.now_ns += 8 * SECOND  # and again; how much of it, the watch's own wait does not tell
    node.silence.slept(7 * SECOND, node.now_ns)
    node.look()
    assert node.marks == []
    node.ticks(10)
    assert node.marks == []


def test_what_comes_and_goes_is_one_episode_which_ends_at_the_end_where_it_is_back():
    node = Node()
    node.ticks(10)
    for _ in range(5):
        node.absent = frozenset({"gpu0"})
        node.ticks(5)
        node.absent = frozenset()
        node.ticks(5)
    assert (len(node.told()), node.ended()) == (1, [])
    (mark,) = node.silence.close(node.now_ns)
    assert json.loads(mark["detail"])["onset_time_ns"] == node.told()[0][1]["onset_time_ns"]


def test_the_next_look_is_not_later_than_it_could_find_something():
    node = Node()
    node.ticks(10)
    assert PERIOD // 4 <= node.silence.due_ns(node.now_ns) - node.now_ns <= 2 * PERIOD


def test_limits_may_be_set_while_it_runs_and_are_in_the_definition():
    node = Node()
    limits = node.silence.limits = SilenceLimits()
    node.ticks(10)
    limits.periods = 20.0
    node.absent = frozenset({"gpu0"})
    node.ticks(15)
    assert node.told() == []
    node.ticks(10)
    assert node.told()[0][1]["definition"] == "silent.device/1(periods=20.0,quiet_s=5.0)"
