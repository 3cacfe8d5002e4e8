"""Whether a card is wanted: asked in the training process, where nothing more of it is loaded."""

import os
from collections.abc import Mapping

SWITCH = "THERMOGRAD_CARD"  # 0: no card


def card_is_wanted(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether a card is to be told: not where ``$THERMOGRAD_CARD`` is 0."""
    return environment.get(SWITCH, "") not in ("0", "false", "no", "off")
