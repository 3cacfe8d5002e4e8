"""The hosts that a run was on, and how their people call them: from the facts of its writers."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from thermograd.store.labels.given import MOST_LABELS
from thermograd.store.processes import rank_of_writer
from thermograd.store.text import cell_text

_MOST_HOSTS = 8  # lines


class WriterPlace(NamedTuple):
    """Where a writer of a run was: its host, what it wrote for, its rank, the host's labels."""

    writer: str
    role: str | None
    host: str | None
    rank: int | None
    labels: dict[str, str]


def writer_places(writers: Iterable[Mapping[str, Any]]) -> Iterator[WriterPlace]:
    """Yield where each writer of a run was, from what each left about itself (`Run.writers`)."""
    for facts in writers:
        writer = facts.get("writer")
        if isinstance(writer, str):
            labels = _labels(facts.get("labels", {}))
            yield WriterPlace(writer, facts.get("role"), facts.get("host"), rank_of_writer(writer), labels)


def _labels(given: Mapping[str, Any]) -> dict[str, str]:
    """Return labels that are text: the file may be anybody's."""
    known = {name: value for name, value in given.items() if isinstance(value, str) and value}
    return dict(list(known.items())[:MOST_LABELS])


def labels_by_host(writers: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the labels of each host of a run that has some."""
    return {place.host or "unknown": place.labels for place in writer_places(writers) if place.labels}


def label_lines(by_host: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return each host with its labels as a line of ``show``; many hosts after the first few.

    Examples
    --------
    >>> label_lines({"n1": {"rack": "r12", "switch": "s3"}})
    ['  labels   n1: rack r12, switch s3']
    """
    lines = []
    for host, labels in sorted(by_host.items()):
        told = ", ".join(f"{cell_text(name)} {cell_text(value)}" for name, value in labels.items())
        lines.append(f"  labels   {cell_text(host)}: {told}")
    more = len(lines) - _MOST_HOSTS
    return lines[:_MOST_HOSTS] + [f"  and {more:,} more hosts: see the view labels"] * (more > 0)
