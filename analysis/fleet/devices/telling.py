"""What a survey found, in words."""

from collections.abc import Iterator

from thermograd.analysis.fleet.devices.counting import KINDS
from thermograd.analysis.fleet.devices.survey import LISTED_Q, BadUnit, Survey
from thermograd.store.telling.quantities import counted
from thermograd.store.text import cell_text, table_text

_MOST_ALSO = 4


def describe_survey(survey: Survey) -> str:
    """Return who stands out, or that nobody does and what could have been seen."""
    lines = [head_sentence(survey), ""]
    lines += [named_sentence(bad) for bad in survey.named] or [none_sentence(survey)]
    lines += ["", *reach_lines(survey)]
    if survey.listed:
        lines += [
            "",
            f"Worth a look (false-discovery rate {LISTED_Q:g}; most such fleets have some by chance)",
        ]
        lines.append(_table(survey.listed))
    lines += [f"Run {cell_text(f['run_id'])} is left out: {cell_text(f['error'])}" for f in survey.failed]
    return "\n".join(lines)


def head_sentence(survey: Survey) -> str:
    """Return what was counted, on what."""
    units = ", ".join(counted(n, level) for level, n in survey.units.items()) or "no device that is known"
    events = "; ".join(f"{KINDS[kind]}: {n:,}" for kind, n in survey.events.items()) or "no event"
    told = f"{counted(survey.runs, 'run')} on {units}; {events}"
    return f"{told}\n{survey.simulated}" if survey.simulated else told


def named_sentence(bad: BadUnit) -> str:
    """Return one sentence about a unit that stands out: its rate ratio with the interval, and the evidence.

    Examples
    --------
    >>> print(named_sentence(BadUnit("device", "GPU-1", "spike", 30, 9.8, 3.1, 2.0, 4.5, .001, .01, 12, ())))
    device GPU-1: 3.1 times its peers' rate of spikes of the gradient norm (95 %: 2 to 4.5)
      30 in 12 runs, 9.8 expected; so far out by chance in 0.001 of fleets without a bad one
    """
    ratio = "all of the" if bad.ratio is None else f"{bad.ratio:.2g} times its peers' rate of"
    high = "no limit" if bad.ratio_high is None else f"{bad.ratio_high:.2g}"
    also = f", or {', '.join(map(cell_text, bad.also[:_MOST_ALSO]))} (the same runs)" if bad.also else ""
    return (
        f"{cell_text(bad.level)} {cell_text(bad.name)}{also}: {ratio} {KINDS[bad.kind]} "
        f"(95 %: {bad.ratio_low:.2g} to {high})\n"
        f"  {bad.events:,} in {counted(bad.runs, 'run')}, {bad.expected:.3g} expected; so far out by chance "
        f"in {_small(bad.p_family)} of fleets without a bad one"
    )


def _small(p: float) -> str:
    return "less than 0.0001" if p < 1e-4 else f"{p:.1g}"


def none_sentence(survey: Survey) -> str:
    """Return the sentence that nothing stands out."""
    if not survey.compared:
        if not survey.events:
            return "Nothing can be said: there was no event that is counted."
        return "Nothing can be said: no two units ran the same, so that none can be compared."
    return f"None stands out ({counted(survey.tests, 'test')}, at most 0.05 of healthy fleets name any)."


def reach_lines(survey: Survey) -> Iterator[str]:
    """Yield by kind what could have been seen: the smallest rate ratio that is named nine times in ten."""
    for kind in survey.events:
        told = [
            f"{row['level']} {'not' if row['ratio'] is None else format(row['ratio'], '.2g') + ' times'}"
            for row in survey.detectable
            if row["kind"] == kind
        ]
        if told:
            yield f"Would be seen from, {KINDS[kind]}: {', '.join(told)} (of middling exposure, 9 in 10)"
    for level, count in survey.units.items():
        if alone := count - survey.compared.get(level, 0):
            yield f"{alone:,} of {counted(count, level)} cannot be compared: none ran the same without them"


def _table(units: list[BadUnit]) -> str:
    columns = ["unit", "kind", "events", "expected", "ratio", "95 %", "q"]
    return table_text(
        columns,
        [
            [
                f"{bad.level} {bad.name}",
                bad.kind,
                f"{bad.events:,}",
                f"{bad.expected:.3g}",
                "-" if bad.ratio is None else f"{bad.ratio:.2g}",
                f"{bad.ratio_low:.2g} to {'-' if bad.ratio_high is None else format(bad.ratio_high, '.2g')}",
                f"{bad.q:.2g}",
            ]
            for bad in units
        ],
    )
