"""Whether a reading was there before: a sender that got no answer sends it again."""

from collections.abc import Hashable

_GENERATION = 500_000  # readings; two generations are remembered, some 70 MB at most


class Once:
    """Remembers the newest readings, between half a million and a million of them.

    Only 64 bits of each are kept: of a million a new one is taken for an old one with a probability below
    1e-7.

    Examples
    --------
    >>> once = Once()
    >>> [once.is_new(("loss", 5, 0.25)), once.is_new(("loss", 5, 0.25)), once.is_new(("loss", 6, 0.25))]
    [True, False, True]
    """

    def __init__(self, generation: int = _GENERATION) -> None:
        self._most, self._new, self._old = generation, set[int](), set[int]()

    def is_new(self, identity: Hashable) -> bool:
        """Whether a reading was not there; from now on it was."""
        key = hash(identity)
        if key in self._new or key in self._old:
            return False
        if len(self._new) >= self._most:
            self._old, self._new = self._new, set()
        self._new.add(key)
        return True

    def forget(self, identity: Hashable) -> None:
        """Take back what could not be written after all."""
        self._new.discard(hash(identity))
        self._old.discard(hash(identity))


def exact(value: float | int) -> Hashable:
    """Return what two values have in common only if they are the same to the bit.

    Examples
    --------
    >>> exact(float("nan")) == exact(float("nan")), exact(0.0) == exact(-0.0), exact(1) == exact(1.0)
    (True, False, True)
    """
    return value if value == value and value != 0 else repr(float(value))
