"""Any value becomes strict JSON: what cannot be had is null and counted, what is around it stays."""

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from thermograd.store.log.plain import PlainValues, plain_json, said


class Unspeakable:
    """Raises whatever it is asked."""

    def __getattribute__(self, name):
        raise RuntimeError(name)

    def __str__(self):
        raise RuntimeError

    __repr__ = __str__


class Liar(str):
    def __str__(self):
        raise RuntimeError

    __repr__ = __len__ = __iter__ = __str__


class Count(int):
    def __str__(self):
        return "not a number"

    __repr__ = __str__


def inside_itself():
    value = []
    value.append(value)
    return value


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "document", "left_out"),
    [
        ({1: "a", "1": "b", None: 2, (1, 2): 3}, {"1": "a", "null": 2, "[1, 2]": 3}, 1),
        ({np.int64(4): np.float32(1.5)}, {"4": 1.5}, 0),
        ((1, {2}, frozenset({3})), [1, [2], [3]], 0),
        ([float("nan"), float("inf"), -0.5], ["nan", "inf", -0.5], 0),
        ({"good": 1, "bad": Unspeakable()}, {"good": 1, "bad": None}, 1),
        ({"good": 1, Unspeakable(): 2}, {"good": 1, "null": 2}, 1),
        ([Liar("text"), Count(5)], ["text", 5], 0),
        ([10**5000, 2**100], [None, 2**100], 1),
        (inside_itself(), [None], 1),
        ("\ud800", "?", 0),
        (b"x", "b'x'", 0),
        (np.bool_(True), True, 0),
        (np.longdouble(2), 2.0, 0),
        (np.arange(3), "[0 1 2]", 0),
    ],
)
def test_a_bad_value_is_null_and_its_neighbours_stay(value, document, left_out):
    text, count = plain_json(value)
    assert (json.loads(text), count) == (document, left_out)


def test_tensors_of_one_element_are_numbers():
    torch = pytest.importorskip("torch")
    value = [torch.tensor(1.5), torch.tensor([2]), torch.tensor(True), torch.tensor([1, 2])]
    assert json.loads(plain_json(value)[0]) == [1.5, 2, True, "tensor([1, 2])"]


def test_what_has_no_end_is_cut_and_counted():
    assert plain_json(nested(100_000))[1] == 1
    wide = PlainValues(values=10)
    assert wide.make(list(range(100))) == list(range(9))
    assert wide.left_out == 91
    narrow = PlainValues(longest_text=10)
    assert narrow.make(["x" * 30, "y" * 30]) == ["x" * 10 + "…", "y" * 10 + "…"]
    assert narrow.left_out == 2


def test_a_generator_is_not_used_up():
    numbers = (number for number in range(3))
    assert "generator" in plain_json(numbers)[0]
    assert list(numbers) == [0, 1, 2]


def test_what_cannot_say_what_it_is_is_named_by_its_class():
    assert said(Unspeakable(), str) == "Unspeakable without a text"
    assert len(said("x" * 10_000)) < 100


keys = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.tuples(st.integers())
)
leaves = keys | st.binary() | st.complex_numbers() | st.builds(Unspeakable) | st.builds(Liar) | st.dates()
values = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(keys, inner) | st.sets(keys))


@given(values)
def test_any_value_is_strict_json(value):
    def refuse(constant):
        raise AssertionError(constant)

    text, _ = plain_json(value)
    json.loads(text, parse_constant=refuse)
    text.encode()
