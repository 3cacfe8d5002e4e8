"""``thermograd run``: an unmodified training command, instrumented.

The command runs as a child with our ``sitecustomize`` first on ``PYTHONPATH``, so every Python it starts,
at whatever depth (torchrun, accelerate launch, a shell script), records its training. Each such process
leaves a line in a directory of ours, which is how a command that could not be instrumented is told.
"""

import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.ingest.job.launcher_link import VARIABLE
from thermograd.ingest.launch.card import tell_cards
from thermograd.ingest.launch.command_end import record_end, runs_told
from thermograd.store.errors import ConfigError
from thermograd.store.labels.file import config_file
from thermograd.store.runs.catalogue import new_run_id

_BOOTSTRAP = Path(__file__).parent / "bootstrap"
_HELLO_S = 10.0
_FROM_KERNEL = 0x80  # si_code of a signal that the terminal sends: the child has got it too
_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
_FORWARDED = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


class Beside:
    """What goes with a command: facts and environment of its runs, and what is done beside it. Here nothing.

    `begun` is called as the command has been started, with the directory of `runs_told`; `ended` with the
    runs and the exit code.
    """

    facts: Mapping[str, Any] = {}
    environment: Mapping[str, str] = {}

    def begun(self, hello: Path) -> None:
        """Take that the command runs."""

    def ended(self, runs: Sequence[Path], exit_code: int) -> None:
        """Take that it has ended, and that its runs are sealed."""


def launch(
    runs: Path,
    name: str | None,
    hz: float,
    command: Sequence[str],
    say: Callable[[str], None],
    settings: Mapping[str, str] | None = None,
    card: bool = False,
    beside: Beside | None = None,
) -> int:
    """Run a command, recorded; return its exit code as shells have it, once it has ended.

    That is 128 + n if signal n ended it, 127 if it was not found and 126 if it could not be started. The
    default `name` is the command's script. `say` takes what there is to tell, a sentence at a time: where
    the run is, or why there is none. `settings` of the agent, as variables of the environment, come first.
    With `card` the card of each run follows, on stderr. `beside` is told as the command begins and ends.
    """
    with tempfile.TemporaryDirectory(prefix="thermograd-") as hello:
        hello = os.path.abspath(hello)  # with TMPDIR=. it is not
        beside = beside or Beside()
        environment = _environment(runs, name, command, hz, hello, settings, beside.facts)
        environment |= {**(settings or {}), **beside.environment}
        early = threading.Timer(_HELLO_S, _tell_silence, (Path(hello), command, say))
        early.daemon = True  # a command that does not answer is told now, not after hours of training

        def started() -> None:
            early.start()
            beside.begun(Path(hello))

        try:
            code = _run(command, environment, started)
        except FileNotFoundError:
            return tell_not_found(command, say)
        except OSError as error:
            say(f"{command[0]!r} could not be started: {error.strerror or error}")
            return _NOT_EXECUTABLE
        finally:
            early.cancel()
        with suppress(KeyboardInterrupt):  # meant for the command, which has ended
            record_end(Path(hello), code)
        say(_verdict(Path(hello), command))
        beside.ended(runs_told(Path(hello)), code)
        if card:
            tell_cards(runs_told(Path(hello)), code)
    return code


def is_there(command: Sequence[str]) -> bool:
    """Return whether there is such a program, on the PATH or as a file."""
    return shutil.which(command[0]) is not None or os.path.exists(command[0])


def tell_not_found(command: Sequence[str], say: Callable[[str], None]) -> int:
    """Say that there is no such program; return the exit code for it."""
    say(f"{command[0]!r} was not found: give a program on the PATH, or a path to one")
    return _NOT_FOUND


def name_of(command: Sequence[str]) -> str:
    """Return the script's name, or the module's after ``-m``, or the program's."""
    for word, following in zip(command, [*command[1:], ""], strict=True):
        if word.endswith(".py"):
            return Path(word).stem
        if word == "-m" and _is_python(command) and following:
            return following
    return Path(command[0]).stem or "run"


def _environment(
    runs: Path,
    given: str | None,
    command: Sequence[str],
    hz: float,
    hello: str,
    settings: Mapping[str, str] | None,
    facts: Mapping[str, Any],
) -> dict[str, str]:
    """Return the child's environment; it may change directory, so that every path in it is absolute."""
    name = given or name_of(command)
    path = [os.path.abspath(_BOOTSTRAP), *filter(None, [os.environ.get("PYTHONPATH")])]
    config = None
    with suppress(ConfigError):  # the agent tells it
        config = config_file({**os.environ, **(settings or {})})
    return {
        **os.environ,
        **({"THERMOGRAD_CONFIG": os.path.abspath(config)} if config else {}),
        "PYTHONPATH": os.pathsep.join(path),
        "THERMOGRAD_RUNS": _absolute(runs),
        "THERMOGRAD_RUN_ID": new_run_id(name),
        VARIABLE: json.dumps(
            {"name": name, "is_given": bool(given), "hz": hz, "hello": hello, "facts": dict(facts)}
        ),
    }


def _absolute(runs: Path) -> str:
    """Return the folder of runs for a process that may stand elsewhere; a URL without credentials."""
    if ":/" in str(runs):
        from thermograd.store.places.place import is_url
        from thermograd.store.shipping.spool import canonical

        if is_url(runs):
            return canonical(str(runs))
    return str(Path(runs).absolute())


# -- the child ---------------------------------------------------------------------------------------


def _run(command: Sequence[str], environment: dict[str, str], on_start: Callable[[], None]) -> int:
    """Start the command, hand signals on to it, and return its exit code as a shell would."""
    forwarded = {getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)}
    if not hasattr(signal, "sigtimedwait"):
        return _run_simply(command, environment, on_start)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, forwarded | {signal.SIGCHLD})
    try:
        # the child must not inherit the blocked signals; nothing but this thread runs yet
        child = subprocess.Popen(
            command, env=environment, preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before)
        )
        on_start()
        while child.poll() is None:
            received = signal.sigtimedwait(forwarded | {signal.SIGCHLD}, 0.5)
            if received is None or received.si_code == _FROM_KERNEL:
                continue
            if received.si_signo in forwarded:
                child.send_signal(received.si_signo)
    finally:
        while signal.sigtimedwait(forwarded, 0) is not None:  # what came too late is for nobody
            pass
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _run_simply(command: Sequence[str], environment: dict[str, str], on_start: Callable[[], None]) -> int:
    """Do so where one cannot ask who sent a signal: Ctrl-C reaches the child through the terminal."""
    child = subprocess.Popen(command, env=environment)
    signal.signal(signal.SIGTERM, lambda number, frame: child.send_signal(number))
    on_start()
    while True:
        with suppress(KeyboardInterrupt):
            code = child.wait()
            return code if code >= 0 else 128 - code


# -- whether it was instrumented ---------------------------------------------------------------------


def _tell_silence(hello: Path, command: Sequence[str], say: Callable[[str], None]) -> None:
    if _is_python(command) and not any(hello.iterdir()):
        say(_verdict(hello, command))


def _is_python(command: Sequence[str]) -> bool:
    return Path(command[0]).name.lower().startswith(("python", "pypy"))


def _verdict(hello: Path, command: Sequence[str]) -> str:
    """Return what became of the instrumentation, as a sentence."""
    lines = [line for path in sorted(hello.iterdir()) for line in path.read_text("utf-8").splitlines()]
    runs = sorted({line.removeprefix("run ") for line in lines if line.startswith("run ")})
    failed = [line.removeprefix("failed ") for line in lines if line.startswith("failed ")]
    if runs:
        return f"recorded as {', '.join(runs)}"
    if os.environ.get("THERMOGRAD_DISABLED", "0") not in ("", "0"):
        return "not instrumented: THERMOGRAD_DISABLED is set"
    if failed:
        return f"not instrumented: {failed[0]}; install thermograd for that Python"
    if "unwritten" in lines:
        return "nothing recorded: a run was started, but its directory could not be written (see above)"
    if "torch" in lines:
        return "nothing recorded: torch was imported, but there was no backward pass and no optimizer step"
    if lines:
        return "nothing recorded: no torch was seen in the Python processes of the command"
    return f"not instrumented: {_why_silent(command)}"


def _why_silent(command: Sequence[str]) -> str:
    if not _is_python(command):
        return f"{command[0]!r} started no Python that could be reached"
    flags = []
    for word in command[1:]:
        if not word.startswith("-") or word.startswith("--") or word in ("-c", "-m", "-"):
            break
        flags += [f"-{letter}" for letter in "EIS" if letter in word[1:]]
    if flags:
        return f"Python with {' and '.join(flags)} ignores what would load the instrument; leave it out"
    if shutil.which(command[0]) is None:
        return f"{command[0]!r} is gone"
    return "this Python has not loaded the instrument; has it another PYTHONPATH, or -E, -I or -S?"
