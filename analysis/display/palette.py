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
DEVICE_COLOURS = ("#0072B2", "#E69F00", "#009E73", "#56B4E9", "#999999")
MARK_COLOURS: dict[str, str] = {
    "spike": "#D55E00",
    "nonfinite": "#D55E00",
    "zero": "#D55E00",
    "injection": "#7F7F7F",
    "collapse": "#CC79A7",
    "reported_collapse": "#CC79A7",
}
SEVERITY_COLOURS = {"critical": "#D55E00", "warning": "#E69F00", "info": "#56B4E9"}
