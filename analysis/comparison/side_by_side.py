"""What differs between runs, in words and rows: for the terminal, the page and a notebook."""

from collections.abc import Sequence

from thermograd.analysis.comparison.compared_runs import ComparedRun
from thermograd.analysis.comparison.differences import Differences, LossesApart, Measured
from thermograd.analysis.display.numbers import DASH, shown_number

_MOST_ROWS = 40
_MOST_CHARACTERS = 60
_BESIDE = "temperature at equal power"


def losses_lines(found: Differences, runs: Sequence[ComparedRun]) -> list[str]:
    """Return a sentence for each later run: where its losses part from the first run's."""
    places = {run.run_id: place for place, run in enumerate(runs, 1)}
    return [_losses_line(each, places[each.run_id]) for each in found.losses]


def _losses_line(apart: LossesApart, place: int) -> str:
    both, common = f"runs 1 and {place}", apart.common_steps
    if not common:
        return f"R{both[1:]} have no step with a loss in common."
    if apart.first_different is None:
        every = f"all {common:,} steps" if common > 1 else "the one step"
        return f"The losses of {both} are equal to the last bit in {every} that both have."
    start = f"The losses of {both} differ from step {apart.first_different:,}"
    if apart.equal_until is not None:
        equal = f"equal to the last bit up to step {apart.equal_until:,}"
        start = f"The losses of {both} are {equal} and part at step {apart.first_different:,}"
    by = "" if apart.relative is None else f" (there by {apart.relative:.2g} of the loss)"
    if apart.first_apart is None:
        return f"{start}{by}, never by more than 1 %."
    later = apart.first_apart != apart.first_different
    return f"{start}{by}{f', by more than 1 % from step {apart.first_apart:,}' * later}."


def settings_rows(found: Differences) -> tuple[list[tuple[str, ...]], int]:
    """Return (group, name, value of each run) of the settings that differ, and how many were left out."""
    rows = [
        (each.group, each.name, *(DASH if v is None else shortened_value(v) for v in each.values))
        for each in found.settings[:_MOST_ROWS]
    ]
    return rows, max(0, len(found.settings) - _MOST_ROWS)


def shortened_value(text: str) -> str:
    """Return the two ends of a text that is too long: a path differs at its end, a command anywhere."""
    if len(text) <= _MOST_CHARACTERS:
        return text
    half = _MOST_CHARACTERS // 2 - 1
    return f"{text[:half]}…{text[-half:]}"


def measured_rows(found: Differences) -> list[tuple[str, ...]]:
    """Return (where, what, value of each run) of what was measured."""
    return [
        (each.role, each.name + (f", {each.unit.replace('degC', '°C')}" if each.unit else ""), *_values(each))
        for each in found.measured
    ]


def measured_note(found: Differences) -> str:
    """Return what explains the rows of `measured_rows` that are there; empty where none needs it."""
    names = [each.name for each in found.measured]
    notes = ["Medians are of the time of training."] * any(name.endswith(", median") for name in names)
    if _BESIDE in names:
        notes.append(
            "At equal power: the mean difference to run 1 over the power that both had, after the warm-up; "
            "a negative number is a cooler device."
        )
    return " ".join(notes)


def _values(each: Measured) -> list[str]:
    if each.name == _BESIDE:
        return ["run 1", *(shown_number(value, "+.1f") for value in each.values[1:])]
    if each.unit in ("degC", "W", "%"):
        return [shown_number(value, ".1f") for value in each.values]
    return [shown_number(value, ",.0f" if each.unit == "MHz" else ".4g") for value in each.values]
