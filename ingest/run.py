"""Recording a run from inside the training process: `start_run` for plain loops."""

import atexit
import logging
import os
import weakref
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from thermograd.ingest.agent.supervisor import AgentProcess
from thermograd.ingest.job import launcher_link
from thermograd.ingest.job.facts import run_facts
from thermograd.ingest.job.on_alert import AlertTasks
from thermograd.ingest.job.rank import Place, agree_on_run_id, place_of_this_process
from thermograd.ingest.job.recorder import Recorder
from thermograd.ingest.simulate.gpu import PRESETS
from thermograd.store.failures import Guard
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.catalogue import create_run, default_runs_dir

if TYPE_CHECKING:
    from thermograd.ingest.capture.layer_norms import LayerNorms
    from thermograd.ingest.capture.tap import StepTap


_log = logging.getLogger("thermograd")
_open_runs: "weakref.WeakSet[Run]" = weakref.WeakSet()
_shared: "Run | None" = None  # the run of `thermograd run`, whoever started it

LayerMode = bool | Literal["after_spike"]


class Run:
    """A run that this process records. Nothing of it raises into the training loop.

    Made by `start_run`; ends with `close` or the ``with`` block. In a forked child it records nothing.

    Attributes
    ----------
    path, run_id
        Where the run is, and its id; None where nothing is recorded.
    place
        This process's rank in its job.
    alert_tasks
        Who hears of alerts; only the process that holds the node's agent does.
    """

    def __init__(
        self,
        path: Path | None,
        writer: EventWriter | None,
        place: Place | None = None,
        layer_norms: LayerMode = False,
    ) -> None:
        self.path = path
        self.run_id = writer.run_id if writer is not None else None
        self.place = place or Place()
        self.alert_tasks = AlertTasks()
        self.agent: AgentProcess | None = None
        self._describe: Callable[[], object] = lambda: None
        self._recorder = Recorder(writer, self.place.rank)
        self._layer_mode = layer_norms
        self._layers: LayerNorms | None = None
        self._tap: StepTap | None = None
        self.mark("run_started", **self.place._asdict(), pid=os.getpid())
        _open_runs.add(self)

    @property
    def is_open(self) -> bool:
        """Whether the run records here and has not been closed."""
        return self in _open_runs

    @property
    def lost(self) -> int:
        """Events of this process that could not be written."""
        return self._recorder.writer.lost if self._recorder.writer is not None else 0

    def watch(self, optimizer: Any, model: Any = None) -> None:
        """Log every step of a torch optimizer: loss, norm before clipping, learning rate, step time.

        May be called for several optimizers. Needs no other call in the loop. A `model` gives the
        parameters their names, where the norms of single layers are wanted.
        """
        self.tap().watch(optimizer)
        self.name_parameters(model)

    def name_parameters(self, model: Any) -> None:
        """Give the parameters their names, for the norms of single layers."""
        if self._layers is not None and model is not None:
            self._layers.name(model.named_parameters())

    def tap(self, deferred_end: bool = False) -> "StepTap":
        """Return the started tap of this run; for callbacks that know where a step ends."""
        self._recorder.trust_tap()
        tap = self._started_tap()
        tap.deferred_end = tap.deferred_end or deferred_end
        return tap

    def _started_tap(self) -> "StepTap":
        if self._tap is None:
            from thermograd.ingest.capture.layer_norms import LayerNorms
            from thermograd.ingest.capture.tap import StepTap

            recorder = self._recorder
            if self._layer_mode:
                self._layers = LayerNorms(self._layer_mode == "after_spike", recorder.note)
                self.alert_tasks.add(self._layers.hear)
            self._tap = StepTap(recorder.tapped, self.place.rank, note=recorder.note, layers=self._layers)
            if recorder.writer is not None and self.is_open:
                self._tap.start()
        return self._tap

    def _share(self) -> None:
        """Under `thermograd run`: be the run of this process, and log the steps of every optimizer."""
        global _shared
        _shared = self
        self._recorder.doubt_tap()
        self._started_tap()
        atexit.register(self.close)
        launcher_link.say(f"run {self.run_id}")

    def step(
        self,
        loss: float | None = None,
        grad_norm: float | None = None,
        learning_rate: float | None = None,
        *,
        step: int | None = None,
        epoch: float | None = None,
        max_grad_norm: float | None = None,
        step_time_s: float | None = None,
        skipped: bool | None = None,
        tokens: int | None = None,
    ) -> None:
        """Log one optimizer step by hand; what is not given is null, but for step number and time.

        Parameters
        ----------
        loss, grad_norm, learning_rate
            Of this step; `grad_norm` before clipping. NaN and inf are stored as they are.
        step
            Optimizer steps so far, from 1; counted where not given.
        step_time_s
            Wall time of the step, s; the time since the last call where not given.
        """
        if self._recorder.drop_tap() and self._tap is not None:
            self._tap.stop()
        self._recorder.by_hand(
            step,
            step_time_s,
            epoch=epoch,
            loss=loss,
            grad_norm=grad_norm,
            max_grad_norm=max_grad_norm,
            learning_rate=learning_rate,
            skipped=skipped,
            tokens=tokens,
        )

    def mark(self, mark: str, step: int | None = None, text: str | None = None, **detail: Any) -> None:
        """Log that something happened: a checkpoint, an evaluation, an injected fault, a note."""
        self._recorder.mark(mark, step, text, **detail)

    def close(self) -> None:
        """End the run: last events to disk, the agent told to finish. Never raises; repeatable."""
        _open_runs.discard(self)
        if self._tap is not None:
            self._tap.stop()
            self._recorder.release()
            if failures := self._tap.guard.failures:
                self.mark("gap", text=f"{failures} readings of training steps failed")
        self.mark("run_ended")
        if self._recorder.writer is not None and self.path is not None:
            self._recorder.writer.close()
            if not (self.path / "run.json").exists():  # rank 0 never came to it; without one it is not listed
                with Guard("thermograd could not describe the run: %(error)s"):
                    self._describe()
        if self.agent is not None:
            self.agent.stop()
            self.agent = None

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.mark("error", text=f"{type(error).__name__}: {error}")
        self.close()


def _abandon_all() -> None:
    """In a forked child: the log, the tap and the agent are the parent's."""
    for run in list(_open_runs):
        run._recorder.writer = run._tap = run.agent = None
    _open_runs.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_abandon_all)


def start_run(
    name: str = "run",
    runs: str | Path | None = None,
    *,
    hz: float = 5.0,
    agent: bool = True,
    simulate: str | None = None,
    facts: dict[str, Any] | None = None,
    layer_norms: LayerMode = False,
    on_alert: Callable[[dict[str, Any]], None] | None = None,
    on_alert_line: Callable[[str], None] | None = None,
) -> Run:
    """Start to record a run.

    Never raises for a reason that lies outside the call: where the log cannot be written, training goes
    on without it and one warning says so. ``THERMOGRAD_DISABLED=1`` turns recording off. In a job of
    several processes every one calls it and writes its own file of one run; rank 0 describes the run,
    local rank 0 starts the node's agent. Under ``thermograd run`` it returns the run that is recorded
    there already, if there is one. Detectors, sinks and the port for Prometheus are set in
    ``thermograd.toml`` in the working directory, in the file that ``$THERMOGRAD_CONFIG`` names, or by
    variables such as ``THERMOGRAD_METRICS_PORT``.

    Parameters
    ----------
    name
        What people call the run; any text.
    runs
        Directory of runs; default ``$THERMOGRAD_RUNS`` or ``runs``.
    hz
        Device samples a second, 0.1 to 10.
    agent
        Start the agent that samples this node's devices and raises alerts (local rank 0 only).
    simulate
        Preset of a simulated GPU (``restricted``, ``dc``, ``desktop``) that this process's load heats.
        It is labelled simulated everywhere.
    facts
        More facts for ``run.json``.
    layer_norms
        True: measure the norm of every layer at every step, write those of a spike and of every 100th
        step, as `note` marks. ``"after_spike"``: measure and write only the five steps after a spike.
    on_alert
        Called with the columns of each alert as a dictionary, from a thread, on the process that holds
        the node's agent. What it raises is counted and said once.
    on_alert_line
        Called with each alert as a line of text, from a thread; by default alerts go to stderr.

    Raises
    ------
    ValueError
        If `hz`, `layer_norms` or `simulate` is none of what is allowed.
    TypeError
        If `name` is no text.

    Examples
    --------
    >>> import thermograd
    >>> with thermograd.start_run(name="baseline", runs=tmp, agent=False) as run:
    ...     run.step(loss=2.5, grad_norm=1.2, learning_rate=1e-3)
    ...     run.mark("checkpoint", step=1)
    """
    check_options(hz, layer_norms, simulate)
    if not isinstance(name, str):
        raise TypeError(f"name is {name!r}; allowed: any text")
    if os.environ.get("THERMOGRAD_DISABLED", "0") not in ("", "0"):
        return Run(None, None)
    shared = _shared if _shared is not None and _shared.is_open else None
    run = shared or _open_run(name, runs, {"sampling_hz": hz} | (facts or {}), layer_norms)
    if on_alert is not None:
        run.alert_tasks.add(on_alert)
    if shared is not None or run.path is None:
        return run
    if agent and run.place.local_rank == 0:
        run.agent = _start_agent(run, hz, simulate, on_alert_line)
    if launcher_link.is_active:
        run._share()
    return run


def shared_run() -> Run | None:
    """Return the run that this process records under `thermograd run`; it may have been closed."""
    return _shared


def check_options(hz: float, layer_norms: LayerMode, simulate: str | None = None) -> None:
    """Raise `ValueError` where an option of `start_run` is out of bounds."""
    if not 0.1 <= hz <= 10:
        raise ValueError(f"hz is {hz!r}; allowed: 0.1 to 10 samples a second")
    if layer_norms not in (True, False, "after_spike"):
        raise ValueError(f"layer_norms is {layer_norms!r}; allowed: True, False, 'after_spike'")
    if simulate is not None and simulate not in PRESETS:
        raise ValueError(f"simulate is {simulate!r}; allowed: None, {', '.join(map(repr, PRESETS))}")


def _open_run(name: str, runs: str | Path | None, facts: dict[str, Any], layer_norms: LayerMode) -> Run:
    """Create the run's directory and this process's files; a run that records nothing where that fails."""
    place = place_of_this_process()
    directory = Path(runs) if runs is not None else default_runs_dir()
    facts = run_facts() | {"job": place._asdict()} | facts
    with Guard("thermograd records nothing: %(error)s"):
        run_id = agree_on_run_id(name, place)
        path = directory / run_id
        if place.rank == 0:
            path = create_run(directory, name, facts, run_id).path
        else:  # rank 0 describes the run
            path.mkdir(parents=True, exist_ok=True)
        is_restarted = any((path / "writers").glob(f"*-r{place.rank}-*.json"))
        writer = EventWriter(path, run_id, new_writer_name(f"r{place.rank}"))
        run = Run(path, writer, place, layer_norms)
        run._describe = partial(create_run, directory, name, facts, run_id)
        if is_restarted:
            run._recorder.continue_after(path)
        return run
    return Run(None, None, place)


def _start_agent(
    run: Run, hz: float, simulate: str | None, on_line: Callable[[str], None] | None
) -> AgentProcess | None:
    assert run.path is not None
    on_gap = partial(run.mark, "gap", None)
    try:
        return AgentProcess(run.path, hz, simulate, on_line, run.alert_tasks, on_gap=on_gap)
    except OSError as error:
        _log.warning("thermograd could not start its agent (%s); no device samples", error)
        on_gap(f"the agent could not be started: {error}")
        return None
