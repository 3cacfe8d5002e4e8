"""The size of printed figures: presets, parts, and what is refused, in one sentence."""

import pytest
from thermograd.analysis.report.charts.paper.style import PRESETS, print_style
from thermograd.store.errors import ConfigError


def test_a_preset_may_be_changed_in_parts() -> None:
    style = print_style("paper-2col, font_size_pt=9 ,height_mm=120")
    assert (style.font_size_pt, style.width_mm, style.height_mm) == (
        9.0,
        PRESETS["paper-2col"].width_mm,
        120.0,
    )
    assert print_style("width_mm=88").width_in == pytest.approx(88 / 25.4)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is no preset"),
        ("paper", "'paper' is no preset"),
        ("paper-1col,slide", "'slide' is no preset"),
        ("font=8", "'font' is no part of it"),
        ("run_named=1", "'run_named' is no part of it"),
        ("width_mm=wide", "width_mm is 'wide'; expected a number from 50 to 600"),
        ("width_mm=nan", "width_mm is 'nan'"),
        ("font_size_pt=1e9", "expected a number from 4 to 40"),
        ("width_mm=88,", "'' is no preset"),
    ],
)
def test_what_is_no_style_is_one_sentence_that_says_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as error:
        print_style(text)
    assert said in str(error.value)
    assert "expected" in str(error.value)
    assert "\n" not in str(error.value)
