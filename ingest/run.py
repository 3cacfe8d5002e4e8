"""Recording a run from inside the training process: `start_run` for plain loops."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from operator import call
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from thermograd.ingest.agent.silent_agent import AgentSilence
from thermograd.ingest.agent.supervisor import AgentProcess
from thermograd.ingest.experiment.experimenting import Experimenting, checked
from thermograd.ingest.face import html_of, say_where, text_of, wants_card
from thermograd.ingest.job import launcher_link
from thermograd.ingest.job.configuration import with_config
from thermograd.ingest.job.ends.ending import Ending, ended_if_it_fails, insisted
from thermograd.ingest.job.ends.exits import End
from thermograd.ingest.job.on_alert import AlertTasks
from thermograd.ingest.job.opening import one_at_a_time, open_log
from thermograd.ingest.job.options import LayerMode, Reinit, check_options
from thermograd.ingest.job.own_values import OwnValues
from thermograd.ingest.job.rank import Place
from thermograd.ingest.job.recorder import Recorder
from thermograd.ingest.watching import Watching
from thermograd.store.failures import Guard, guarded, is_the_users, warn
from thermograd.store.lazy_names import no_collection
from thermograd.store.log.plain import said
from thermograd.store.log.writer import EventWriter

_open_runs: "set[Run]" = set()
_shared: "Run | None" = None  # the run of `thermograd run`, whoever started it


class Run(Experimenting, Watching, OwnValues):
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
    held_by
        Who has started it: nobody but the script closes a run of the script.
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
        parts = [self._stop_experiment, self._stop_tap, self._mark_end, self._close_log, self._stop_agent]
        self.held_by: Literal["script", "callback", "launcher"] = "script"
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

    def __repr__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:
        return html_of(self)

    @property
    def path(self) -> Path | None:
        """Where the run is; where its directory is moved, it follows."""
        writer = self._recorder.writer
        return writer.run_dir if writer is not None else self._path

    @property
    def is_open(self) -> bool:
        """Whether the run records here and has not been closed."""
        return self in _open_runs

    @property
    def steps(self) -> int:
        """Steps that this process has recorded so far."""
        return self._recorder.steps

    def share(self) -> None:
        """Under `thermograd run`: be the run of this process, and log the steps of every optimizer."""
        global _shared
        _shared = self
        self._recorder.doubt_tap()
        self._started_tap()

    @guarded
    def believe_tap(self) -> None:
        """Log what is seen from the first step on: the launcher has started this run, not the script."""
        self._recorder.believe_tap()
        self._end.is_launchers = True

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
        if self._tap is not None:
            self._recorder.take_over(self._tap.stop)
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
        if self._conductor is not None:
            self._conductor.step_ended(self._recorder.last_number)

    @guarded
    def begin_training(self, config: Any) -> None:
        """Take that a framework's training begins in this run: one that has failed before ends it no more."""
        self._end.go_on()
        self.configure_training(config)

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

    def _mark_end(self) -> None:
        self.alert_tasks.account()
        if self._end.account()["state"] == "finished":
            self._recorder.say_if_empty()
        self._recorder.account()
        self._end.mark(self.mark)

    def _close_log(self) -> None:
        if self._recorder.writer is not None and self.path is not None:
            self._end.close_log(self._recorder.writer)
            self._recorder.end()
            if not self.path.is_file() and not (self.path / "run.json").exists():  # rank 0 never came to it
                self._describe()

    def _stop_agent(self) -> None:
        if self.agent is not None:
            self.agent.stop()
            self.agent = None

    def _abandon(self) -> None:
        self._recorder.abandon()
        self._abandon_experiment()
        self._tap = self.agent = None
        self._ending.abandon()

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        do = insisted if error is not None else call
        try:
            if error is not None:
                do(partial(self.mark_error, error))
            do(partial(self._end.close, "with"))
        finally:
            do(self.close)


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
    reinit: Reinit = "new",
    layer_norms: LayerMode = False,
    on_alert: Callable[[dict[str, Any]], None] | None = None,
    on_alert_line: Callable[[str], None] | None = None,
    card: bool = True,
    experiment: Any = None,
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
        Directory of runs; default ``$THERMOGRAD_RUNS`` or ``runs``. A URL (``s3://bucket/runs``, ``gs://``,
        ``az://``): the run is written to this machine, and shipped there by the agent (``docs/fleet.md``).
    hz
        Device samples a second, 0.1 to 10.
    agent
        Start the agent that samples this node's devices and raises alerts (local rank 0 only).
    simulate
        Preset of a simulated GPU (``restricted``, ``dc``, ``desktop``) that this process's load heats.
        It is labelled simulated everywhere.
    config
        The training's configuration: a dictionary (also nested, or OmegaConf's), a dataclass, an
        `argparse.Namespace`. Texts whose name ends like a secret's (token, password, api_key) are not kept,
        nor are such words of the script's command line, passwords in addresses, well-known tokens, and
        what the environment's secrets (``*_TOKEN``, ``*_PASSWORD``, ``*_API_KEY``) say, wherever it is.
    facts
        More facts for ``run.json``.
    reinit
        Where a run is under way in this process: ``"new"`` ends it, and says so; ``"return"`` returns it.
    layer_norms
        True: measure the norm of every layer at every step, write those of a spike and of every 100th
        step, as `note` marks. ``"after_spike"``: measure and write only the five steps after a spike.
    on_alert
        Called with the columns of each alert as a dictionary, from a thread, on the process that holds
        the node's agent. What it raises is counted and said once.
    on_alert_line
        Called with each alert as a line of text, from a thread; by default alerts go to stderr.
    card
        Let the agent end with five lines on stderr: verdict, spikes, throttling, energy, report.
        ``THERMOGRAD_CARD=0`` turns that off, too.
    experiment
        ``"duty"`` or options by name: what `Run.experiment` takes, begun with the run.

    Raises
    ------
    ValueError
        If `hz`, `reinit`, `layer_norms`, `simulate` or `experiment` is none of what is allowed.
    TypeError
        If `name` is no text.

    Examples
    --------
    >>> import thermograd
    >>> with thermograd.start_run(name="baseline", runs=tmp, agent=False) as run:
    ...     run.step(loss=2.5, grad_norm=1.2, learning_rate=1e-3)
    ...     run.mark("checkpoint", step=1)
    """
    check_options(hz, layer_norms, simulate, reinit)
    wanted = checked(experiment)
    if not issubclass(type(name), str):
        raise TypeError(f"name is {said(name)}; allowed: any text")
    if os.environ.get("THERMOGRAD_DISABLED", "0") not in ("", "0"):
        return Run(None, None)
    with one_at_a_time(), no_collection(), Guard("thermograd records nothing: %(error)s"):
        running = _going_on(reinit)
        run = running or _open_run(name, runs, with_config(facts, config), float(hz), layer_norms, agent)
        with ended_if_it_fails(run.close):
            run.held_by = "script"
            if on_alert is not None:
                run.alert_tasks.add(on_alert)
            if running is not None:
                run.configure(config)
            if running is None and agent and run.place.local_rank == 0:
                run.agent = _start_agent(run, float(hz), simulate, on_alert_line, card and wants_card(run))
            if running is None and launcher_link.is_active:
                run.share()
            run.begin_experiments(wanted)
        if running is None:
            say_where(run)
        return run
    launcher_link.say_nothing_written()
    return Run(None, None)


def _going_on(reinit: Reinit) -> Run | None:
    """Return the run under way that the caller is to get; end the others, for the steps of two would mix."""
    for run in list(_open_runs):
        if reinit == "return" or run.held_by == "launcher":
            return run
        why = "another run was started in the same process"
        warn("thermograd: run %s ends here: %s (reinit='return' gives the one under way)", run.run_id, why)
        run.mark("note", text=f"the run ends here: {why}")
        run._end.close("another run")
        run.close()
    return None


def running_run() -> Run | None:
    """Return the run that the script has started itself in this process and not closed yet."""
    return next((run for run in list(_open_runs) if run.held_by == "script"), None)


def shared_run() -> Run | None:
    """Return the run that this process records under `thermograd run`; it may have been closed."""
    return _shared


def _open_run(name: str, runs: Any, facts: Any, hz: float, layer_norms: LayerMode, agent: bool) -> Run:
    opened = open_log(name, runs, facts, hz, agent)
    with ended_if_it_fails(opened.writer.close):
        run = Run(opened.path, opened.writer, opened.place, layer_norms)
    run._describe = opened.describe
    run._recorder.begin(opened.path, opened.facts_left_out)
    launcher_link.say_run(run.run_id, opened.path)
    return run


def _start_agent(
    run: Run, hz: float, simulate: str | None, on_line: Callable[[str], None] | None, card: bool
) -> AgentProcess | None:
    assert run.path is not None
    on_gap = partial(run.mark, "gap", None)
    try:
        silence = AgentSilence(run._recorder.writer, run.alert_tasks) if run._recorder.writer else None
        return AgentProcess(run.path, hz, simulate, on_line, run.alert_tasks, on_gap, card, silence)
    except Exception as error:  # the training is recorded without it
        if is_the_users(error):
            raise
        warn("thermograd could not start its agent (%s); no device samples", error)
        on_gap(f"the agent could not be started: {said(error, str)}")
        return None
