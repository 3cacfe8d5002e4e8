"""Text and numbers that leave the log for a terminal, a chat or another program.

Names of devices and runs come from outside, so what is printed carries no control characters, and what
is sent as JSON is JSON that every parser reads.
"""

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values for strict JSON: NaN and the infinities become the strings that Python reads back.

    Examples
    --------
    >>> plain({"loss": float("nan"), "grad_norm": float("-inf"), "step": 3})
    {'loss': 'nan', 'grad_norm': '-inf', 'step': 3}
    """
    return {
        name: repr(value) if isinstance(value, float) and not isfinite(value) else value
        for name, value in values.items()
    }


def strict_json(values: Mapping[str, Any]) -> str:
    """Return values as one line of JSON, non-finite numbers as in `plain`."""
    return json.dumps(plain(values), allow_nan=False, default=str)
