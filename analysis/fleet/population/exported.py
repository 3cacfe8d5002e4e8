"""Anonymous summaries of a population as Parquet: what goes in, what stays out, and reading somebody's.

A row is one model, part and power limit at one condition: how many devices, and quantiles over them. No row
stands on fewer than five devices, and no quantile on fewer than a device on its outer side; numbers have
three digits. Names, hosts, UUIDs, runs, paths, times, trainings and drivers are not in it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from thermograd.analysis.arrays import Floats
from thermograd.analysis.fleet.population.peers import same_as
from thermograd.analysis.fleet.population.standing import Standing, medians, standing_by_count
from thermograd.analysis.fleet.population.summaries import METRICS
from thermograd.store.errors import NotEnoughDataError, ThermogradError, os_errors_as
from thermograd.store.files import whole_file
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.quantities import counted

FEWEST_DEVICES = 5
_LEVELS = (0.01, 0.05, 0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 0.95, 0.99)
_DIGITS = 3
_FORMAT = b"thermograd.population"
# What a maker calls a device, and nothing that a person may have added.
_MODEL = re.compile(
    r"(NVIDIA|Tesla|GeForce|Quadro|AMD|Radeon|Instinct|Intel|Apple|Ampere|ARM|Arm|Neoverse|AWS|Google)"
    r"[A-Za-z0-9 ()®+./@-]{0,60}"
)
_PARTS = re.compile(r"|divided \(MIG\)|MIG part|[0-9]g\.[0-9]+gb(\+me)?")
_SHORTEST_NAME = 3

SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("part", pa.string()),
        ("power_limit_w", pa.float64()),
        ("metric", pa.string()),
        ("cell", pa.float64()),
        ("devices", pa.int64()),
        ("level", pa.list_(pa.float64())),
        ("value", pa.list_(pa.float64())),
    ]
)


@dataclass(frozen=True, slots=True)
class Export:
    """What an export holds and what it leaves out, each with how often."""

    table: pa.Table
    devices: int
    left_out: dict[str, int]

    def lines(self) -> list[str]:
        """Return in sentences what is in the file and what is not."""
        models = sorted(set(self.table["model"].to_pylist()))
        held = f"{counted(self.table.num_rows, 'row')} over {counted(self.devices, 'device')}"
        lines = [
            f"Holds {held}: {', '.join(models) or 'no model'}. Of each model, power limit and condition:"
        ]
        lines += ["  the number of devices and quantiles over them, to three digits."]
        lines += ["Leaves out: names, hosts, UUIDs, runs, paths, times, drivers, trainings."]
        lines += [
            f"Left out, {reason}: {counted(count, 'device')}." for reason, count in self.left_out.items()
        ]
        return lines


def export_of(summaries: pa.Table, runs: Sequence[Run]) -> Export:
    """Return the anonymous form of summaries. Nothing is written."""
    named = _names(runs)
    rows = summaries.select(
        ["identity", "model", "part", "simulated", "power_limit_w", "metric", "cell", "value"]
    )
    verdicts = {
        key: _why_not(*key, named)
        for key in {
            (r["model"], r["part"], r["simulated"])
            for r in rows.select(["model", "part", "simulated"]).to_pylist()
        }
    }
    left_out: dict[str, set[str]] = {}
    cells: dict[tuple[Any, ...], list[tuple[str, float]]] = {}
    for row in rows.to_pylist():
        reason = verdicts[row["model"], row["part"], row["simulated"]]
        if reason:
            left_out.setdefault(reason, set()).add(row["identity"])
        elif not METRICS[row["metric"]].per_training:
            key = tuple(row[name] for name in ("model", "part", "power_limit_w", "metric", "cell"))
            cells.setdefault(key, []).append((row["identity"], row["value"]))
    kept, devices, few = [], set[str](), set[str]()
    for key, found in sorted(cells.items(), key=lambda item: str(item[0])):
        values = medians(np.array([value for _, value in found]), [identity for identity, _ in found])
        if len(values) < FEWEST_DEVICES:
            few |= values.keys()
            continue
        devices |= values.keys()
        kept.append(_row(key, np.array(list(values.values()))))
    if few - devices:
        left_out[f"fewer than {FEWEST_DEVICES} of their model at any condition"] = few - devices
    counts = {reason: len(identities) for reason, identities in sorted(left_out.items())}
    return Export(pa.Table.from_pylist(kept, SCHEMA), len(devices), counts)


def write_export(export: Export, path: Path) -> None:
    """Write an export, whole or not at all. ThermogradError where that cannot be, or it holds nothing."""
    if not export.table.num_rows:
        why = "; ".join(f"{reason}: {counted(count, 'device')}" for reason, count in export.left_out.items())
        raise NotEnoughDataError(f"nothing can be exported ({why or 'no run has a device under load'})")
    with os_errors_as(ThermogradError, f"cannot write {path}"), whole_file(path) as file:
        table = export.table.replace_schema_metadata({_FORMAT: "1"})
        pq.write_table(table, file, compression="zstd", store_schema=False)


def _names(runs: Iterable[Run]) -> set[str]:
    """Return what could tell whose runs these are: no model's name may hold it."""
    names: set[str] = set()
    for run in runs:
        facts = run.facts
        names |= {run.run_id, run.name, str(facts.get("host") or "")}
        names |= {
            str(each.get("host") or "")
            for each in facts.get("devices", {}).values()
            if isinstance(each, dict)
        }
        names |= {str(each.get("host") or "") for each in run.writers()}
    return {name.lower() for name in names if len(name) >= _SHORTEST_NAME}


def _why_not(model: str, part: str, simulated: bool, named: set[str]) -> str:
    """Return why devices of a model are left out; empty where they are not."""
    if simulated:
        return "simulated"
    if not _MODEL.fullmatch(model) or not _PARTS.fullmatch(part):
        return "a model that is no maker's name"
    if any(name in model.lower() for name in named):
        return "a model whose name holds that of a host or a run"
    return ""


def _row(key: tuple[Any, ...], values: Floats) -> dict[str, Any]:
    levels = [level for level in _LEVELS if min(level, 1 - level) * values.size >= 1]
    quantiles = [float(f"{q:.{_DIGITS}g}") for q in np.quantile(values, levels).tolist()]
    named = dict(zip(("model", "part", "power_limit_w", "metric", "cell"), key, strict=True))
    return named | {"devices": values.size, "level": levels, "value": quantiles}


@dataclass(frozen=True, slots=True)
class ExportedCell:
    """Quantiles over the devices of one model at one condition."""

    devices: int
    levels: tuple[float, ...]
    values: tuple[float, ...]

    def standing(self, value: float) -> Standing:
        """Return where a value stands: between two quantiles as many devices are below as is not excluded."""
        values, levels = np.array(self.values), np.array([0.0, *self.levels, 1.0])
        first, last = int((values < value).sum()), int((values <= value).sum())
        low, high = levels[first], levels[last + 1]
        sure, beside = round(low * self.devices), round((high - low) * self.devices)
        return standing_by_count(sure, beside, self.devices)


@dataclass(frozen=True, slots=True)
class Exported:
    """Somebody's exported population."""

    path: Path
    _table: pa.Table

    @classmethod
    def read(cls, path: Path) -> "Exported":
        """Read an exported file; ThermogradError with what is wrong where it is none."""
        try:
            table = pq.read_table(path, partitioning=None)
            table = table.select(SCHEMA.names).cast(SCHEMA)
        except (OSError, pa.ArrowException, KeyError, ValueError) as error:
            raise ThermogradError(
                f"{path} is no exported population ({str(error).splitlines()[0]}); "
                "thermograd population --export FILE writes one"
            ) from error
        for row in table.to_pylist():
            _check(path, row)
        return cls(path, table)

    def cell(self, row: Mapping[str, Any]) -> ExportedCell | None:
        """Return the population that a summary's row is compared with; None where there is none."""
        names = ("model", "part", "power_limit_w", "metric", "cell")
        found = self._table.filter(same_as(row, names)).to_pylist()
        if not found:
            return None
        return ExportedCell(found[0]["devices"], tuple(found[0]["level"]), tuple(found[0]["value"]))


def _check(path: Path, row: Mapping[str, Any]) -> None:
    levels, values = row["level"] or [], row["value"] or []
    numbers = np.array([*levels, *values], dtype=np.float64)
    is_sound = len(levels) == len(values) and bool(np.isfinite(numbers).all())
    ascend = all(np.all(np.diff(each) >= 0) for each in (levels, values))
    if not (
        is_sound and ascend and (row["devices"] or 0) >= FEWEST_DEVICES and all(0 < q < 1 for q in levels)
    ):
        raise ThermogradError(
            f"{path} has a row of {row['model']!r} whose quantiles do not make sense: {levels}, {values}, "
            f"{row['devices']} devices; expected as many ascending values as levels, and 5 devices at least"
        )
