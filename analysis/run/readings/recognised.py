"""What the readings themselves show: uneven clocks, sensors that hold or average, rhythms, slow heat."""

from collections.abc import Iterable, Mapping, Sequence

from thermograd.analysis.display.numbers import seconds_text
from thermograd.analysis.run.pair import Pair
from thermograd.analysis.run.readings.compared import ComparedSignals
from thermograd.analysis.run.readings.time_constants import TimeConstant
from thermograd.store.telling.quantities import duration_text


def recognised(
    compared: Sequence[ComparedSignals],
    pairs: Iterable[Pair],
    constants: Mapping[str, Sequence[TimeConstant]],
) -> list[str]:
    """Return what was recognised in the readings, a sentence each behind the signals that it is about.

    `constants` has the time constants of every device, by its label.
    """
    about: dict[str, list[str]] = {}
    for each in compared:
        for note in each.grid.notes:
            about.setdefault(note, []).append(f"{each.x} ~ {each.y}, {each.device.label}")
    for pair in pairs:
        if pair.cycles_s:
            lengths = " and ".join(map(duration_text, pair.cycles_s))
            note = f"A rhythm of {lengths} that nobody logged was found, and taken out of both signals."
            about.setdefault(note, []).append(f"{pair.x} ~ {pair.y}, {pair.called}")
    lines = [_behind(list(dict.fromkeys(names)), note, len(compared)) for note, names in about.items()]
    return lines + [_slowness(label, found[0]) for label, found in constants.items() if found]


def _behind(names: list[str], note: str, pairs: int) -> str:
    """Return a note behind the pair that it is about: the first of several, none where it is about all."""
    if len(names) == pairs > 1:
        return note
    return f"{names[0]}{f' and {len(names) - 1} more' * (len(names) > 1)}: {note}"


def _slowness(label: str, found: TimeConstant) -> str:
    return (
        f"temperature_c of {label} follows its load with a time constant of {seconds_text(found.tau_s)} "
        f"(95 % {seconds_text(found.low_s)} to {seconds_text(found.high_s)}, from {found.source}, "
        f"n = {found.n:,})."
    )
