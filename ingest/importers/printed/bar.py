"""The progress bar of a program whose lines do not say their step."""

from thermograd.ingest.importers.printed.programs import Program


class Bar:
    """The progress bar that says how many steps were made, where the lines themselves do not.

    It is drawn anew below a line, but where a line break ended it: then it is above its line. Lines that come
    in a burst, without it between them, are of unknown steps.
    """

    def __init__(self, program: Program) -> None:
        self._pattern = program.bar
        self._total: str | None = None  # of the training's bar: an evaluation has another
        self.step: int | None = None
        self._is_taken = True
        self._is_shown = self._is_above = False

    def shows(self, piece: str) -> bool:
        """Whether a piece is the bar; its step is then known."""
        match = self._pattern.search(piece) if self._pattern is not None else None
        self._is_shown = False
        if match is None or match["total"] != (self._total or match["total"]):
            return False
        self._total, self.step, self._is_taken = match["total"], int(match["step"]), False
        self._is_shown = True
        return True

    def step_in(self, piece: str) -> int | None:
        """Return the step of a bar in the same piece, or directly above it."""
        is_it = self._is_above or (self._pattern is not None and self._pattern.search(piece) is not None)
        return self.take() if is_it else None

    def begin_line(self, line: str) -> None:
        """Say that a line begins; one that goes back to its beginning is drawn over the bar, not below it."""
        self._is_above &= "\r" not in line.rstrip("\r\n")

    def end_line(self, line: str) -> None:
        """Say that a line was read; one that goes back shows that its break is not of the bar."""
        self._is_above = self._is_shown and "\r" in line.rstrip("\r\n")

    def take(self) -> int | None:
        """Return the step of the latest bar, once."""
        step = None if self._is_taken else self.step
        self._is_taken = True
        return step
