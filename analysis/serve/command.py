"""The command ``thermograd serve``; importing it costs what click costs."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click
from thermograd.store.console import echo


def serve_command(stream: Callable[[], Any]) -> click.Command:
    """Return the command; `stream` gives what the page of a live run needs of the room stream."""

    @click.command()
    @click.option("--port", type=click.IntRange(0, 65535), help="Default 7860, or one that is free.")
    @click.option("--host", default="127.0.0.1", show_default=True, help="Another asks for a token.")
    @click.pass_obj
    def serve(runs: Path, /, **options: Any) -> None:
        """Serve the page of the runs to a browser, live, until Ctrl-C.

        Example: thermograd serve --port 7860
        """
        _require_extra()
        from thermograd.analysis.serve.server import serve_runs

        serve_runs(runs, **options, stream=stream(), told=partial(echo, err=True))

    return serve


def _require_extra() -> None:
    from importlib.util import find_spec

    from thermograd.store.errors import MissingExtraError

    for module in ("starlette", "uvicorn", "altair", "vl_convert"):
        if find_spec(module) is None:
            raise MissingExtraError(f"the page needs {module}: pip install 'thermograd[serve]'")
