"""Recording a loop of Accelerate as one of its trackers."""

from typing import Any

from accelerate.tracking import GeneralTracker
from thermograd.ingest.callback import harmless
from thermograd.ingest.run import Run, start_run


class ThermogradTracker(GeneralTracker):  # type: ignore[misc] # accelerate ships no types
    """Logs every optimizer step of a loop, and what it logs through its `Accelerator`.

    Parameters
    ----------
    name
        What people call the run.
    **options
        As for `thermograd.start_run`.

    Examples
    --------
    ::

        accelerator = Accelerator(log_with=ThermogradTracker("baseline"))
        accelerator.init_trackers("project", config={"lr": 3e-4})
        ...
        accelerator.end_training()
    """

    name = "thermograd"
    requires_logging_directory = False
    main_process_only = False  # every rank records its own steps

    def __init__(self, name: str = "run", **options: Any) -> None:
        super().__init__()
        self._run: Run = start_run(name, **options)
        self._run.tap(False, True)

    @property
    def tracker(self) -> Run:
        """The run."""
        return self._run

    @harmless
    def store_init_configuration(self, values: dict[str, Any]) -> None:
        """Record the configuration."""
        self._run.configure(values)

    @harmless
    def log(self, values: dict[str, Any], step: int | None = None, **_: Any) -> None:
        """Log values by name."""
        if self._run.place.rank == 0:
            self._run.log(dict(values), step=step)

    @harmless
    def finish(self) -> None:
        """End the run."""
        self._run.close()
