"""Labels of runs beside each other are short, told apart, and say what is a copy."""

import random

import pytest
from thermograd.store.telling.run_labels import run_labels


def _unique_and_short(labels: list[str], longest: int = 32) -> None:
    assert len(set(labels)) == len(labels)
    assert max(map(len, labels)) <= longest + 24
    assert all(label.isprintable() for label in labels)


def test_a_copied_run_says_of_which_it_is_a_copy() -> None:
    labels = run_labels([("20261125-1-demo-b22b", "demo"), ("20261125-1-demo-b22b", "demo")], {1: 0})
    assert labels == ["demo", "demo (copy of run 1)"]
    assert run_labels([("a-0001", "demo"), ("b-0002", "demo")], {1: 0}) == [
        "demo",
        "demo (copy of run 1)",
    ]


@pytest.mark.parametrize("ends", [True, False])
def test_long_names_that_differ_at_one_end_keep_that_end(ends: bool) -> None:
    shared = "a-very-long-name-of-a-sweep-over-learning-rates-and-seeds"
    names = [f"{shared}-{n}" if ends else f"{n}-{shared}" for n in range(10)]
    labels = run_labels([(f"id-{n}", name) for n, name in enumerate(names)])
    _unique_and_short(labels)
    assert all(str(n) in label for n, label in enumerate(labels))
    assert max(map(len, labels)) <= 34


def test_names_that_differ_in_one_letter_in_their_middle_are_told_apart() -> None:
    names = [f"{'a' * 100}{letter}{'b' * 100}" for letter in "xyz"]
    labels = run_labels([(f"id-{n}", name) for n, name in enumerate(names)])
    _unique_and_short(labels)
    assert all(letter in label for letter, label in zip("xyz", labels, strict=True))


def test_numbers_are_not_cut_where_names_share_their_beginning() -> None:
    names = [f"a-long-name-of-a-sweep-over-learning-rates-lr={lr}" for lr in ("0.001", "0.0015")]
    assert run_labels([("i", name) for name in names]) == ["…lr=0.001", "…lr=0.0015"]


def test_hostile_names_are_told_apart_and_inert() -> None:
    names = ["", " ", "\x1b[31mred", "red\u202e", "a\nb", "a b", "demo", "demo", "demo", "…", "x" * 10_000]
    names += ["x" * 9_999 + "y"]
    labels = run_labels([(f"id-{n}", name) for n, name in enumerate(names)])
    _unique_and_short(labels)


def test_any_names_are_told_apart() -> None:
    draw = random.Random(1)
    for _ in range(300):
        names = ["".join(draw.choices("ab1-", k=draw.choice([1, 2, 40]))) for _ in range(draw.randint(1, 12))]
        _unique_and_short(run_labels([(draw.choice(("same", "other")), name) for name in names]))
