"""SQL over runs."""

from typing import TYPE_CHECKING

from thermograd.store.lazy_names import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {"connection": "connect query"})

if TYPE_CHECKING:
    from thermograd.store.query.connection import connect as connect, query as query
