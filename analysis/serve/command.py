"""The command ``thermograd serve``; importing it costs what click costs."""

from functools import partial
from pathlib import Path
from typing import Any

import click
from thermograd.store.console import PATH, echo


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Default 7860, or one that is free.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Any other asks for a token.")
@click.option("--token", "asks", is_flag=True, help="Ask for a token on this machine, too.")
@click.option(
    "--token-file", type=PATH, help="Where it stands; default $THERMOGRAD_SERVE_TOKEN, else one is made."
)
@click.option(
    "--allow-host", "names", metavar="NAME", multiple=True, help="A name that the server may be called."
)
@click.option("--open/--no-open", "opens", default=False, help="Open the page in this machine's browser.")
@click.pass_obj
def serve(runs: Path, /, **options: Any) -> None:
    """Show the runs in the browser, live, until Ctrl-C: a page that only reads.

    Example: thermograd serve --port 7860
    """
    _require_extra()
    from thermograd.analysis.serve.server import Doors, serve_runs

    serve_runs(runs, Doors(**options), partial(echo, err=True))


def _require_extra() -> None:
    from importlib.util import find_spec

    from thermograd.store.errors import MissingExtraError

    for module in ("starlette", "uvicorn", "vl_convert"):
        if find_spec(module) is None:
            raise MissingExtraError(f"the page needs {module}: pip install 'thermograd[serve]'")
