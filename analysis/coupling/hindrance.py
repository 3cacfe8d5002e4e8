"""Why a pair cannot be tested: a sentence for people, and its kind for whoever has to say it otherwise."""

from typing import Literal, Self

Kind = Literal["idle", "placeholder", "apart", "few", "constant", "predicted", "unknown"]


class Hindrance(str):
    """A sentence that says why a pair cannot be tested.

    Parameters
    ----------
    text
        The sentence; as a string it is this.
    kind
        "idle": the device did not do the training. "placeholder": a constant stands for a missing sensor.
        "apart": the two sides were recorded at different times. "few": too few bins. "constant": a side does
        not change, or on two levels that hardly alternate. "predicted": its trend and drivers say all of it.
        "unknown": none of these.

    Examples
    --------
    >>> why = Hindrance("The hardware signal is constant at 50.", "constant")
    >>> why.kind, why == "The hardware signal is constant at 50."
    ('constant', True)
    """

    kind: Kind

    def __new__(cls, text: str, kind: Kind = "unknown") -> Self:
        """Keep the kind beside the text."""
        told = super().__new__(cls, text)
        told.kind = kind
        return told


def kind_of(reason: str) -> Kind:
    """Return the kind of a reason; "unknown" of a plain sentence."""
    return reason.kind if isinstance(reason, Hindrance) else "unknown"
