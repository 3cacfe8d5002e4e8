"""How large a printed figure and its letters are: presets for paper and slides, and what may be set."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

from thermograd.store.errors import ConfigError

_MM_PER_IN = 25.4
_RANGES = {"font_size_pt": (4.0, 40.0), "width_mm": (50.0, 600.0), "height_mm": (20.0, 900.0)}


@dataclass(frozen=True)
class PrintStyle:
    """The size of a figure and of every letter in it.

    Parameters
    ----------
    font_size_pt
        Of all text, when the figure is placed at its own width; 4 to 40.
    width_mm
        50 to 600.
    height_mm
        20 to 900; None is what the figure needs.
    run_named
        Whether the run's name stands above and its id below: a paper has these in its caption.
    """

    font_size_pt: float = 6.5
    width_mm: float = 88.9
    height_mm: float | None = None
    run_named: bool = True

    @property
    def width_in(self) -> float:
        """Width, inches."""
        return self.width_mm / _MM_PER_IN

    @property
    def height_in(self) -> float | None:
        """Height, inches; None is what the figure needs."""
        return None if self.height_mm is None else self.height_mm / _MM_PER_IN

    @property
    def em_in(self) -> float:
        """Size of the letters, inches."""
        return self.font_size_pt / 72

    @property
    def line_pt(self) -> float:
        """How thick a curve is: as the letters, but seen on paper."""
        return max(0.6, self.font_size_pt / 9)


PRESETS: Mapping[str, PrintStyle] = MappingProxyType(
    {
        "paper-1col": PrintStyle(7.0, 84.0, None, run_named=False),
        "paper-2col": PrintStyle(8.0, 174.0, None, run_named=False),
        "slide": PrintStyle(12.0, 254.0, 142.9),
    }
)
_PARTS = tuple(field.name for field in fields(PrintStyle) if field.name in _RANGES)
_NUMBERS = ", ".join(f"{part}=NUMBER" for part in _PARTS)
_ALLOWED = f"a preset ({', '.join(PRESETS)}) or parts ({_NUMBERS}), with commas"


def print_style(text: str) -> PrintStyle:
    """Return the style that a text names: a preset, parts, or a preset and then parts of another size.

    Raises
    ------
    ConfigError
        If the text names no preset and no part, or a size that is out of its range.

    Examples
    --------
    >>> print_style("paper-1col,font_size_pt=8")
    PrintStyle(font_size_pt=8.0, width_mm=84.0, height_mm=None, run_named=False)
    >>> print_style("font=8")
    Traceback (most recent call last):
    thermograd.store.errors.ConfigError: style 'font=8': 'font' is no part of it; expected a preset \
(paper-1col, paper-2col, slide) or parts (font_size_pt=NUMBER, width_mm=NUMBER, height_mm=NUMBER), with commas
    """
    first, *others = (part.strip() for part in text.split(","))
    style = PRESETS.get(first)
    given = others if style else [first, *others]
    sizes: dict[str, Any] = dict(_part(text, each) for each in given)
    return replace(style or PrintStyle(run_named=False), **sizes)


def _part(text: str, given: str) -> tuple[str, float]:
    name, equals, value = (each.strip() for each in given.partition("="))
    where = f"style {text[:80]!r}"
    if name not in _PARTS or not equals:
        what = f"{name[:40]!r} is no part of it" if equals else f"{name[:40]!r} is no preset"
        raise ConfigError(f"{where}: {what}; expected {_ALLOWED}")
    low, high = _RANGES[name]
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not low <= number <= high:
        raise ConfigError(f"{where}: {name} is {value[:40]!r}; expected a number from {low:g} to {high:g}")
    return name, number
