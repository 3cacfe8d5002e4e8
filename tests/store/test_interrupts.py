"""What comes from outside passes every guard of ours; what fails inside does not."""

import logging
import signal
import sys
from functools import partial

import pytest
from thermograd.store.failures import Guard, guarded, is_the_users, warn


class Late(Exception):
    pass


def alarm(number, frame):
    raise Late


def alarm_of_many(*given):
    raise TimeoutError


def alarm_that_forgets(number, frame):
    del frame
    raise Late


class Watch:
    def __call__(self, number, frame):
        del number, frame
        raise Late

    def ring(self, number, frame):
        self.later()

    def later(self):
        raise Late


pytestmark = pytest.mark.usefixtures("no_gc_callbacks")
needs_alarm = pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs interval timers")


@needs_alarm
@pytest.mark.parametrize(
    "handler", [alarm, alarm_of_many, alarm_that_forgets, Watch(), Watch().ring, partial(alarm)]
)
def test_what_a_signal_handler_raises_passes_a_guard(handler):
    guard = Guard("failed (%(error)s)")

    @guard
    def work():
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        while True:
            pass

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises((Late, TimeoutError)):
            work()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert guard.failures == 0


def test_what_a_tracer_raises_passes_too():
    def tracer(frame, event, argument):
        raise Late

    guard = Guard("failed")

    @guard
    def work():
        sys.settrace(tracer)
        (lambda: None)()

    before = sys.gettrace()
    try:
        with pytest.raises(Late):
            work()
    finally:
        sys.settrace(before)
    assert guard.failures == 0


def fails():
    raise TimeoutError


@pytest.mark.parametrize("error", [ValueError(), RecursionError(), MemoryError()])
def test_a_failure_of_the_work_is_not_the_users(error):
    assert not is_the_users(error)
    with pytest.raises(TimeoutError) as caught:
        fails()
    assert not is_the_users(caught.value)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), GeneratorExit()])
def test_an_exit_is_the_users(error):
    assert is_the_users(error)


class Loud(logging.Handler):
    """Answers a warning with another."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.heard = answer, []

    def emit(self, record):
        self.heard.append(record.getMessage())
        self.answer()


@pytest.fixture
def listen():
    handlers = []

    def add(answer):
        handlers.append(Loud(answer))
        logging.getLogger("thermograd").addHandler(handlers[-1])
        return handlers[-1]

    yield add
    for handler in handlers:
        logging.getLogger("thermograd").removeHandler(handler)


def test_a_handler_that_makes_us_warn_hears_the_first_warning_alone(listen):
    handler = listen(lambda: warn("and %d more", 1))
    warn("the first")
    warn("the second")
    assert handler.heard == ["the first", "the second"]


def test_a_handler_that_raises_is_not_heard_of(listen):
    handler = listen(lambda: 1 / 0)
    warn("it")
    assert handler.heard == ["it"]


def test_ctrl_c_in_a_handler_passes(listen):
    def interrupt():
        raise KeyboardInterrupt

    listen(interrupt)
    with pytest.raises(KeyboardInterrupt):
        warn("it")


def test_a_place_that_works_again_is_said_once_with_its_failures():
    told = []
    guard = Guard("%(place)s fails", told.append, again="%(place)s works again after %(count)d failures")
    for works in (True, False, False, True, True, False, True):
        guard.works("disk") if works else guard.count("x", "disk")
    assert told == ["disk fails", "disk works again after 2 failures"]
    assert guard.counts == {"disk": 3}


def test_a_guard_of_a_thread_keeps_an_exit_too():
    guard = Guard("failed (%(error)r)", keeps=BaseException)
    with guard:
        raise SystemExit(3)
    assert guard.failures == 1


def test_a_full_stack_is_kept():
    class Deep:
        guard = Guard("failed")

        @guarded
        def fall(self):
            self.fall()
            raise ValueError

    Deep().fall()
