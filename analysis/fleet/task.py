"""What is done with a chunk of runs, on whatever engine: one SQL aligns them, then each is tested."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from thermograd.analysis.coupling.linear_algebra import one_blas_thread
from thermograd.analysis.fleet.aligned import Aligned, Key, aligned_runs
from thermograd.analysis.fleet.engines.chunks import opened
from thermograd.analysis.fleet.likeness import digest, likeness
from thermograd.analysis.fleet.pair_statistics import Row, model_of, pair_findings
from thermograd.analysis.fleet.question import Question
from thermograd.analysis.run.event_tests import OnsetsOfEvent, onset_tests
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.log.seal import verify_run
from thermograd.store.query.data.findings import SCHEMA
from thermograd.store.runs.catalogue import Run
from thermograd.store.text import printable, shortened

# What the reduction needs and the findings do not keep.
_INNER = {
    "digest": pa.binary(),
    "likeness": pa.binary(),
    "residual_x": pa.binary(),
    "residual_y": pa.binary(),
}
TASK_SCHEMA = pa.schema([*SCHEMA, *(pa.field(name, kind) for name, kind in _INNER.items())])


@one_blas_thread()
def analyse_chunk(question: Question, addresses: Sequence[str]) -> pa.Table:
    """Return the findings of some runs: for each a row of its own, then one for every pair and event.

    A run that cannot be analysed is a row with its error. Nothing depends on which runs stand in one chunk.
    """
    runs = opened(addresses)
    aligned = aligned_runs(runs, question)
    return pa.concat_tables([_rows(run, question, aligned) for run in runs])


def _rows(run: Run, question: Question, aligned: Mapping[Key, Aligned]) -> pa.Table:
    try:
        return _table(run.run_id, _analysed(run, question, aligned))
    except Exception as error:  # noqa: BLE001 - a poisoned run is a row with its error, the rest goes on
        return failed_run(str(run.path), f"{type(error).__name__}: {error}")


def failed_run(path: str, why: str) -> pa.Table:
    """Return the one row of a run that cannot be analysed."""
    said = printable(shortened(why), 2000)
    return _table(Run(Path(path)).run_id, [{"kind": "run", "verdict": "error", "error": said}])


def _table(run_id: str, rows: "Sequence[Row] | Iterator[Row]") -> pa.Table:
    return pa.Table.from_pylist([{"run_id": run_id, **row} for row in rows], schema=TASK_SCHEMA)


def _analysed(run: Run, question: Question, aligned: Mapping[Key, Aligned]) -> Iterator[Row]:
    data = load_series(run)
    host = run.facts.get("host")
    rows = [*pair_findings(data, question, aligned), *_events(data, question)]
    yield _run_row(data) | {"host": host}
    for row in rows:
        yield row | {"host": host}


def _run_row(data: RunSeries) -> Row:
    times = data.step_time_ns
    verdict, reason = _judged(data)
    return {
        "kind": "run",
        "verdict": verdict,
        "n": times.size,
        "model": next(map(model_of, data.devices.values()), None),
        "began_ns": int(times[0]) if times.size else None,
        "ended_ns": int(times[-1]) if times.size else None,
        "error": reason or None,
        "digest": digest(data),
        "likeness": likeness(data),
    }


def _judged(data: RunSeries) -> tuple[str, str]:
    """Return the verdict of a run before its tests, and why there is nothing to test in it."""
    if data.devices and data.step_time_ns.size:
        return "tested", ""
    kind, what = ("sample", "device sample") if data.step_time_ns.size else ("step", "training step")
    if _is_damaged(data.run, kind):
        return "error", f"Its {kind}s file is damaged (thermograd verify tells more)."
    return "insufficient", f"It has no {what}."


def _is_damaged(run: Run, kind: str) -> bool:
    files = verify_run(run.path)["files"]
    return any("reason" in each and kind in re.split(r"[/.-]", each["path"]) for each in files)


def _events(data: RunSeries, question: Question) -> Iterator[Row]:
    """Yield whether the gradient norm is unusual before throttling and collapses begin."""
    if question.events and "grad_norm" in question.x and data.step_time_ns.size:
        for test in onset_tests(data, list(data.devices.values()), question.max_lag_s):
            yield _event_row(test) | {"model": model_of(data.devices[test.device])}


def _event_row(found: OnsetsOfEvent) -> Row:
    row = {"kind": "event", "device": found.device, "x": "grad_norm", "y": f"onset of {found.event}"}
    if found.test.reason or not math.isfinite(found.test.p):
        return row | {"verdict": "insufficient", "n": found.test.n_onsets, "error": found.reason}
    effect = float(found.test.effect)
    return row | {
        "verdict": "tested",
        "n": found.test.n_onsets,
        "r": effect if np.isfinite(effect) else None,
        "lag_s": found.test.lag * found.period_s,
        "p": found.test.p,
        "period_s": found.period_s,
    }
