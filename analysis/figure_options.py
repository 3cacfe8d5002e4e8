"""Options of commands that draw: how large a printed figure is, and whether each panel stands alone."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from thermograd.analysis.report.charts.paper.style import PrintStyle


def _style(_context: click.Context, _option: click.Parameter, text: str | None) -> "PrintStyle | None":
    from thermograd.analysis.report.charts.paper.style import print_style

    return None if text is None else print_style(text)


style_option = click.option(
    "--style",
    metavar="STYLE",
    callback=_style,
    help="Size of the printed figures: paper-1col, paper-2col, slide, or parts such as "
    "font_size_pt=8,width_mm=88,height_mm=120; both with commas.",
)
panels_option = click.option(
    "--panels", is_flag=True, help="Write each panel as a figure by itself too, such as figure_loss.pdf."
)
