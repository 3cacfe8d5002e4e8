"""Recording a run from inside the training process: `start_run` for plain loops."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from thermograd.ingest.agent.supervisor import AgentProcess
from thermograd.ingest.job import launcher_link
from thermograd.ingest.job.configuration import with_config
from thermograd.ingest.job.ending import Ending, ended_if_it_fails
from thermograd.ingest.job.exits import End
from thermograd.ingest.job.facts import plain_facts
from thermograd.ingest.job.on_alert import AlertTasks
from thermograd.ingest.job.own_values import OwnValues
from thermograd.ingest.job.rank import Place, agree_on_run_id, place_of_this_process
from thermograd.ingest.job.recorder import Recorder
from thermograd.ingest.options import LayerMode, check_options
from thermograd.store.failures import Guard, guarded, is_the_users, warn
from thermograd.store.log.plain import PlainValues, said
from thermograd.store.log.writer import EventWriter
from thermograd.store.processes import new_writer_name
from thermograd.store.runs.catalogue import create_run, default_runs_dir

if TYPE_CHECKING:
    from thermograd.ingest.capture.layer_norms import LayerNorms
    from thermograd.ingest.capture.tap import StepTap

_open_runs: "set[Run]" = set()
_shared: "Run | None" = None  # the run of `thermograd run`, whoever started it

_LONGEST_NAME = 1000


class Run(OwnValues):
    """A run that this process records. Nothing of it raises into the training loop.

    Made by `start_run`; ends with `close` or the ``with`` block. In a child process, forked or spawned, it
    records nothing. A value that cannot be recorded is left out and counted, what is beside it stays.

    Attributes
    ----------
    run_id
        The run's id; None where nothing is recorded, as is `path`.
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
        self._path = path
        self.run_id = writer.run_id if writer is not None else None
        self.place = place or Place()
        self.alert_tasks = AlertTasks()
        self.agent: AgentProcess | None = None
        self.guard = Guard("thermograd could not record something (%(error)s); training goes on")
        self._describe: Callable[[], object] = lambda: None
        self._recorder = Recorder(writer, self.place.rank)
        self._recorder.metrics.read_back = _read_back
        self._layer_mode = layer_norms
        self._layers: LayerNorms | None = None
        self._tap: StepTap | None = None
        parts = [self._stop_tap, self._mark_end, self._close_log, self._stop_agent]
        self._ending = Ending([partial(_open_runs.discard, self), *parts], self.guard)
        self._end = End()
        if writer is not None:
            self.mark("run_started", **self.place._asdict(), pid=os.getpid())
            _open_runs.add(self)
            self._end.begin()
            self._ending.promise()

    def __reduce__(self) -> Any:
        """Be, in another process, a run that records nothing."""
        return Run, (None, None, self.place)

    def __deepcopy__(self, memo: Any = None) -> "Run":
        return self  # where what holds it is copied

    __copy__ = __deepcopy__

    @property
    def path(self) -> Path | None:
        """Where the run is; where its directory is moved, it follows."""
        writer = self._recorder.writer
        return writer.run_dir if writer is not None else self._path

    @property
    def is_open(self) -> bool:
        """Whether the run records here and has not been closed."""
        return self in _open_runs

    @guarded
    def watch(self, *optimizers: Any, model: Any = None) -> None:
        """Log every step of an optimizer: loss, norm before clipping, learning rate, step time.

        Needs no other call in the loop. An optimizer is one of torch, a wrapper of one (SAM, Lookahead), or
        your own object with ``step()`` and ``param_groups`` or ``params``. Several in one call are one step,
        with the norm of all; else they are where they use gradients of one backward pass. A `model` (also as
        the last argument) names the parameters, where layers are measured.
        """
        is_named = bool(optimizers) and hasattr(optimizers[-1], "named_parameters")
        self.tap().watch(*optimizers[: len(optimizers) - is_named])
        self.name_parameters(optimizers[-1] if is_named else model)

    @guarded
    def name_parameters(self, model: Any) -> None:
        """Name the parameters, for the norms of single layers."""
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
            tap = StepTap(recorder.tapped, self.place.rank, note=recorder.note, layers=self._layers)
            if recorder.writer is not None and self.is_open:
                tap.start()
            self._tap = tap
        return self._tap

    def _tapped_step(self) -> int | None:
        return self._tap.steps if self._tap is not None else None

    def _share(self) -> None:
        """Under `thermograd run`: be the run of this process, and log the steps of every optimizer."""
        global _shared
        _shared = self
        self._recorder.doubt_tap()
        self._started_tap()

    @guarded
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

        What does not fit (a text for a loss, a negative step) is null and counted.

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

    @guarded
    def mark_error(self, error: BaseException, step: int | None = None) -> None:
        """Log what ends the training; of an exception that has no text, its class."""
        if (text := self._end.blame(error)) is not None:
            self._recorder.mark("error", step, text, {})

    @guarded
    def close(self) -> None:
        """End the run, also where Ctrl-C interrupts it: last events to disk, the agent told to finish."""
        self._end.close("close")
        self._ending.do()

    def _stop_tap(self) -> None:
        if self._tap is not None:
            self._tap.stop()
            self._recorder.end_tap(self._tap.guard.failures, self._tap.never_stepped())

    def _mark_end(self) -> None:
        self.alert_tasks.account()
        self._recorder.account()
        self._end.mark(self.mark)

    def _close_log(self) -> None:
        if self._recorder.writer is not None and self.path is not None:
            self._end.close_log(self._recorder.writer)
            if not self.path.is_file() and not (self.path / "run.json").exists():  # rank 0 never came to it
                self._describe()

    def _stop_agent(self) -> None:
        if self.agent is not None:
            self.agent.stop()
            self.agent = None

    def _abandon(self) -> None:
        self._recorder.abandon()
        self._tap = self.agent = None
        self._ending.abandon()

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is not None:
                self.mark_error(error)
            self._end.close("with")
        finally:
            self.close()


def _read_back(tensors: Mapping[str, Any]) -> Any:
    from thermograd.ingest.capture.readback import read_back  # imports torch

    return read_back(tensors)


def _abandon_all() -> None:
    """In a forked child: the log, the tap and the agent are the parent's."""
    for run in list(_open_runs):
        run._abandon()
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
    config: Any = None,
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
    config
        The training's configuration: a dictionary (also nested, or OmegaConf's), a dataclass, an
        `argparse.Namespace`. Values that are called like a secret (token, password, api_key) are not kept.
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
    if not issubclass(type(name), str):
        raise TypeError(f"name is {said(name)}; allowed: any text")
    if os.environ.get("THERMOGRAD_DISABLED", "0") not in ("", "0"):
        return Run(None, None)
    with Guard("thermograd records nothing: %(error)s"):
        shared = _shared if _shared is not None and _shared.is_open else None
        run = shared or _open_run(name, runs, with_config(facts, config), float(hz), layer_norms)
        with ended_if_it_fails(run.close):
            if on_alert is not None:
                run.alert_tasks.add(on_alert)
            if shared is not None:
                run.configure(config)
            if shared is None and agent and run.place.local_rank == 0:
                run.agent = _start_agent(run, float(hz), simulate, on_alert_line)
            if shared is None and launcher_link.is_active:
                run._share()
        return run
    return Run(None, None)


def shared_run() -> Run | None:
    """Return the run that this process records under `thermograd run`; it may have been closed."""
    return _shared


def _open_run(name: str, runs: Any, facts: Any, hz: float, layer_norms: LayerMode) -> Run:
    """Create the run's directory and this process's files."""
    directory = Path(runs) if runs is not None else default_runs_dir()
    directory = directory.absolute()  # the script may change its own
    name = PlainValues(longest_text=_LONGEST_NAME).text(name)
    place = place_of_this_process()
    run_id = agree_on_run_id(name, place)
    described, left_out = plain_facts(facts, {"job": place._asdict(), "sampling_hz": hz})
    describe = partial(create_run, directory, name, described, run_id)
    path = directory / run_id
    if place.rank == 0:
        describe()
    else:  # rank 0 describes the run
        path.mkdir(parents=True, exist_ok=True)
    writer = EventWriter(path, run_id, new_writer_name(f"r{place.rank}"))
    with ended_if_it_fails(writer.close):
        run = Run(path, writer, place, layer_norms)
    run._describe = describe
    run._recorder.begin(path, left_out)
    launcher_link.say_run(run_id, path)
    return run


def _start_agent(
    run: Run, hz: float, simulate: str | None, on_line: Callable[[str], None] | None
) -> AgentProcess | None:
    assert run.path is not None
    on_gap = partial(run.mark, "gap", None)
    try:
        return AgentProcess(run.path, hz, simulate, on_line, run.alert_tasks, on_gap=on_gap)
    except Exception as error:  # the training is recorded without it
        if is_the_users(error):
            raise
        warn("thermograd could not start its agent (%s); no device samples", error)
        on_gap(f"the agent could not be started: {said(error, str)}")
        return None
