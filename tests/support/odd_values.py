"""Values that a training may hand over, some of which raise whatever they are asked.

Hypothesis draws recipes, which it can print and compare; `build` makes of one what it stands for.
"""

import dataclasses
import datetime
import fractions
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st


class Refuses:
    """Raises whatever it is asked."""

    def _refuse(self, *asked):
        raise RuntimeError("no")

    __str__ = __repr__ = __len__ = __bool__ = __float__ = __int__ = __index__ = __iter__ = __hash__ = _refuse
    __eq__ = __lt__ = __le__ = __gt__ = __ge__ = __getattr__ = __fspath__ = __contains__ = _refuse


class OddText(str):
    """A text that cannot be asked."""

    __str__ = __repr__ = __len__ = __iter__ = Refuses._refuse


class OddNumber(float):
    """A number that cannot be asked."""

    __float__ = __repr__ = __str__ = __bool__ = Refuses._refuse


class OddCount(int):
    """A count that cannot be asked."""

    __index__ = __int__ = __repr__ = __str__ = __bool__ = Refuses._refuse


@dataclasses.dataclass
class Config:
    """What people hand over as it is."""

    rate: float = 0.1


class Hashable(Refuses):
    """Can be a key, and no more."""

    __hash__ = object.__hash__


def inside_itself():
    """Return a list and a dictionary that hold each other."""
    value = []
    value.append({"again": value})
    return value


def nested(depth=100_000):
    """Return a list that is nested very deep."""
    value = []
    for _ in range(depth):
        value = [value]
    return value


_MAKERS = {
    "refuses": Refuses,
    "refused key": lambda: {Hashable(): Hashable(), 1: 1},
    "dataclass": Config,
    "object": object,
    "class": lambda: Refuses,
    "inside itself": inside_itself,
    "nested": nested,
    "odd text": lambda: OddText("text"),
    "odd number": lambda: OddNumber(1.5),
    "odd count": lambda: OddCount(3),
    "generator": lambda: (number for number in range(3)),
    "array": lambda: np.arange(3),
    "float32": lambda: np.float32(2),
    "int64": lambda: np.int64(5),
    "bool_": lambda: np.bool_(True),
    "longdouble": lambda: np.longdouble(1),
    "datetime64": lambda: np.datetime64("2026-01-01"),
    "int64 key": lambda: {np.int64(1): 2},
    "huge": lambda: 10**5000,
    "too large": lambda: -(2**63) - 1,
    "no float": lambda: 10**400,
    "long text": lambda: "x" * (2 << 20),
    "date": lambda: datetime.datetime(2026, 1, 1),
    "fraction": lambda: fractions.Fraction(1, 3),
}


class Odd(NamedTuple):
    """The recipe of an odd value."""

    name: str


def build(recipe):
    """Return what a recipe stands for."""
    if isinstance(recipe, Odd):
        return _MAKERS[recipe.name]()
    if isinstance(recipe, dict):
        return {key: build(item) for key, item in recipe.items()}
    if isinstance(recipe, list | tuple):
        return type(recipe)(map(build, recipe))
    return recipe


texts = st.text(st.characters(), max_size=20)  # lone surrogates and NUL too
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), texts, st.binary(max_size=8), st.complex_numbers()
)
keys = scalars | st.tuples(st.integers())
values = st.recursive(
    scalars | st.sampled_from([Odd(name) for name in _MAKERS]),
    lambda inner: st.lists(inner, max_size=4) | st.tuples(inner) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=8,
)
