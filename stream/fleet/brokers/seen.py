"""Which messages have been taken in: each counts once, and a gap is seen."""

from msgspec import Struct


class Seen(Struct):
    """Sequence numbers of one writer's messages of one kind.

    `next` is the first that has not come, `ahead` those behind it that have; `first` is where it began.

    Examples
    --------
    >>> seen = Seen()
    >>> [seen.is_new(seq) for seq in (0, 1, 1, 4, 0)], seen.missing()
    ([True, True, False, True, False], 2)
    >>> seen.is_new(2), seen.is_new(3), seen.missing()
    (True, True, 0)
    """

    next: int = 0
    ahead: set[int] = set()

    def is_new(self, seq: int) -> bool:
        """Return whether this one had not come; from now on it has."""
        if seq < self.next or seq in self.ahead:
            return False
        self.ahead.add(seq)
        while self.next in self.ahead:
            self.ahead.remove(self.next)
            self.next += 1
        return True

    def missing(self, told: int = 0) -> int:
        """Return how many have not come of those before the last that came, or of the `told` first."""
        end = max(max(self.ahead, default=-1) + 1, told, self.next)
        return end - self.next - len(self.ahead)

    def begin_at(self, seq: int) -> None:
        """Take all before this one as not wanted: nobody kept them."""
        if not self.next and not self.ahead:
            self.next = seq
