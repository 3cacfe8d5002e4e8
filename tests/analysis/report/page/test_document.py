"""Data travel to the page as columns, and come back as they were."""

import json
from typing import Any

import pytest
from thermograd.analysis.report.page.document import packed


def _unpacked(data: dict[str, Any]) -> list[dict[str, Any]]:
    """Do in Python what the page's script does."""

    def column(told: Any) -> list[Any]:
        if isinstance(told, list):
            return told
        return [told["v"][place] for place in told["i"]] if "i" in told else [told["k"]] * data["n"]

    columns = {name: column(told) for name, told in data["c"].items()}
    return [{name: values[i] for name, values in columns.items()} for i in range(data["n"])]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [{"t": 1.5, "s": "a"}],
        [{"t": k / 3, "v": None if k % 7 == 0 else k, "s": "loss", "d": f"GPU {k % 3}"} for k in range(50)],
        [{"t": 0, "text": f"all different {k}"} for k in range(20)],
        [{"v": value} for value in (1, True, 1.0, None)],
        [{"v": None}, {"v": None}],
    ],
    ids=["empty", "one", "mixed", "texts", "equal but not the same", "unknown"],
)
def test_packed_rows_are_the_same_rows(rows: list[dict[str, Any]]) -> None:
    told = json.loads(json.dumps(packed({"mark": "line", "datasets": {"a": rows}})))
    assert told["mark"] == "line"
    assert _unpacked(told["datasets"]["a"]) == rows


def test_what_repeats_is_written_once() -> None:
    rows = [
        {"t": k, "label": "a very long label of one curve", "device": f"device {k % 2}"} for k in range(500)
    ]
    text = json.dumps(packed({"datasets": {"a": rows}}))
    assert text.count("a very long label") == 1
    assert text.count("device 1") == 1
    assert len(text) < len(json.dumps(rows)) / 5
