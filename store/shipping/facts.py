"""The small files of a run at a place: its facts, its writers, their manifests, its row in the catalogue."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from thermograd.store.errors import NotThereError
from thermograd.store.files import read_json, told_by_name, writer_files
from thermograd.store.places.place import Place
from thermograd.store.processes import rank_of_writer
from thermograd.store.runs.catalogue import Run
from thermograd.store.telling.devices import devices_label

_MOST_WRITERS = 256  # whose manifests are read: of a larger job the row is of the node that describes it
_OF_ALL_NODES = ("devices", "devices_absent", "sampling")


class SmallFiles:
    """Writes the small files of one run, each when its content has changed."""

    def __init__(self, place: Place, run_id: str) -> None:
        self._place, self._run_id = place, run_id
        self._written: dict[str, bytes] = {}
        self._others = OtherNodes(place, run_id)
        self._devices: dict[str, Any] = {}

    def _put(self, name: str, value: Any) -> None:
        data = (json.dumps(value, indent=2, default=str) + "\n").encode()
        if self._written.get(name) != data:
            self._place.put(name, data)
            self._written[name] = data

    def _read(self, name: str) -> dict[str, Any]:
        try:
            value = json.loads(self._place.get(name))
        except (NotThereError, ValueError):
            return {}
        return value if isinstance(value, dict) else {}

    def describe(self, run_dir: Path) -> None:
        """Write ``run.json``, together with what the other nodes of a job say there, and who writes."""
        ours = read_json(run_dir / "run.json")
        if ours:
            name = f"{self._run_id}/run.json"
            theirs = self._read(name)
            both = together(theirs, ours)
            self._devices = both.get("devices", {})
            if both != theirs:
                self._written.pop(name, None)
                self._put(name, both)
        for path in writer_files(run_dir):
            self._put(f"{self._run_id}/writers/{path.name}", read_json(path))
        if tags := read_json(run_dir / "tags.json"):
            self._place.put(f"{self._run_id}/tags.json", _bytes(tags), create_only=True)

    def files_told(self, writer: str) -> dict[str, dict[str, Any]]:
        """Return what the manifest of a writer says of its files, by name."""
        files = self._read(f"{self._run_id}/shipped/{writer}.json").get("files")
        told = files if isinstance(files, list) else []
        return {item["name"]: item for item in told if isinstance(item, dict) and "name" in item}

    def tell_files(
        self, writer: str, files: Iterable[Mapping[str, Any]], shipped_until_ns: int, ended: bool
    ) -> None:
        """Write the manifest of a writer."""
        ordered = sorted(files, key=lambda item: str(item["name"]))
        told = {"run_id": self._run_id, "writer": writer, "files": ordered}
        self._put(
            f"{self._run_id}/shipped/{writer}.json",
            {"format_version": 1} | told | {"shipped_until_ns": shipped_until_ns, "ended": ended},
        )

    def enter(self, run_dir: Path, shipped_until_ns: int) -> None:
        """Write the run's row into the catalogue, from the node that describes the run."""
        from thermograd.store.runs.table import RunRow

        run = Run(run_dir)
        if describes(run.facts):
            entry = RunRow(run).to_entry() | {"shipped_until_ns": shipped_until_ns}
            if _is_of_several(run.facts):
                ours = {path.stem for path in writer_files(run_dir)}
                entry = self._others.added_to(entry, ours, self._devices)
            self._put(f"_catalogue/entries/{self._run_id}.json", entry)


def describes(facts: Mapping[str, Any]) -> bool:
    """Return whether ``run.json`` is of the process that describes the run: rank 0 of its job."""
    job = facts.get("job")
    rank = job.get("rank") if isinstance(job, dict) else None
    return bool(facts) and rank in (None, 0)


def _is_of_several(facts: Mapping[str, Any]) -> bool:
    """Return whether a run is of a job of several processes, which may be on several nodes."""
    job = facts.get("job")
    size = job.get("world_size") if isinstance(job, dict) else None
    return isinstance(size, int) and size > 1


def together(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return the facts of a run from what several nodes say: rank 0's, and the devices of all."""
    under, over = (theirs, ours) if describes(ours) else (ours, theirs)
    both = {**under, **over}
    for name in _OF_ALL_NODES:
        parts = [part[name] for part in (under, over) if isinstance(part.get(name), dict)]
        if parts:
            both[name] = {key: value for part in parts for key, value in part.items()}
    return both


def _bytes(value: Any) -> bytes:
    return (json.dumps(value, indent=2, default=str) + "\n").encode()


class OtherNodes:
    """The manifests of a run that other nodes write, each read when it has changed."""

    def __init__(self, place: Place, run_id: str) -> None:
        self._place, self._folder = place, f"{run_id}/shipped"
        self._known: dict[str, tuple[str, Counter[str]]] = {}

    def added_to(self, row: Mapping[str, Any], ours: set[str], devices: Mapping[str, Any]) -> dict[str, Any]:
        """Return a run's row with the events and ranks of other writers than ours, and the devices of all."""
        others = self._counts(ours)
        events = Counter(row["events"])
        for counts in others.values():
            events.update(counts)
        ranks = {rank_of_writer(writer) for writer, counts in others.items() if counts["step"]} - {None}
        told = {"events": dict(events), "samples": events["sample"], "alerts": events["alert"]}
        told |= {"devices": sorted(devices), "devices_label": devices_label(devices)}
        return {**row, **told, "ranks": row["ranks"] + len(ranks)}

    def _counts(self, ours: set[str]) -> dict[str, Counter[str]]:
        listed = {entry.name.rpartition("/")[2].removesuffix(".json"): entry for entry in self._listed()}
        others = {writer: entry for writer, entry in listed.items() if writer not in ours}
        if len(others) > _MOST_WRITERS:
            return {}
        for writer, entry in others.items():
            if self._known.get(writer, ("",))[0] != entry.etag:
                self._known[writer] = (entry.etag, self._count(entry.name))
        return {writer: self._known[writer][1] for writer in others}

    def _listed(self) -> Iterable[Any]:
        return [entry for entry in self._place.list(self._folder) if entry.name.endswith(".json")]

    def _count(self, name: str) -> Counter[str]:
        try:
            return events_of(json.loads(self._place.get(name))["files"])
        except (NotThereError, ValueError, TypeError, KeyError):
            return Counter()


def events_of(files: Iterable[Mapping[str, Any]]) -> Counter[str]:
    """Return the number of events by kind in the files of a manifest; those that two hold count once."""
    spans = []
    for file in files:
        _, kind, name = file["name"].split("/")
        if (told := told_by_name(name)) is not None:
            spans.append((kind, *told[1:]))
    counts: Counter[str] = Counter()
    for kind, of_kind in groupby(sorted(spans), itemgetter(0)):
        next_seq = 0
        for _, first, last in of_kind:
            counts[kind] += max(0, last + 1 - max(first, next_seq))
            next_seq = max(next_seq, last + 1)
    return counts
