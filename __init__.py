"""An instrument for one question: does a training run shake its hardware, or the hardware the run.

thermograd logs every optimizer step and every device reading as events, watches them live,
answers SQL over them, and says whether they are coupled or only share a trend.
"""

from typing import TYPE_CHECKING, Any

from thermograd.store.version import __version__

if TYPE_CHECKING:
    from thermograd.ingest.run import Run, start_run

__all__ = ["Run", "__version__", "start_run"]


def __getattr__(name: str) -> Any:
    if name in ("Run", "start_run"):
        from thermograd.ingest import run

        return getattr(run, name)
    raise AttributeError(f"module 'thermograd' has no attribute {name!r}; public names: {', '.join(__all__)}")
