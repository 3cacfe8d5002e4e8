"""What the other nodes of a job have shipped of a run, by their manifests: its row is of all nodes."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from thermograd.store.errors import NotThereError
from thermograd.store.files import told_by_name
from thermograd.store.places.place import Place
from thermograd.store.processes import rank_of_writer
from thermograd.store.telling.devices import devices_label

_MOST_WRITERS = 256  # whose manifests are read: of a larger job the row is of the node that describes it


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
