"""An instrument for one question: does a training run shake its hardware, or the hardware the run.

thermograd logs every optimizer step and every device reading as events, watches them live,
answers SQL over them, and says whether they are coupled or only share a trend.
"""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy
from thermograd.store.version import __version__ as __version__

__getattr__, __dir__, __all__ = lazy(
    __name__, {"ingest.run": "Run start_run", "store.version": "__version__"}
)

if TYPE_CHECKING:
    from thermograd.ingest.run import Run as Run, start_run as start_run
