"""The card of a run as a picture: its verdict large, two panels, three facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from thermograd.analysis.display.palette import SOFT_COLOUR
from thermograd.analysis.report.charts.picture import HEIGHT, WIDTH, Box, Picture
from thermograd.analysis.report.data.panel import Panel, Panels

VERDICT_COLOURS = {"coupled": "#c04f00", "no_coupling": "#00795a", "single_event": "#9a6700"}
VERDICT_COLOURS |= {"effect": "#c04f00", "no_effect": "#00795a"}
_OPEN = "#54606e"  # nothing is known either way
_LEFT, _GAP = 44, 40
_HALF = (WIDTH - 2 * _LEFT - _GAP) / 2


@dataclass(frozen=True)
class PanelShown:
    """A panel, whose values it has, and when a device was throttled, s since the run's first event."""

    panel: Panel
    beside: str = ""
    heat: Sequence[tuple[float, float]] = ()


def card_picture(
    sentence: str,
    verdict: str,
    about: str,
    simulated: bool,
    shown: Sequence[PanelShown],
    panels: Panels,
    facts: Mapping[str, str],
) -> bytes:
    """Return the card as PNG, 1200 x 630 pixels.

    Parameters
    ----------
    sentence, verdict
        The verdict in plain words, and which it is.
    about
        The run: its name, state and length.
    simulated
        Whether the readings come from a model: it is said on a badge.
    shown, panels
        The two panels, and the run's, whose axis they have.
    facts
        Three facts by what each is called.
    """
    picture = Picture()
    picture.rectangle(Box(0, 0, WIDTH, 14), VERDICT_COLOURS.get(verdict, _OPEN))
    right: float = WIDTH - _LEFT
    if simulated:
        right = picture.badge(right, 32, "SIMULATED HARDWARE") - 16
    picture.text(Box(_LEFT, 36, right - _LEFT, 30), about, (24, 22, 20), colour=SOFT_COLOUR)
    sentence_box = Box(_LEFT, 76, WIDTH - 2 * _LEFT, 190)
    picture.text(sentence_box, sentence, (50, 46, 42, 38, 34, 30), bold=True, colour="#1d2127")
    for place, each in enumerate(shown):
        box = Box(_LEFT + place * (_HALF + _GAP), 282, _HALF, 212)
        picture.panel(box, each.panel, panels.limits_s, panels.clock, each.heat, each.beside)
    _facts(picture, facts)
    return picture.png()


def _facts(picture: Picture, facts: Mapping[str, str]) -> None:
    width = (WIDTH - 2 * _LEFT - 2 * _GAP) / 3
    for place, (name, value) in enumerate(facts.items()):
        left = _LEFT + place * (width + _GAP)
        picture.text(Box(left, 506, width, 26), name, (20,), colour=SOFT_COLOUR)
        picture.text(Box(left, 532, width, 62), value, (34, 30, 27, 24, 22, 20), bold=True)
    picture.text(Box(WIDTH - _LEFT - 112, HEIGHT - 34, 130, 24), "thermograd", (18,), colour=SOFT_COLOUR)
