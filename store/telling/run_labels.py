"""What runs are called beside each other: short, each label once, a copy said to be one."""

from collections import Counter
from collections.abc import Mapping, Sequence

from thermograd.store.text import printable

_LONGEST = 32
_WORD_ENDS = " -_/,"
_ID_END = 4  # letters that end a run's id, drawn by chance
_FEWEST = 8  # letters of which a name is left with both its ends


def run_labels(
    runs: Sequence[tuple[str, str]], copies: Mapping[int, int] | None = None, longest: int = _LONGEST
) -> list[str]:
    """Return a label for each run, no two alike and none much longer than `longest`.

    Of names that are too long what all begin or end with is left out; runs of one name have the end of their
    id behind it, and those that even share that their place, from 1.

    Parameters
    ----------
    runs
        Id and name of each.
    copies
        By place of a run that repeats another's training, from 0, the place of that one.
    longest
        Letters of a name.

    Examples
    --------
    >>> run_labels([("20261125-202148-a-b22b", "a"), ("20261125-202149-a-91c0", "a"), ("x-0001", "b")])
    ['a b22b', 'a 91c0', 'b']
    >>> run_labels([("i1", "sweep-of-rates-3e-4"), ("i2", "sweep-of-rates-1e-4")], longest=12)
    ['…3e-4', '…1e-4']
    >>> run_labels([("i1", "base"), ("i1", "base")], copies={1: 0})
    ['base', 'base (copy of run 1)']
    """
    names = [printable(name).strip() or printable(run_id) for run_id, name in runs]
    short = _shortened(names, longest)
    ends = [f"{name} {printable(run_id[-_ID_END:])}" for name, (run_id, _) in zip(short, runs, strict=True)]
    of = copies or {}
    copied = [f" (copy of run {of[place] + 1})" if place in of else "" for place in range(len(runs))]
    ends, labels = (_behind(each, copied) for each in (ends, short))
    labels = _where_alike(labels, ends)
    labels = _where_alike(labels, [f"{label} #{place}" for place, label in enumerate(labels, 1)])
    if len(set(labels)) < len(labels):  # a name may look like another one with its place
        labels = [f"{place}: {label}" for place, label in enumerate(labels, 1)]
    return labels


def _behind(labels: Sequence[str], more: Sequence[str]) -> list[str]:
    return [f"{label}{text}" for label, text in zip(labels, more, strict=True)]


def _where_alike(labels: Sequence[str], instead: Sequence[str]) -> list[str]:
    count = Counter(labels)
    return [other if count[label] > 1 else label for label, other in zip(labels, instead, strict=True)]


def _shortened(names: Sequence[str], longest: int) -> list[str]:
    """Return names without what all of them share at either end, where any is too long."""
    if all(len(name) <= longest for name in names):
        return list(names)
    different = list(dict.fromkeys(names))
    first, last = _shared(different) if len(different) > 1 else (0, 0)
    if max(len(name) - first for name in names) < longest:
        last = 0  # what they begin with is enough to leave out
    cores = [name[first : len(name) - last] for name in names]
    if not all(cores):  # one name is what the others begin with
        first, last, cores = 0, 0, list(names)
    marked = [f"{'…' * bool(first)}{core}{'…' * bool(last)}" for core in cores]
    short = [_without_middle(text, longest) for text in marked]
    return (
        short if len(set(short)) == len(set(names)) else [_about_difference(n, names, longest) for n in names]
    )


def _shared(names: Sequence[str]) -> tuple[int, int]:
    """Return how many letters all names begin with, and how many of the others they end with."""
    first = _to_a_word(names[0][: _common(names)])
    backwards = [name[first:][::-1] for name in names]
    return first, _to_a_word(backwards[0][: _common(backwards)])


def _common(names: Sequence[str]) -> int:
    """Return with how many letters all names begin alike."""
    lowest, highest = min(names), max(names)  # what these two share, all do
    alike = zip(lowest, highest, strict=False)
    return next((at for at, (one, other) in enumerate(alike) if one != other), len(lowest))


def _to_a_word(shared: str) -> int:
    """Return how much of what names share ends with a word, so that no word or number is cut."""
    return next((at for at in range(len(shared), 0, -1) if shared[at - 1] in _WORD_ENDS), 0)


def _about_difference(name: str, names: Sequence[str], longest: int) -> str:
    """Return the part of a name around the first letter in which it differs from the one most like it."""
    at = max(_common([name, other]) for other in names if other != name)
    begin = max(0, min(at - longest // 2, len(name) - longest + 2))
    part = name[begin : begin + longest - 2]
    return f"{'…' * (begin > 0)}{part}{'…' * (begin + len(part) < len(name))}"


def _without_middle(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    tail = (max(longest, _FEWEST) - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[-tail:]}"
