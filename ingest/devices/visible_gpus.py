"""Which GPUs a job may use: ``CUDA_VISIBLE_DEVICES`` as indices, UUIDs, UUID prefixes or MIG names.

NVML shows every GPU of the machine; CUDA shows a job those that this variable names. An index there is
one of *CUDA's* order, which by default (``CUDA_DEVICE_ORDER=FASTEST_FIRST``) puts the fastest GPU first,
while NVML counts in PCI order. The two agree where all GPUs are of one model; where they are not, an
index cannot be translated, and all GPUs are sampled rather than a wrong one.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Gpu(NamedTuple):
    """A GPU as NVML names it, in NVML's (PCI) order."""

    uuid: str
    model: str


class Selection(NamedTuple):
    """Positions of the GPUs to sample, and a sentence where that is not simply what was asked for."""

    indices: tuple[int, ...]
    note: str | None


def select_gpus(
    gpus: Sequence[Gpu], environment: Mapping[str, str], mig_parent: Callable[[str], str | None]
) -> Selection:
    """Choose the GPUs, given in NVML's order, that a job with this environment uses.

    `mig_parent` returns the UUID of the GPU that a MIG device (``MIG-<uuid>``) is part of, or None. As in
    CUDA, the list ends at the first entry that names no GPU, and an empty one means none.
    ``NVIDIA_VISIBLE_DEVICES`` is the container runtime's: what it hides NVML does not show either, and
    its indices count the host's GPUs, so only ``none`` and UUIDs are taken from it.
    """
    everything = _of_container(gpus, environment.get("NVIDIA_VISIBLE_DEVICES"))
    wanted = environment.get("CUDA_VISIBLE_DEVICES")
    if wanted is None or not everything:
        return Selection(everything, None if everything else "NVIDIA_VISIBLE_DEVICES names no GPU")
    entries = [entry.strip() for entry in wanted.split(",")]
    by_index = any(entry.isdecimal() for entry in entries)
    models = {gpus[i].model for i in everything}
    if by_index and len(models) > 1 and environment.get("CUDA_DEVICE_ORDER") != "PCI_BUS_ID":
        return Selection(
            everything,
            f"CUDA_VISIBLE_DEVICES={wanted} counts in CUDA's order, which for different models is not "
            "NVML's; all GPUs are sampled (set CUDA_DEVICE_ORDER=PCI_BUS_ID, or name UUIDs, to choose)",
        )
    chosen = _chosen(gpus, everything, entries, mig_parent)
    if not chosen:
        return Selection((), f"CUDA_VISIBLE_DEVICES={wanted!r} names none of {len(everything)} GPUs")
    ranks = environment.get("LOCAL_WORLD_SIZE", "1")
    if ranks.isdecimal() and int(ranks) > len(chosen) and len(everything) > len(chosen):
        return Selection(
            everything,
            f"CUDA_VISIBLE_DEVICES={wanted} is one rank's own, of {ranks} on this node; all GPUs are sampled",
        )
    return Selection(tuple(chosen), None)


def _of_container(gpus: Sequence[Gpu], value: str | None) -> tuple[int, ...]:
    everything = tuple(range(len(gpus)))
    if value is None:
        return everything
    if value.strip() == "none":
        return ()
    names = [entry.strip() for entry in value.split(",") if entry.strip().startswith("GPU-")]
    return tuple(i for i in everything if any(gpus[i].uuid.startswith(name) for name in names)) or everything


def _chosen(
    gpus: Sequence[Gpu],
    everything: Sequence[int],
    entries: Sequence[str],
    mig_parent: Callable[[str], str | None],
) -> list[int]:
    chosen: list[int] = []
    for entry in entries:
        position = _position(gpus, everything, entry, mig_parent)
        if position is None:
            break
        if position not in chosen:  # two MIG devices of one GPU
            chosen.append(position)
    return chosen


def _position(
    gpus: Sequence[Gpu], everything: Sequence[int], entry: str, mig_parent: Callable[[str], str | None]
) -> int | None:
    """Return the position of the GPU that one entry names, None where it names none or several."""
    if entry.isdecimal():
        return everything[int(entry)] if int(entry) < len(everything) else None
    if entry.startswith("MIG-"):
        old_style = entry.removeprefix("MIG-").partition("/")[0]  # MIG-GPU-<uuid>/<instance>/<instance>
        entry = old_style if old_style.startswith("GPU-") else mig_parent(entry) or ""
    if not entry.startswith("GPU-"):
        return None
    fitting = [i for i in everything if gpus[i].uuid.lower().startswith(entry.lower())]
    return fitting[0] if len(fitting) == 1 else None
