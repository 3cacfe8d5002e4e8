"""A training in a notebook: an exception ends its cell, not the process, and no callback is told."""

import sys
from collections.abc import Callable
from typing import Any

from thermograd.store.failures import Guard

_harmless = Guard("thermograd cannot hear of the end of this cell: %(error)s")


@_harmless
def on_failed_cell(call: Callable[[BaseException], object]) -> None:
    """Call with the exception that ends the cell that runs now, if one does; outside of IPython, nothing."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None:
        return

    @_harmless
    def after(result: Any) -> None:
        shell.events.unregister("post_run_cell", after)
        if (error := getattr(result, "error_in_exec", None)) is not None:
            call(error)

    shell.events.register("post_run_cell", after)
