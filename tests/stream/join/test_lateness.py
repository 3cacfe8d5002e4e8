import json

from thermograd.stream.join.lateness import EVERY_DEVICE, LATE_MARK, LateEvents, last_seen


def test_nothing_left_out_makes_no_mark():
    live = LateEvents()
    assert not live.decide("gpu", "agent", "sample", 1, too_late=False)
    assert live.mark() is None


def test_a_mark_tells_ranges_and_each_event_once():
    live = LateEvents()
    for seq in (3, 4, 5, 9):
        live.decide(EVERY_DEVICE, "r0", "step", seq, too_late=True)
    mark = live.mark()
    assert (mark["mark"], mark["text"]) == ("note", LATE_MARK)
    assert json.loads(mark["detail"]) == {
        "left_out": [{"from": "*", "writer": "r0", "kind": "step", "seq": [[3, 5], [9, 9]]}]
    }
    assert live.mark() is None
    live.decide("gpu", "agent", "sample", 7, too_late=True)
    again = LateEvents.from_marks([mark, live.mark()])
    assert [again.decide("*", "r0", "step", seq, False) for seq in (2, 3, 5, 6, 9, 10)] == [
        False, True, True, False, True, False,
    ]  # fmt: skip
    assert again.decide("gpu", "agent", "sample", 7, False)
    assert not again.decide("gpu", "agent", "sample", 8, True)  # the record decides, not the time
    assert again.mark() is None


def test_the_last_mark_says_how_far_was_read():
    live = LateEvents()
    mark = live.mark({("r0", "step"): 99, ("agent", "sample"): 7})
    assert last_seen([{"text": "a note", "detail": "{}"}, mark]) == {
        ("r0", "step"): 99,
        ("agent", "sample"): 7,
    }
    assert last_seen([]) is None


def test_notes_of_others_are_passed_over():
    notes = [{"text": LATE_MARK, "detail": text} for text in (None, "", "{", "[1]", "{}", '{"other": 1}')]
    assert last_seen(notes) is None
    assert not LateEvents.from_marks(notes).decide("*", "r0", "step", 0, False)
