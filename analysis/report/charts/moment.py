"""The picture of an alert: what it says, and the panels of the time around it."""

from collections.abc import Sequence

from thermograd.analysis.display.palette import SEVERITY_COLOURS, SOFT_COLOUR
from thermograd.analysis.report.charts.card import PanelShown
from thermograd.analysis.report.charts.picture import HEIGHT, WIDTH, Box, Picture
from thermograd.analysis.report.data.panel import Clock

_LEFT, _GAP = 44, 40


def moment_picture(
    title: str,
    message: str,
    advice: str,
    severity: str,
    simulated: bool,
    shown: Sequence[PanelShown],
    moment_s: float,
    end_s: float,
) -> bytes:
    """Return the picture of an alert as PNG, 1200 x 630 pixels: of 0 to `end_s`, the alert at `moment_s`."""
    picture = Picture()
    colour = SEVERITY_COLOURS.get(severity, SEVERITY_COLOURS["critical"])
    picture.rectangle(Box(0, 0, WIDTH, 14), colour)
    right: float = WIDTH - _LEFT
    if simulated:
        right = picture.badge(right, 32, "SIMULATED HARDWARE") - 16
    picture.text(Box(_LEFT, 36, right - _LEFT, 30), title, (24, 22, 20), colour=SOFT_COLOUR)
    picture.text(Box(_LEFT, 76, WIDTH - 2 * _LEFT, 130), message, (42, 38, 34, 30, 26), True, "#1d2127")
    width = (WIDTH - 2 * _LEFT - _GAP * (len(shown) - 1)) / len(shown)
    clock = Clock("seconds", "s", 1.0)
    for place, each in enumerate(shown):
        box = Box(_LEFT + place * (width + _GAP), 222, width, 290)
        picture.panel(box, each.panel, (0.0, end_s), clock, each.heat, each.beside, moment_s)
    picture.text(Box(_LEFT, 528, WIDTH - 2 * _LEFT - 140, 84), advice, (24, 22, 20, 18), colour=SOFT_COLOUR)
    picture.text(Box(WIDTH - _LEFT - 112, HEIGHT - 34, 130, 24), "thermograd", (18,), colour=SOFT_COLOUR)
    return picture.png()
