"""Pieces of Vega-Lite specifications: plain dictionaries, as the page and the converter to SVG take them.

Nothing is checked as it is made: the tests hold whole specifications against Altair's schema. Altair itself
took as long to load and to copy every piece as an analysis takes; `altair_charts`
makes a whole chart one of Altair's, for whoever asks.
"""

from typing import Any

Part = dict[str, Any]

_TYPES = {"Q": "quantitative", "N": "nominal"}
_ENDS = ("x2", "y2")  # which have the type of their beginning


class View(dict[str, Any]):
    """What draws rows, by mark and encoding; each method returns another view with more in it."""

    def where(self, expression: str) -> "View":
        """Draw only the rows for which an expression holds."""
        return View(self | {"transform": [*self.get("transform", ()), {"filter": expression}]})

    def mark(self, kind: str, **look: Any) -> "View":
        """Draw a mark of this kind for each row."""
        return View(self | {"mark": {"type": kind, **look}})

    def encode(self, **channels: Any) -> "View":
        """Say what places and colours each mark: a `channel`, a field as its text, or a value."""
        told = {name: _channel(name, value) for name, value in channels.items()}
        return View(self | {"encoding": self.get("encoding", {}) | told})


def rows_of(name: str) -> View:
    """Return a view, of which nothing is drawn yet, of a data set that stands beside the specification."""
    return View(data={"name": name})


def channel(field: str, **options: Any) -> Part:
    """Return what takes a field of the rows, written with its type.

    Examples
    --------
    >>> channel("t:Q", axis=None)
    {'field': 't', 'type': 'quantitative', 'axis': None}
    """
    name, _, kind = field.rpartition(":")
    return {"field": name, "type": _TYPES[kind], **options}


def part(**options: Any) -> Part:
    """Return a scale, an axis or the like of these options."""
    return options


def value(of: Any) -> Part:
    """Return what is the same for all rows, in pixels."""
    return {"value": of}


def layered(layers: list[Any], **properties: Any) -> Part:
    """Return views on top of each other, which share their axes."""
    return {"layer": layers, **properties}


def parameter(name: str, first: Any) -> Part:
    """Return as `params` what the page sets, and expressions read by its name."""
    return {"params": [{"name": name, "value": first}]}


def _channel(name: str, told: Any) -> Any:
    if not isinstance(told, str):
        return told
    return {"field": told.rpartition(":")[0]} if name in _ENDS else channel(told)
