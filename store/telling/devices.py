"""What a device is called for a person: index, model, the beginning of its UUID, and host where it matters.

One rule for every place that names a device. The names in the log (``GPU-<uuid>``, ``gpu3``, ``node7:gpu0``,
``cpu``, ``simulated:dc``) stay what SQL and programs read. `devices` is always what ``run.json`` says of all
devices of a run, by these names: only among the others is it clear what tells a device apart.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from thermograd.store.text import printable

Devices = Mapping[str, Mapping[str, Any]]

_UUID = re.compile(r"(?P<kind>GPU|MIG)-(?P<uuid>[0-9A-Za-z][0-9A-Za-z-]*)(?:/(?P<part>\w+))?")
_NUMBERED = re.compile(r"(?:(?P<host>.+):)?gpu ?(?P<index>\d{1,4})(?:/(?P<part>\w+))?", re.IGNORECASE)
_SHORTEST_UUID = 4
_LONGEST, _LONGEST_PART = 96, 40
_FEWEST_SHARED = 2  # devices that a list tells by their model and number
_LAST_INDEX = 10**9
_MARKS = re.compile(r"\((?:R|TM|C)\)|[®™©]", re.IGNORECASE)
_MAKERS = re.compile(
    r"(?:\d+th Gen |Genuine |NVIDIA |Tesla |GeForce |Quadro |AMD |ATI |Instinct |Intel )+", re.IGNORECASE
)
_EQUIPMENT = re.compile(
    r"[ -](?:\d+ ?GB|HBM\w*|SXM\d*|PCIe|NVL|OAM|CPU|(?-i:GPU)|\d+-Core|Processor|@.*|w/ .*|with .*)(?![^ -])",
    re.IGNORECASE,
)


class _Parts(NamedTuple):
    """What is known of a device: what a person calls it by."""

    name: str
    host: str | None
    number: int | None
    uuid: str | None
    part: str | None  # of a GPU that is divided (MIG)
    is_gpu: bool
    is_simulated: bool
    model: str | None


def short_model(model: str) -> str:
    """Return a model without its maker, memory and form.

    Examples
    --------
    >>> [short_model(m) for m in ("NVIDIA H100 80GB HBM3", "Tesla V100-SXM2-16GB", "GeForce RTX 4090")]
    ['H100', 'V100', 'RTX 4090']
    >>> [short_model(m) for m in ("AMD EPYC 7763 64-Core Processor", "Intel(R) Xeon(R) 6338 CPU @ 2GHz")]
    ['EPYC 7763', 'Xeon 6338']
    """
    text = " ".join(_MARKS.sub("", printable(model)).split())
    short = " ".join(_EQUIPMENT.sub("", _MAKERS.sub("", text, count=1)).split()).strip(" -,")
    return printable(text if short in ("", "GPU", "CPU") else short, _LONGEST_PART)


def is_simulated(device: str, facts: Mapping[str, Any] | None = None) -> bool:
    """Return whether a device's readings come from a model, by its name or its facts."""
    return device.startswith("simulated:") or bool((facts or {}).get("simulated"))


def simulated_among(runs: Sequence[Devices]) -> str:
    """Return the sentence that runs, given by their devices, have simulated ones; empty where none has.

    Examples
    --------
    >>> simulated_among([{"simulated:gpu": {}}, {"GPU-a1": {}}])
    'SIMULATED: devices of 1 of 2 runs.'
    """
    count = sum(any(is_simulated(name, facts) for name, facts in devices.items()) for devices in runs)
    return f"SIMULATED: devices of {count:,} of {len(runs):,} runs." if count else ""


def device_labels(devices: Devices) -> dict[str, str]:
    """Return what each device is called for a person, each name once; in the order that `device_order` has.

    Examples
    --------
    >>> h100 = {"model": "NVIDIA H100 80GB HBM3"}
    >>> gpus = {"GPU-3f2a77": h100 | {"index": 3}, "GPU-3f2b01": h100 | {"index": 4}, "GPU-a1": h100}
    >>> list(device_labels(gpus | {"cpu": {"model": "AMD EPYC 7763"}, "simulated:dc": {}}).values())
    ['GPU 3 (H100, 3f2a)', 'GPU 4 (H100, 3f2b)', 'GPU a1 (H100)', 'simulated:dc', 'cpu (EPYC 7763)']
    >>> device_labels({"a:gpu0": {}, "GPU-9c/1": {"index": 0, "host": "b"}})
    {'a:gpu0': 'GPU 0 on a', 'GPU-9c/1': 'GPU 0 MIG 1 on b (9c)'}
    """
    known = [_parts(name, devices[name]) for name in device_order(devices)]
    has_hosts = len({p.host for p in known if p.host is not None}) > 1
    digits = _telling_digits({p.uuid for p in known if p.uuid})
    models = _telling_models(known)
    labels = {p.name: _label(p, has_hosts, digits, models) for p in known}
    return _told_apart(labels)


def device_label(device: str, devices: Devices) -> str:
    """Return what one of a run's devices is called for a person; it may be one that is not in there."""
    return device_labels({**devices, device: devices.get(device, {})})[device]


def device_order(devices: Iterable[str] | Devices) -> list[str]:
    """Return names of devices in the order for people: GPUs by host and index, simulated ones, others."""
    facts = devices if isinstance(devices, Mapping) else {name: {} for name in devices}

    def place(name: str) -> tuple[Any, ...]:
        part = _parts(name, facts[name])
        rank = 2 if not part.is_gpu and not part.is_simulated else int(part.is_simulated)
        index = part.number if part.number is not None else _LAST_INDEX
        return rank, name == "cpu", part.host or "", index, name

    return sorted(facts, key=place)


def devices_label(devices: Devices) -> str:
    """Return a run's devices in a few words, those of one model together.

    Examples
    --------
    >>> node = {f"GPU-{i}f{i}": {"model": "NVIDIA H100 80GB HBM3", "index": i} for i in range(8)}
    >>> devices_label(node | {"cpu": {"model": "AMD EPYC 7763"}})
    '8 x H100 (GPU-0f..), cpu'
    >>> devices_label({"gpu0": {}, "gpu1": {}}), devices_label({"gpu0": {}}), devices_label({})
    ('2 x GPU', 'GPU 0', '')
    """
    labels = device_labels(devices)
    groups: dict[str, list[_Parts]] = {}
    for name in labels:
        part = _parts(name, devices[name])
        groups.setdefault(_family(part), []).append(part)
    texts = []
    for family, parts in groups.items():
        if len(parts) >= _FEWEST_SHARED:
            texts.append(f"{len(parts)} x {family}{_where(parts)}")
        else:
            texts.append("cpu" if family == "cpu" else labels[parts[0].name])
    return ", ".join(texts)


def _family(part: _Parts) -> str:
    """Return what devices have in common that a list takes together; the name of one that stands alone."""
    if part.is_simulated:
        return "simulated GPU"
    if not part.is_gpu:
        return part.name
    return short_model(part.model) if part.model else "GPU"


def _where(parts: list[_Parts]) -> str:
    hosts = {part.host for part in parts if part.host is not None}
    if len(hosts) > 1:
        return f" on {len(hosts)} hosts"
    return f" (GPU-{parts[0].uuid[:2]}..)" if parts[0].uuid else ""


def _parts(name: str, facts: Mapping[str, Any]) -> _Parts:
    by_uuid, numbered = _UUID.fullmatch(name), _NUMBERED.fullmatch(name)
    index, host, model = facts.get("index"), facts.get("host"), facts.get("model")
    if numbered is not None:
        index = int(numbered["index"]) if index is None else index
        host = host or numbered["host"]
    found = by_uuid or numbered
    part = found["part"] if found is not None else None
    if by_uuid is not None and by_uuid["kind"] == "MIG":
        part = part or ""
    return _Parts(
        name,
        printable(host, _LONGEST_PART) if isinstance(host, str) and host else None,
        index if isinstance(index, int) and not isinstance(index, bool) else None,
        by_uuid["uuid"] if by_uuid is not None else None,
        part,
        found is not None,
        is_simulated(name, facts),
        model if isinstance(model, str) and model.strip() else None,
    )


def _telling_digits(uuids: Iterable[str]) -> int:
    """Return how many characters of the UUIDs it takes to tell them apart, four at least."""
    known = set(uuids)
    longest = max(map(len, known), default=0)
    lengths = range(_SHORTEST_UUID, max(longest, _SHORTEST_UUID) + 1)
    return next(n for n in lengths if n >= longest or len({uuid[:n] for uuid in known}) == len(known))


def _telling_models(known: Iterable[_Parts]) -> dict[str, str]:
    """Return what each model is called: short, unless another model would be called the same."""
    models = {part.model for part in known if part.model is not None}
    counts = Counter(map(short_model, models))
    return {m: short_model(m) if counts[short_model(m)] == 1 else printable(m, _LONGEST_PART) for m in models}


def _label(part: _Parts, has_hosts: bool, digits: int, models: Mapping[str, str]) -> str:
    if part.name.startswith("simulated:"):
        return printable(part.name, _LONGEST)
    short = part.uuid[:digits].rstrip("-") if part.uuid else None
    title, beside = _title(part, short)
    if has_hosts and part.host is not None:
        title += f" on {part.host}"
    inside = [models[part.model] if part.model else None, beside]
    if part.is_simulated and "simulated" not in part.name and "simulated" not in str(inside[0]):
        inside.append("simulated")
    told = ", ".join(text for text in inside if text)
    return printable(f"{title} ({told})" if told else title, _LONGEST)


def _title(part: _Parts, short: str | None) -> tuple[str, str | None]:
    """Return how a device is called, and the beginning of its UUID where that is not in it."""
    if not part.is_gpu:
        return printable(part.name, _LONGEST_PART), None
    mig = "" if part.part is None else f" MIG {part.part}".rstrip()
    if part.number is not None:
        return f"GPU {part.number}{mig}", short
    return f"GPU{mig} {short}" if short else f"GPU{mig}", None


def _told_apart(labels: Mapping[str, str]) -> dict[str, str]:
    """Add the names in the log, or else numbers, where two devices would be called the same."""
    counts = Counter(labels.values())
    told: dict[str, str] = {}
    for name, label in labels.items():
        text = label if counts[label] == 1 else f"{label} {printable(name, _LONGEST_PART)}"
        taken = set(told.values())
        told[name] = next(
            t for t in (text, *(f"{text} #{n}" for n in range(2, len(labels) + 2))) if t not in taken
        )
    return told
