"""Recording a run from inside the training process: `start_run` for plain loops."""

import json
import logging
import operator
import os
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal

from thermograd.ingest.agent.supervisor import AgentProcess
from thermograd.ingest.job import session
from thermograd.ingest.job.facts import run_facts
from thermograd.ingest.job.on_alert import AlertTasks
from thermograd.ingest.job.place import Place, agree_on_run_id, cuda_device, place_of_this_process
from thermograd.ingest.simulate.gpu import PRESETS
from thermograd.store.errors import LogError
from thermograd.store.host import new_writer_name
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import create_run, default_runs_dir

if TYPE_CHECKING:
    from thermograd.ingest.capture.layers import LayerNorms
    from thermograd.ingest.capture.tap import StepTap


_log = logging.getLogger("thermograd")
_open_runs: "weakref.WeakSet[Run]" = weakref.WeakSet()

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
        self._writer = writer
        self._layer_mode = layer_norms
        self._layers: LayerNorms | None = None
        self._tap: StepTap | None = None
        self._own_tap = session.OwnTap()
        self._steps = 0
        self._last_step_ns: int | None = None
        self._device: str | None = None
        self._description: tuple[Path, str, dict[str, Any]] | None = None
        self.mark("run_started", **self.place.facts(), pid=os.getpid())
        _open_runs.add(self)

    @property
    def is_open(self) -> bool:
        """Whether the run records here and has not been closed."""
        return self in _open_runs

    @property
    def lost(self) -> int:
        """Events of this process that could not be written."""
        return self._writer.lost if self._writer is not None else 0

    def watch(self, optimizer: Any, model: Any = None) -> None:
        """Log every step of a torch optimizer: loss, norm before clipping, learning rate, step time.

        May be called for several optimizers. Needs no other call in the loop. A `model` gives the
        parameters their names, where the norms of single layers are wanted.
        """
        tap = self.tap()
        tap.watch(optimizer)
        if model is not None:
            self.name_parameters(model)

    def name_parameters(self, model: Any) -> None:
        """Give the parameters their names, for the norms of single layers."""
        if self._layers is not None:
            self._layers.name(model.named_parameters())

    def tap(self, deferred_end: bool = False) -> "StepTap":
        """Return the started tap of this run; for callbacks that know where a step ends."""
        self._own_tap.is_wanted = True
        return self._started_tap(deferred_end)

    def _started_tap(self, deferred_end: bool = False) -> "StepTap":
        if self._tap is None:
            from thermograd.ingest.capture.layers import LayerNorms
            from thermograd.ingest.capture.tap import StepTap

            if self._layer_mode:
                mode: Literal["always", "after_spike"] = (
                    "after_spike" if self._layer_mode == "after_spike" else "always"
                )
                self._layers = LayerNorms(mode, self._note)
                self.alert_tasks.add(self._layers.hear)
            self._tap = StepTap(self._tapped_step, self.place.rank, deferred_end, self._note, self._layers)
            if self._writer is not None and self.is_open:
                self._tap.start()
        self._tap.deferred_end = self._tap.deferred_end or deferred_end
        return self._tap

    def see_all_steps(self) -> None:
        """Log the steps of every optimizer, unless the script turns out to log its steps by hand."""
        self._own_tap.is_ours = True
        self._started_tap()

    def _tapped_step(self, **values: Any) -> None:
        for row in self._own_tap.let_through(values):
            self._append_step(**row)

    def _append_step(self, **values: Any) -> None:
        if self._device is None and (device := cuda_device()) is not None:
            self._device = device
            self._note(f"rank {self.place.rank} computes on {device}", rank=self.place.rank, device=device)
        if self._writer is not None:
            self._writer.append("step", **values)

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
        if self._own_tap.gives_way() and self._tap is not None:
            self._tap.stop()
        now_ns = time.monotonic_ns()
        last_ns, self._last_step_ns = self._last_step_ns, now_ns
        number = self._steps + 1 if step is None else step
        counted = _step_number(number)
        if counted is None:
            self._refuse(f"step is {number!r}; allowed: a whole number from 0")
            return
        self._steps = counted
        if step_time_s is None and last_ns is not None:
            step_time_s = (now_ns - last_ns) / 1e9
        self._append_step(
            monotonic_ns=now_ns,
            step=self._steps,
            rank=self.place.rank,
            epoch=epoch,
            loss=loss,
            grad_norm=grad_norm,
            max_grad_norm=max_grad_norm,
            learning_rate=learning_rate,
            step_time_s=step_time_s,
            skipped=skipped,
            tokens=tokens,
        )

    def _refuse(self, reason: str) -> None:
        """Count a step that cannot be what it says; say so once."""
        if self._writer is not None:
            if not self._writer.lost:
                _log.warning("thermograd could not write a step event (%s); training goes on", reason)
            self._writer.lost += 1

    def mark(self, mark: str, step: int | None = None, text: str | None = None, **detail: Any) -> None:
        """Log that something happened: a checkpoint, an evaluation, an injected fault, a note."""
        if self._writer is not None:
            extra = json.dumps(detail, default=str) if detail else None
            self._writer.append("mark", mark=mark, step=step, text=text, detail=extra)

    def _note(self, text: str, *, step: int | None = None, **detail: Any) -> None:
        self.mark("note", step, text, **detail)

    def close(self) -> None:
        """End the run: last events to disk, the agent told to finish. Never raises; repeatable."""
        _open_runs.discard(self)
        if self._tap is not None:
            self._tap.stop()
            for row in self._own_tap.rest():
                self._append_step(**row)
        if self._writer is not None:
            if self._tap is not None and self._tap.failures:
                self.mark("gap", text=f"{self._tap.failures} readings of training steps failed")
            self.mark("run_ended")
            self._writer.close()
            _describe_if_nobody_did(self)
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

    def _abandon(self) -> None:
        """In a forked child: the log, the tap and the agent are the parent's."""
        self._writer = self._tap = self.agent = None


def _abandon_all() -> None:
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
    if isinstance(shared := session.adopt(), Run):
        if on_alert is not None:
            shared.alert_tasks.add(on_alert)
        return shared
    run = _open_run(name, runs, {"sampling_hz": hz} | (facts or {}), layer_norms)
    if on_alert is not None:
        run.alert_tasks.add(on_alert)
    if agent and run.path is not None and run.place.local_rank == 0:
        run.agent = _start_agent(run, hz, simulate, on_alert_line)
    session.started(run)
    return run


def _step_number(value: Any) -> int | None:
    """Return a number of steps, also of numpy or torch; None for what is none."""
    try:
        number = operator.index(value)
    except (TypeError, ValueError, RuntimeError):  # the last two: a tensor of several
        return None
    return number if 0 <= number < 2**63 else None


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
    facts = run_facts() | {"job": place.facts()} | facts
    try:
        run_id = agree_on_run_id(name, place)
        path = directory / run_id
        if place.rank == 0:
            path = create_run(directory, name, facts, run_id).path
        else:  # rank 0 describes the run
            path.mkdir(parents=True, exist_ok=True)
        writer = EventWriter(path, run_id, new_writer_name(f"r{place.rank}"))
    except (LogError, OSError, ValueError) as error:
        _log.warning("thermograd records nothing: %s", error)
        return Run(None, None, place)
    run = Run(path, writer, place, layer_norms)
    run._description = (directory, name, facts)
    return run


def _describe_if_nobody_did(run: Run) -> None:
    """Write ``run.json`` where rank 0 never came to it; a run without one is not listed."""
    if run.path is not None and run._description is not None and not (run.path / "run.json").exists():
        directory, name, facts = run._description
        try:
            create_run(directory, name, facts, run.run_id)
        except LogError as error:
            _log.warning("thermograd could not describe the run: %s", error)


def _start_agent(
    run: Run, hz: float, simulate: str | None, on_line: Callable[[str], None] | None
) -> AgentProcess | None:
    assert run.path is not None

    def on_gap(text: str) -> None:
        run.mark("gap", text=text)

    try:
        return AgentProcess(run.path, hz, simulate, on_line, run.alert_tasks, on_gap=on_gap)
    except OSError as error:
        _log.warning("thermograd could not start its agent (%s); no device samples", error)
        run.mark("gap", text=f"the agent could not be started: {error}")
        return None
