"""What a person may say of a log that the log does not say."""

from typing import NamedTuple


class Hints(NamedTuple):
    """What a person says of a log that the log does not say. A format says which of them it can use."""

    started_at: str | None = None  # when a log without clock (or without date) began
    step_time_s: float | None = None  # how long a step took, in a log without clock
    columns: tuple[tuple[str, str], ...] = ()  # our column, and the log's name of it
    units: tuple[tuple[str, str], ...] = ()  # our column, and the unit of the log's numbers
    device: str | None = None  # the device of rows that name none
    fields: tuple[str, ...] = ()  # the names of the columns of a file that has no header
    time: str | None = None  # the column that is the time of a table
    pattern: str | None = None  # the regular expression of a line of a text log, with named groups
    run: str | None = None  # which run of a store that holds several; `all` for each of them
    steps_per_epoch: int | None = None  # how many steps an epoch has, in a log of epochs
    sample_time_s: float | None = None  # the period of samples, in a log that does not say it

    def options(self) -> dict[str, list[str]]:
        """Return the values that a command line has of each option, to say it again."""
        pairs = {
            "--started-at": self.started_at,
            "--step-time": None if self.step_time_s is None else f"{self.step_time_s:.9g}",
            "--steps-per-epoch": self.steps_per_epoch,
            "--sample-time": None if self.sample_time_s is None else f"{self.sample_time_s:.9g}",
            "--time": self.time,
            "--device": self.device,
            "--columns": ",".join(self.fields) or None,
            "--pattern": self.pattern,
            "--run": self.run,
        }
        said = {option: [str(value)] for option, value in pairs.items() if value is not None}
        several = {"--column": self.columns, "--unit": self.units}
        return said | {o: [f"{a}={b}" for a, b in values] for o, values in several.items() if values}


NO_HINTS = Hints()
