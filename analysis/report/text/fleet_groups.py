"""Groups of runs side by side in words, for a terminal."""

import math
from collections.abc import Sequence

from thermograd.analysis.fleet.groups import FEWEST, MEASURES, Group, GroupComparison, GroupDifference
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable, table_text

_MOST_GROUPS, _MOST_DIFFERENCES, _MOST_ERRORS = 30, 20, 5


def describe_groups(found: GroupComparison) -> str:
    """Return groups as text: a table of their means, then where they differ from the largest."""
    runs = sum(group.runs for group in found.groups)
    lines = [f"{counted(runs, 'run')} in {counted(len(found.groups), 'group')} by {found.by}"]
    lines += [*filter(None, [found.simulated]), ""]
    lines.append(_table(found))
    if len(found.groups) > _MOST_GROUPS:
        lines.append(f"and {len(found.groups) - _MOST_GROUPS} more: in --json")
    repeats = sum(group.repeats for group in found.groups)
    if repeats:
        lines += ["", f"{counted(repeats, 'run')} repeat another's training and count once, as that."]
    lines += ["", *_differences(found)]
    if found.errors:
        lines += ["", f"{counted(len(found.errors), 'run')} could not be read"]
        lines += [f"  {printable(k)}: {printable(v, 300)}" for k, v in [*found.errors.items()][:_MOST_ERRORS]]
    return "\n".join(lines)


def _table(found: GroupComparison) -> str:
    known = [name for name in MEASURES if any(name in group.measures for group in found.groups)]
    header = [found.by, "runs", *(f"{name}" for name in known)]
    shown = found.groups[:_MOST_GROUPS]
    rows = [
        [printable(group.name, 60), str(group.runs), *(_mean(group, name) for name in known)]
        for group in shown
    ]
    return table_text(header, rows, right=header[1:])


def _mean(group: Group, name: str) -> str:
    if name not in group.measures:
        return "-"
    mean, sd, _ = group.measures[name]
    return f"{mean:.4g}" if math.isnan(sd) else f"{mean:.4g} ± {sd:.2g}"


def _differences(found: GroupComparison) -> list[str]:
    if not found.differences:
        return [f"CANNOT TELL whether groups differ: {_why_none_is_compared(found.groups)}."]
    if not found.found:
        return [
            f"CANNOT TELL groups apart: none of {len(found.differences)} differences from "
            f"{printable(found.groups[0].name, 60)} stands out after control of false discoveries."
        ]
    first = (
        f"{counted(len(found.found), 'difference')} from {printable(found.groups[0].name, 60)} "
        f"(of {len(found.differences)}; Welch's t, Benjamini-Yekutieli at .05)"
    )
    lines = [first, *map(_difference, found.found[:_MOST_DIFFERENCES])]
    more = len(found.found) - _MOST_DIFFERENCES
    return [*lines, f"  and {more} more: in --json"] if more > 0 else lines


def _why_none_is_compared(groups: Sequence[Group]) -> str:
    trainings = [group.runs - group.repeats for group in groups]
    if len(groups) < 2:
        return "there is only one"
    if max(trainings) < FEWEST:
        return f"none has {FEWEST} different trainings"
    if trainings[0] < FEWEST:
        return f"the largest, which all are compared with, has {counted(trainings[0], 'different training')}"
    if max(trainings[1:]) < FEWEST:
        return f"none but the largest has {FEWEST} different trainings"
    return f"no number is known of {FEWEST} trainings both in the largest and in another, and varies"


def _difference(each: GroupDifference) -> str:
    unit = f" {MEASURES[each.measure]}".rstrip()
    return (
        f"  {printable(each.group, 60)}: {each.measure} {each.difference:+.4g}{unit} "
        f"[{each.low:+.4g}, {each.high:+.4g}], q {each.q:.2g}"
    )
