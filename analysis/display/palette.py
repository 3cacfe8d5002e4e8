"""Colours that the interactive charts and the printed figure share.

Okabe and Ito's palette, which the colour-blind can tell apart. Vermilion and purple are for marks,
so no device has them.

References
----------
Okabe & Ito (2008), Color Universal Design, jfly.uni-koeln.de/color.
"""

TEXT_COLOUR = "#30343b"  # on paper
SOFT_COLOUR = "#5f6772"
GRID_COLOUR = "#e6e8eb"
BAND_COLOUR = "#e1e5ea"
BOUND_COLOUR = "#8a94a1"  # of what is no measurement, over curves
MANY_COLOUR = "#ccd2d9"  # of a band of many devices
DEVICE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#999999")
RUN_COLOURS = (*DEVICE_COLOURS, "#D55E00", "#CC79A7", "#332288")  # where no marks are drawn
MARK_COLOURS: dict[str, str] = {
    "spike": "#D55E00",
    "nonfinite": "#D55E00",
    "zero": "#D55E00",
    "injection": "#7F7F7F",
    "collapse": "#CC79A7",
    "reported_collapse": "#CC79A7",
    "evaluation": "#5F6772",
    "checkpoint": "#5F6772",
}
CAUSE_COLOURS: dict[str, str] = {
    "thermal": "#CC3311",
    "brake": "#332288",
    "power": "#B8A24A",
}  # of throttling
SEVERITY_COLOURS = {"critical": "#D55E00", "warning": "#E69F00", "info": "#56B4E9"}


def colour_of(place: int) -> str:
    """Return the colour of the device at a place, from 0; no more are drawn than there are colours."""
    return DEVICE_COLOURS[place]
