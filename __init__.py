"""An instrument for one question: does a training run shake its hardware, or the hardware the run.

thermograd logs every optimizer step and every device reading as events, watches them live,
answers SQL over them, and says whether they are coupled or only share a trend.
"""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy
from thermograd.store.version import __version__

if TYPE_CHECKING:
    from thermograd.ingest.run import Run, start_run
else:
    __getattr__, __dir__ = lazy(__name__, {"thermograd.ingest.run": "Run start_run"})

__all__ = ["Run", "__version__", "start_run"]
