"""SQL over runs."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(
    __name__, {"connection": "connect query", "sandbox": "FOR_STRANGERS Limits Stop answer"}
)

if TYPE_CHECKING:
    from thermograd.store.query.connection import connect as connect, query as query
    from thermograd.store.query.sandbox import (
        FOR_STRANGERS as FOR_STRANGERS,
        Limits as Limits,
        Stop as Stop,
        answer as answer,
    )
