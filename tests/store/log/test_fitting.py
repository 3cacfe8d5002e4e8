"""A value that its column cannot hold is null, and the columns beside it stay."""

import math

import numpy as np
import pytest
from thermograd.store.log.fitting import fit, fit_values


class Refuses:
    """Raises whatever it is asked."""

    def __float__(self):
        raise RuntimeError("no")

    __index__ = __bool__ = __len__ = __str__ = __repr__ = __float__


@pytest.mark.parametrize(
    ("name", "value", "known"),
    [
        ("loss", np.float32(2), 2.0),
        ("loss", 3, 3.0),
        ("loss", np.array(1.5), 1.5),
        ("tokens", np.int64(3), 3),
        ("skipped", np.bool_(True), True),
        ("skipped", 0, False),
    ],
)
def test_a_number_of_another_kind_is_taken_as_the_columns(name, value, known):
    assert fit("step", name, value) == (known, None)
    assert type(fit("step", name, value)[0]) is type(known)


def test_numbers_that_are_not_finite_are_kept():
    assert math.isnan(fit("step", "loss", float("nan"))[0])


@pytest.mark.parametrize("name", ["loss", "tokens", "skipped"])
@pytest.mark.parametrize(
    "value", [Refuses(), "1.5", b"1", 10**400, 1j, object(), [1], np.arange(2), {}, math.pi * 1j]
)
def test_what_does_not_fit_is_null_and_named(name, value):
    known, sentence = fit("step", name, value)
    assert known is None
    assert sentence.startswith(f"{name} is ")
    assert len(sentence) < 300


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1, 1.5, math.nan])
def test_a_count_out_of_range_is_null(value):
    assert fit("step", "tokens", value)[0] is None


def test_text_is_cut_where_it_has_no_end_and_never_refused():
    text, sentence = fit("mark", "text", "x" * (3 << 20))
    assert len(text) == (1 << 20) + 1
    assert sentence == "text is cut after 1048576 characters"
    assert fit("mark", "text", "\ud800") == ("?", None)
    assert fit("mark", "text", 5) == ("5", None)


def test_an_event_keeps_what_fits():
    values, lost = fit_values("step", {"step": 3, "loss": "abc", "colour": 1, "grad_norm": None})
    assert values == {"step": 3, "loss": None, "grad_norm": None}
    assert [sentence.split(" ")[0] for sentence in lost] == ["loss", "step"]
