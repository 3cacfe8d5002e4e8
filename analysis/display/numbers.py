"""Numbers as people are shown them: true minus signs, a dash for what is not known, units that fit."""

import math

DASH = "–"


def shown_number(value: float | None, form: str) -> str:
    """Return a number with a true minus sign, a dash where it is not known."""
    if value is None or not math.isfinite(value):
        return DASH
    text = format(value, form)
    return text.lstrip("+-") if not text.strip("+-0.%") else text.replace("-", "−")


def bound_text(half_width: float) -> str:
    """Return a bound on either side of zero, a dash where it is not known."""
    return f"±{half_width:.2f}" if math.isfinite(half_width) else DASH


def interval(low: float, high: float) -> str:
    """Return both ends of an interval of correlations."""
    return " to ".join(shown_number(float(end), "+.2f") for end in (low, high))


def seconds_text(seconds: float) -> str:
    """Return seconds of which no more than two digits are known, with their unit.

    Examples
    --------
    >>> seconds_text(3.0), seconds_text(27.34), seconds_text(120.0)
    ('3 s', '27 s', '120 s')
    """
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def without_middle(text: str, longest: int) -> str:
    """Return a long name without its middle: its ends tell it apart.

    Examples
    --------
    >>> without_middle("GPU-3f2a1357-0000-4000-8000-000000000001", 14), without_middle("GPU 0", 14)
    ('GPU-3f2…000001', 'GPU 0')
    """
    if len(text) <= longest:
        return text
    tail = (longest - 1) // 2
    return f"{text[: longest - 1 - tail]}…{text[-tail:]}"
