"""What a query needs of the runs, by the words in it: of runs at a URL no more is fetched."""

import re

from thermograd.store.events import KINDS
from thermograd.store.places.place import FINDINGS

_RUN, _FACTS = "run", "facts"  # the rows of the runs; their small files
_OF_A_WORD = {f"{kind}s": {kind} for kind in KINDS} | {
    "runs": {_RUN},
    "findings": {FINDINGS},
    "config": {"mark", _FACTS},
    "labels": {_FACTS},
    "aligned": {"step", "sample"},
    "aligned_with": {"step", "sample"},
    "efficiency": {"sample"},
    "throttling": {"sample"},
    "episodes": {"alert", "mark"},
    "around": {"step", "sample", "alert", "mark", _RUN},
}
ALL_PARTS = frozenset(KINDS) | {_RUN, _FACTS, FINDINGS}
_BY_NAME = frozenset({"query", "query_table"})  # functions of DuckDB that take the name of a view
# and what tells of views without naming them
_OF_ALL = re.compile(r"(duckdb|pg|pragma|sqlite)_\w+|information_schema|show|describe|query|query_table")

# DESC, where it is no order but DESCRIBE: at the beginning, after a bracket or a comment
_DESC = re.compile(r"(?:\A|[(;]|\*/|--[^\n]*\n)\s*desc\b", re.IGNORECASE)


def needed_parts(sql: str) -> frozenset[str]:
    """Return the kinds of events that a query may read, and ``"run"`` for the rows of the runs.

    Every word counts, also one in a comment: rather too much than too little.

    Examples
    --------
    >>> sorted(needed_parts("SELECT count(*) FROM Aligned"))
    ['sample', 'step']
    """
    words = _words(sql)
    if words & _BY_NAME:
        return ALL_PARTS
    return frozenset().union(*(_OF_A_WORD.get(word, frozenset()) for word in words))


def named_views(sql: str) -> frozenset[str] | None:
    """Return the views and macros that a query may name; None where it may ask for any of them.

    Examples
    --------
    >>> sorted(named_views('SELECT 1 FROM "_Steps"')), named_views("SELECT * FROM duckdb_views()")
    (['steps'], None)
    """
    words = _words(sql)
    return None if any(map(_OF_ALL.fullmatch, words)) or _DESC.search(sql) else words & _OF_A_WORD.keys()


def _words(sql: str) -> frozenset[str]:
    return frozenset(word.lstrip("_").lower() for word in re.findall(r"\w+", sql))
