"""Acting at one bytecode of the log's own code: everywhere where the interpreter could let a signal in."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import thermograd.store.log

LOG_CODE = str(Path(thermograd.store.log.__file__).parent)


@contextmanager
def at_bytecode(at: int, act: Callable[[], object]) -> Iterator[Callable[[], bool]]:
    """Call `act`, which may raise, at the bytecode with this number; yield whether it has not come yet."""
    left = at

    def trace(frame, event, _):
        nonlocal left
        if not frame.f_code.co_filename.startswith(LOG_CODE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        if event == "opcode":
            left -= 1
            if left == 0:
                sys.settrace(None)
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield lambda: left > 0
    finally:
        sys.settrace(before)


def raising(error: BaseException | type[BaseException]) -> Callable[[], object]:
    """Return what raises an error when it is called."""

    def act() -> None:
        raise error

    return act
