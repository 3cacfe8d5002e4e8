"""What the readings themselves show: uneven clocks, sensors that hold or average, rhythms, slow heat."""

from collections.abc import Iterable, Sequence

from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.series import ComparedSignals, Device, RunSeries
from thermograd.analysis.run.time_constants import time_constants_s


def recognised(
    data: RunSeries, devices: Iterable[Device], compared: Sequence[ComparedSignals], pairs: Iterable[Pair]
) -> list[str]:
    """Return what was recognised in the readings, a sentence each behind the signals that it is about."""
    about: dict[str, list[str]] = {}
    for each in compared:
        for note in each.grid.notes:
            about.setdefault(note, []).append(f"{each.x} ~ {each.y}, {each.device.label}")
    for pair in pairs:
        if pair.cycles_s:
            lengths = " and ".join(f"{length:.3g} s" for length in pair.cycles_s)
            note = f"A rhythm of {lengths} that nobody logged was found, and taken out of both signals."
            about.setdefault(note, []).append(f"{pair.x} ~ {pair.y}, {pair.device}")
    lines = [_behind(list(dict.fromkeys(names)), note, len(compared)) for note, names in about.items()]
    return lines + [line for device in devices for line in _time_constants(data, device)]


def _behind(names: list[str], note: str, pairs: int) -> str:
    """Return a note behind the pair that it is about: the first of several, none where it is about all."""
    if len(names) == pairs > 1:
        return note
    return f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {note}"


def _time_constants(data: RunSeries, device: Device) -> list[str]:
    """Return how slowly the temperature of a device follows its load, where a step of the load shows it."""
    return [
        f"temperature_c of {device.label} follows its load with a time constant of {found.tau_s:.2g} s "
        f"(95 % {found.low_s:.2g} to {found.high_s:.2g} s, from {found.source}, n = {found.n:,})."
        for found in time_constants_s(data, device)[:1]
    ]
