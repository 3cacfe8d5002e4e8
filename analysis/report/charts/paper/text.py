"""Text for print: what the font can draw, how wide it is, and in how many lines it has room."""

from functools import cache

from matplotlib.font_manager import findfont
from matplotlib.ft2font import FT2Font
from thermograd.analysis.display.numbers import without_middle

FONT = "DejaVu Sans"  # which matplotlib brings along: a figure looks the same everywhere
_SIZE = 100.0
_ROUNDED = 1.03


@cache
def _font() -> FT2Font:
    font = FT2Font(findfont(FONT))
    font.set_size(_SIZE, 72)
    return font


@cache
def _glyphs() -> frozenset[int]:
    return frozenset(_font().get_charmap())


def figure_text(text: str, longest: int) -> str:
    """Return text as the font can draw it: one line, shortened in the middle, unknown signs replaced."""
    shown = "".join(sign if sign.isprintable() and ord(sign) in _glyphs() else "\ufffd" for sign in text)
    return without_middle(shown, longest)


@cache
def ems(text: str) -> float:
    """Return how wide a text is, in units of its font size, with what small sizes round up."""
    _font().set_text(text)
    return _ROUNDED * _font().get_width_height()[0] / 64 / _SIZE


def fitted(text: str, room_ems: float) -> str:
    """Return text as the font can draw it, without its middle where there is no room for it."""
    shown, longest = figure_text(text, 500), 500
    while ems(shown) > room_ems and longest > 1:
        longest = min(longest, len(shown)) - 1
        shown = figure_text(text, longest)
    return shown


def wrapped(text: str, room_ems: float, most: int) -> list[str]:
    """Return text as lines that have room, at most so many; of more the last ends in an ellipsis."""
    lines: list[str] = []
    for word in figure_text(text, 600).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and ems(longer) <= room_ems:
            lines[-1] = longer
        else:
            lines.append(fitted(word, room_ems))
    return lines if len(lines) <= most else [*lines[: most - 1], fitted(f"{lines[most - 1]} …", room_ems)]
