"""Which run a resource's readings belong to, and what the run is called.

A resource is one process, or one host, that sends. Two resources are the same run if they agree in all of
`IDENTIFYING` that they have: what changes while a process lives (versions, pods' labels) does not part a run.
With ``--run-by ATTRIBUTE`` everything that agrees in this one attribute is one run: a training and the
hardware under it, each sent by its own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from thermograd.ingest.otlp.attributes import attribute_texts
from thermograd.ingest.otlp.names import RANK_ATTRIBUTES
from thermograd.store.secrets import hidden_values
from thermograd.store.text import printable

IDENTIFYING = (
    *("service.namespace", "service.name", "service.instance.id", "host.id", "host.name", "process.pid"),
    *("container.id", "k8s.pod.uid", "nemo.run.id", "slurm.job.id", "dl.rank", "thermograd.run_id"),
)
_NAMES = ("thermograd.run", "nemo.run.id", "service.name", "host.name")
_LONGEST_NAME = 100


class Resource(NamedTuple):
    """Who sends: what tells it apart, all that it says of itself, and its rank, if it has one."""

    identity: tuple[tuple[str, str], ...]
    attributes: dict[str, str]
    rank: int | None

    @property
    def name(self) -> str:
        """What the run is called."""
        told = next((self.attributes[key] for key in _NAMES if self.attributes.get(key)), "otlp")
        return printable(told, _LONGEST_NAME).removeprefix("unknown_service:") or "otlp"

    @property
    def host(self) -> str | None:
        """The host that it is on, where it says so."""
        return self.attributes.get("host.name") or None

    def facts(self) -> dict[str, Any]:
        """Return what ``run.json`` says of it; without secrets."""
        shown = {printable(key): printable(text) for key, text in self.attributes.items()}
        return {"identity": [list(pair) for pair in self.identity], "resource": hidden_values(shown, [])}


def resource_of(message: Any, run_by: str | None = None) -> Resource:
    """Read the `Resource` of an export."""
    attributes = attribute_texts(message.attributes)
    keys = IDENTIFYING if run_by is None else (run_by,)
    identity = tuple((key, printable(attributes[key])) for key in keys if key in attributes)
    return Resource(identity, attributes, _rank(attributes))


def left_resource(facts: Mapping[str, Any]) -> Resource:
    """Return the resource of a run that an earlier receiver began, as its ``run.json`` has it."""
    told = facts.get("otlp")
    told = told if isinstance(told, dict) else {}
    pairs = told.get("identity") or []
    identity = tuple((str(key), str(text)) for key, text in pairs)
    attributes = {str(key): str(text) for key, text in (told.get("resource") or {}).items()}
    return Resource(identity, attributes, _rank(attributes))


def _rank(attributes: Mapping[str, str]) -> int | None:
    told = next((attributes[key] for key in RANK_ATTRIBUTES if key in attributes), "")
    return int(told) if told.isdecimal() and len(told) < 10 else None
