"""Publishing a table exactly once, whoever else publishes and whatever was killed on the way.

Which state of which run a table holds is written with the rows, in one commit. So a publisher that was killed
has published nothing or all, one that is repeated finds nothing to do, and of two at once that add the same
run the one that commits second is refused, looks again, and adds what is still missing.
"""

import random
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from thermograd.analysis.fleet.publishing.tables import Outcome, Published, Rows, Source
from thermograd.store.errors import LogError
from thermograd.store.text import printable, shortened

_TRIES, _WAIT_S = 12, 0.2


class Conflict(Exception):
    """Another publisher committed in the meantime."""


class Target(Protocol):
    """Tables of one format at one place."""

    def known(self, table: Published) -> dict[str, int]:
        """Return which version of each source a table holds; empty where there is no table yet."""

    def commit(self, table: Published, sources: Sequence[Source], replace: bool, rows: Rows) -> None:
        """Add the rows of sources, and which these are, in one commit; `replace`: in place of older ones.

        Raises Conflict where another publisher was faster.
        """


def publish(tables: Sequence[Published], target: Target) -> Iterator[Outcome]:
    """Yield what was done to each table.

    Raises
    ------
    LogError
        If others commit again and again, or the place cannot be written.
    """
    for table in tables:
        yield _published(table, target)


def _published(table: Published, target: Target) -> Outcome:
    outcome, left = Outcome(table.name), list(table.sources)
    for attempt in range(_TRIES + len(left)):
        known = target.known(table)
        new = [each for each in left if each.key not in known]
        changed = [each for each in left if known.get(each.key, each.version) != each.version]
        outcome.unchanged = len(left) - len(new) - len(changed) - outcome.new - outcome.replaced
        if not new and not changed:
            return outcome
        some, replace = (changed, True) if changed else (new, False)
        rows = Rows(table, some)
        try:
            target.commit(table, some, replace, rows)
        except Conflict:
            time.sleep(random.uniform(0, _WAIT_S * (1 + min(attempt, 5))))
            continue
        except Exception as error:
            if rows.broken is None:
                raise
            source, why = rows.broken
            outcome.errors[source.key] = printable(shortened(why), 500)
            left.remove(source)
            _ = error
            continue
        outcome.rows += rows.count
        if replace:
            outcome.replaced += len(some)
        else:
            outcome.new += len(some)
    raise LogError(f"table {table.name}: others committed {_TRIES} times in between; publish again")
