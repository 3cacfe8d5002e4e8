"""Runs with a randomised experiment in them, of known truth: what is done, and what else goes on.

The steps follow a real `Schedule`, whose marks are written as a training's would be; the device is the
modelled GPU under the load that the schedule makes. The log gradient norm is noise with a memory, and
whatever the world adds to it.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from thermograd.ingest.simulate.gpu import SimulatedGpu
from thermograd.ingest.simulate.write import DEVICE, Columns, Floats, StreamLayer, truth_text, write_series
from thermograd.store.errors import ScenarioError
from thermograd.store.events import column_names
from thermograd.store.experiment.marks import (
    INTERVENTION,
    Applied,
    applied_detail,
    assigned_detail,
    assigned_text,
)
from thermograd.store.experiment.schedules import Assignment, Pulses, Schedule, Switchback
from thermograd.store.runs.catalogue import Run

_STEP_S = 0.5
_BLOCK_S = 40.0  # a little above the modelled device's time constant
_DEVICE_MEMORY_S = 35.0  # of the modelled device
_DUTY = 0.6
_WARM_UP_S = 60.0
_SHADOW_S = 0.35
_SHADOW_LOADS = {"zeros": 0.7, "noise": 1.0}  # fewer bits flip where zeros are multiplied
_STEADY_LOAD = 0.8  # of a training whose steps pulses come between
_TICK_S = 0.05
_STEP_SPREAD = 0.03
_MEMORY = 0.8  # of the log gradient norm, from step to step
_LOG_SD = 0.12  # of it
_DRIVER_MEMORY = 0.9  # of the hidden driver, from second to second
_DRIVER_C = 1.5
_DRIVER_LAG_S = 2
_PLANNED_SD = 0.5
_FEWEST_MINUTES, _MOST_MINUTES = 2, 24 * 60


@dataclass(frozen=True, slots=True)
class World:
    """What is true of a simulated experiment.

    Attributes
    ----------
    about
        For a person.
    arm
        "duty": blocks, hot and cool; "shadow": pulses.
    effect_sd
        What a hot block has added to the log gradient norm at its end, on a device long cool, in sd of the
        log norm about its trend, without the effect: as in `Effect.effect_sd`.
    pulsed_effect
        What pulses do to the device, in words; empty for nothing.
    memory_s
        How slowly the norm answers: by default as the device heats.
    driver_sd
        Of what nobody logged and what moves both the norm and the temperature.
    drift_sd
        By how much the norm falls over the run, while the room grows warmer.
    """

    about: str
    arm: Literal["duty", "shadow"] = "duty"
    effect_sd: float = 0.0
    pulsed_effect: str = ""
    memory_s: float = _DEVICE_MEMORY_S
    driver_sd: float = 0.0
    drift_sd: float = 0.0

    @property
    def question(self) -> str:
        """Which way the effect is looked for."""
        return "heat to training" if self.arm == "duty" else "training to hardware"

    @property
    def effect(self) -> str:
        """What is true, in the report's sd and in percent of the norm; of pulses in words."""
        if not self.effect_sd:
            return self.pulsed_effect
        return f"{self.effect_sd:g} sd ({100 * np.expm1(_LOG_SD * self.effect_sd):+.1f} %)"


WORLDS = {
    "experiment-null": World("hot and cool blocks; heat does nothing to the training"),
    "experiment-hidden-driver": World(
        "something that nobody logged moves norm and temperature; heat does nothing to the training",
        driver_sd=0.5,
    ),
    "experiment-heat-to-training": World(
        "hot and cool blocks; the gradient norm is larger while the device is hot", effect_sd=0.6
    ),
    "experiment-training-to-hardware": World(
        "shadow steps of noise or zeros at drawn moments; noise makes the device work harder",
        "shadow",
        pulsed_effect="of noise above zeros",
    ),
    "experiment-carry-over": World(
        "the norm answers the heat over two minutes, longer than a block", effect_sd=0.6, memory_s=120.0
    ),
    "experiment-drift": World(
        "the norm falls, the room grows warmer; heat does nothing to the training", drift_sd=4.0
    ),
}


def world_list() -> dict[str, str]:
    """Return what each world is, by name."""
    return {name: world.about for name, world in WORLDS.items()}


def simulate_experiment(
    runs_dir: Path,
    name: str,
    minutes: float = 20.0,
    hz: float = 1.0,
    seed: int = 0,
    end_ns: int | None = None,
    stream_layer: StreamLayer | None = None,
) -> Run:
    """Write a whole run of one of the `WORLDS`; the seed draws everything, the schedule too.

    Raises ScenarioError for a length that is not allowed, and LogError if the run cannot be written.
    """
    if not _FEWEST_MINUTES <= minutes <= _MOST_MINUTES:
        raise ScenarioError(
            f"the length is {minutes:g} minutes; allowed for an experiment are {_FEWEST_MINUTES} to "
            f"{_MOST_MINUTES}"
        )
    world, length_s = WORLDS[name], round(60 * minutes)
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 18])
    drawn = _Steps.draw(_schedule(world, seed), length_s, rng)
    hidden = _with_memory(rng.standard_normal(length_s + 1), _DRIVER_MEMORY)
    sample_s, samples = _hardware(world, drawn, length_s, hz, seed, hidden)
    truth = {
        "scenario": name,
        "about": world.about,
        "question": world.question,
        "effect_sd": None if world.pulsed_effect else world.effect_sd,
        "effect": world.effect or None,
        "memory_s": world.memory_s if world.effect_sd and world.arm == "duty" else None,
        "seed": seed,
        "rho": None,
        "lag_s": None,
        "response": None,
        "hidden_driver_sd": world.driver_sd,
        "experiment": drawn.schedule.to_json(),
    }
    series = {
        "step": (drawn.end_s, _training(world, drawn, length_s, hidden, rng)),
        "sample": (sample_s, samples),
        "mark": drawn.marks(truth_text(truth), length_s),
    }
    return write_series(runs_dir, truth, series, length_s, hz, end_ns, stream_layer)


def _schedule(world: World, seed: int) -> Schedule:
    start_step = round(_WARM_UP_S / _STEP_S) + 1
    if world.arm == "duty":
        design = Switchback(round(_BLOCK_S / _STEP_S))
        return Schedule("duty", design, seed, start_step, {"duty": _DUTY, "effect_sd": _PLANNED_SD})
    pulses = Pulses(round(1 / _STEP_S), kinds=tuple(_SHADOW_LOADS))
    return Schedule("shadow", pulses, seed, start_step, {"shapes": ",".join(_SHADOW_LOADS)})


@dataclass(frozen=True, slots=True, eq=False)
class _Steps:
    """The steps of a run as its schedule makes them."""

    schedule: Schedule
    end_s: Floats  # shape (n,): when each step ended
    busy_s: Floats  # shape (n,): what each took, without the gap or the shadow step after it
    after_s: Floats  # shape (n,): how long that was
    is_hot: NDArray[np.bool_]  # shape (n,): of a block; without one True
    assignments: list[Assignment]

    @classmethod
    def draw(cls, schedule: Schedule, length_s: int, rng: np.random.Generator) -> "_Steps":
        """Return as many steps as there is time for."""
        most = int(length_s / _STEP_S * 1.2) + 10
        busy_s = _STEP_S * np.exp(_STEP_SPREAD * rng.standard_normal(most))
        after_s, is_hot, assignments = np.zeros(most), np.ones(most, dtype=bool), []
        index = 0
        while (assignment := schedule.assignment(index)).first_step <= most:
            assignments.append(assignment)
            inside = slice(assignment.first_step - 1, assignment.last_step)
            if assignment.level == "cool":
                after_s[inside], is_hot[inside] = busy_s[inside] * (1 / _DUTY - 1), False
            elif assignment.pulse_step is not None and assignment.pulse_step <= most:
                after_s[assignment.pulse_step - 1] = _SHADOW_S
            index += 1
        end_s = np.cumsum(busy_s + after_s) - after_s
        n = int((end_s <= length_s).sum())
        begun = [each for each in assignments if each.first_step <= n]
        return cls(schedule, end_s[:n], busy_s[:n], after_s[:n], is_hot[:n], begun)

    def marks(self, text: str, length_s: int) -> tuple[Floats, Columns]:
        """Return the run's marks, as a training that is asked for an experiment writes them."""
        rows: list[tuple[float, str, int | None, str | None, str | None]] = [
            (0.0, "run_started", None, text, None)
        ]
        begin_s = np.append(0.0, (self.end_s + self.after_s)[:-1])
        for each in self.assignments:
            told = json.dumps(assigned_detail(self.schedule, each))
            said = assigned_text(self.schedule, each)
            rows.append((float(begin_s[each.first_step - 1]), INTERVENTION, each.first_step, said, told))
            last = min(each.last_step, self.end_s.size)
            done = json.dumps(applied_detail(self.schedule, self._applied(each, last)))
            rows.append((min(float(self.end_s[last - 1]), length_s), INTERVENTION, last, None, done))
        rows.append((float(length_s), "run_ended", None, None, None))
        time_s, *columns = zip(*sorted(rows, key=lambda row: row[0]), strict=True)
        return np.array(time_s), dict(
            zip(("mark", "step", "text", "detail"), map(list, columns), strict=True)
        )

    def _applied(self, each: Assignment, last: int) -> Applied:
        idle_s = float(self.after_s[each.first_step - 1 : last].sum())
        if each.level is not None:
            return Applied(each.index, last - each.first_step + 1, idle_s=round(idle_s, 3))
        was_given = each.pulse_step is not None and each.pulse_step <= last
        return Applied(
            each.index, int(was_given), failed=None if was_given else "the run ended before the pulse"
        )


def _hardware(
    world: World, steps: _Steps, length_s: int, hz: float, seed: int, hidden: Floats
) -> tuple[Floats, Columns]:
    """Return sample times and columns of the modelled device."""
    gpu = SimulatedGpu("dc", seed=seed, device=DEVICE)
    load = _load(world, steps, length_s)
    ticks = load.size
    at = set(np.round(np.arange(0, int(length_s * hz + 1e-9) + 1) / hz / _TICK_S).astype(int).tolist())
    rows, times = [], []
    for tick in range(ticks + 1):
        if tick in at:
            rows.append(gpu.read())
            times.append(tick * _TICK_S)
        if tick < ticks:
            gpu.inlet_c = 1.5 * world.drift_sd * tick / ticks
            gpu.advance(_TICK_S, float(load[tick]))
    names = [name for name in column_names("sample") if rows[0].get(name) is not None]
    columns: Columns = {name: [row[name] for row in rows] for name in names}
    time_s = np.array(times)
    if world.driver_sd:
        second = np.maximum(time_s.astype(int) - _DRIVER_LAG_S, 0)
        columns["temperature_c"] = np.round(columns["temperature_c"] + _DRIVER_C * hidden[second])
    return time_s, columns


def _load(world: World, steps: _Steps, length_s: int) -> Floats:
    """Return the device's load in every tick."""
    begin_s, end_s = steps.end_s - steps.busy_s, steps.end_s
    level = 1.0 if world.arm == "duty" else _STEADY_LOAD
    edges: Floats = np.arange(round(length_s / _TICK_S) + 1, dtype=float) * _TICK_S
    work = _worked(edges, begin_s, end_s, level)
    if world.arm == "shadow":
        for kind, heat in _SHADOW_LOADS.items():
            given = [
                e.pulse_step - 1 for e in steps.assignments if e.kind == kind and e.pulse_step is not None
            ]
            pulsed = np.array([place for place in given if place < end_s.size], dtype=np.int64)
            after = steps.after_s[pulsed]
            work += _worked(edges, end_s[pulsed], end_s[pulsed] + after, heat * bool(world.pulsed_effect))
    return np.clip(np.diff(work) / _TICK_S, 0.0, 1.0)


def _worked(edges: Floats, begin_s: Floats, end_s: Floats, level: float) -> Floats:
    """Return the work done until each edge, s of full load."""
    places = np.column_stack([begin_s, end_s]).ravel()
    done = np.repeat(np.append(0.0, np.cumsum(level * (end_s - begin_s))), 2)[1:-1]
    return np.interp(edges, places, done) if places.size else np.zeros(edges.size)


def _training(
    world: World, steps: _Steps, length_s: int, hidden: Floats, rng: np.random.Generator
) -> Columns:
    """Return the columns of the steps."""
    end_s, n = steps.end_s, steps.end_s.size
    progress = np.arange(n) * _STEP_S / length_s  # by steps: a cool block, which takes longer, learns no more
    noise = _with_memory(rng.standard_normal(n), _MEMORY)
    x = noise + world.driver_sd * hidden[end_s.astype(int)] - world.drift_sd * progress
    if world.arm == "duty" and world.effect_sd:
        x += world.effect_sd * _heat(world, steps)
    columns = {
        "step": np.arange(1, n + 1),
        "rank": np.zeros(n, dtype=np.int64),
        "epoch": progress,
        "loss": 2.3 + 0.4 * np.exp(-2.0 * progress) + 0.04 * rng.standard_normal(n),
        "grad_norm": np.exp(_LOG_SD * x),
        "max_grad_norm": np.ones(n),
        "learning_rate": 1e-3 * (0.55 + 0.45 * np.cos(np.pi * progress)),
        "step_time_s": steps.busy_s,
        "tokens": np.full(n, 8192),
    }
    return columns


def _heat(world: World, steps: _Steps) -> Floats:
    """Return the blocks through the memory: 1 at a hot block's end on a device that was long cool."""
    keep = np.exp(-np.diff(steps.end_s, prepend=0.0) / world.memory_s)
    heat, value = np.empty(steps.end_s.size), 1.0
    for place, (kept, is_hot) in enumerate(zip(keep.tolist(), steps.is_hot.tolist(), strict=True)):
        value = kept * value + (1 - kept) * is_hot
        heat[place] = value
    return np.asarray(heat / (1 - np.exp(-_BLOCK_S / world.memory_s)))


def _with_memory(noise: Floats, memory: float) -> Floats:
    """Return an autoregression of unit variance."""
    values, value = np.empty(noise.size), float(noise[0])
    scaled = noise * np.sqrt(1 - memory**2)
    for place, new in enumerate(scaled.tolist()):
        value = memory * value + new
        values[place] = value
    return values
