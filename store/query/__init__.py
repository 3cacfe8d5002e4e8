"""SQL over runs."""

from typing import TYPE_CHECKING

from thermograd.store.faces import lazy

if TYPE_CHECKING:
    from thermograd.store.query.connection import connect, query
else:
    __getattr__, __dir__ = lazy(__name__, {"thermograd.store.query.connection": "connect query"})

__all__ = ["connect", "query"]
