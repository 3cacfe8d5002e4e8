"""The figure of the naive method beside ours stands on recorded counts that keep what its text promises."""

import json
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESULTS = json.loads((ROOT / "benchmarks" / "naive_figure.json").read_text())
COUNTS = {row["process"]: row for row in RESULTS["rows"]}
NULLS = sorted(name for name, row in COUNTS.items() if not row["coupled"])


def test_all_twelve_nulls_were_run_a_thousand_times():
    assert len(NULLS) == 12
    assert RESULTS["repetitions"] >= 1000


@pytest.mark.parametrize("name", NULLS)
def test_ours_holds_its_level_where_the_naive_method_does_not(name):
    assert COUNTS[name]["ours"] <= 0.065 * RESULTS["repetitions"]
    assert COUNTS[name]["naive_p"] >= 0.15 * RESULTS["repetitions"]


def test_the_power_is_the_one_promised():
    promised = {"cont .3": 0.95, "cont .2": 0.70, "cont_trend .3": 0.85, "spike 2": 0.90}
    for name, power in promised.items():
        assert COUNTS[name]["ours"] >= power * RESULTS["repetitions"]


def test_the_text_beside_the_figure_has_its_numbers():
    text = " ".join((ROOT / "docs" / "naive-vs-thermograd.md").read_text().split())
    lowest, highest = (f([COUNTS[name]["ours"] for name in NULLS]) for f in (min, max))
    assert f"between {lowest / 10:g} and {highest / 10:g} %" in text
    assert f"finds {COUNTS['cont .2']['ours'] / 10:.0f} %" in text
    for name, words in (("cont .2", "of the runs with ρ = 0.2"), ("ar.9", "of such runs with ρ = 0")):
        assert f"{COUNTS[name]['naive_p'] / 10:.0f} % {words}" in text
    assert re.search(r"images/naive-vs-thermograd\.svg", text)


def test_the_same_counts_give_the_same_figure(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    import naive_drawing

    first = [path.read_bytes() for path in naive_drawing.draw(RESULTS, tmp_path / "a")]
    again = [path.read_bytes() for path in naive_drawing.draw(RESULTS, tmp_path / "b")]
    assert first == again
    assert first[0].startswith(b"\x89PNG")
