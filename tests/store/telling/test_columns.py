"""One table of names and units: it agrees with the units that end the columns' own names."""

from thermograd.store.events import KINDS
from thermograd.store.telling.columns import SIGNALS, signal

_ENDINGS = {
    "c": "degC",
    "w": "W",
    "average": "W",
    "j": "J",
    "mhz": "MHz",
    "pct": "%",
    "s": "s",
    "bytes": "bytes",
}


def test_a_unit_is_the_one_that_ends_the_column():
    for column, known in SIGNALS.items():
        ending = column.rpartition("_")[2] if "_" in column and "_per_" not in column else ""
        assert known.unit == ("share" if ending == "ratio" else _ENDINGS.get(ending, "")), column


def test_what_is_not_derived_is_a_column_of_an_event():
    columns = {column.name for kind in KINDS.values() for column in kind}
    assert set(SIGNALS) - columns == {"throttled_s", "throttled_ratio", "rle", "tokens_per_s"}


def test_an_unknown_column_keeps_its_name():
    assert signal("my_metric").title == "My_metric"
    assert signal("my_metric").unit == ""
