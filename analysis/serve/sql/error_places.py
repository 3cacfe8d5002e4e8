"""Where in a query an error is, as its asker counts: DuckDB draws the place into its message."""

import re
import unicodedata
from typing import Any

_OPTION = re.compile(r" \(--(timeout|memory)\)")  # of the command line, which the page has not
_EXCERPT = re.compile(r"\n+LINE (?P<line>\d+): (?P<text>.*)\n(?P<caret> *)\^.*", re.DOTALL)


def told_error(message: str, sql: str, lines_before: int = 0) -> dict[str, Any]:
    r"""Return DuckDB's or our message without a drawing of the place, and the place itself.

    Parameters
    ----------
    message
        What DuckDB says; after ``LINE n:`` a line of the query, or a piece of it, and a caret below.
    sql
        What was written by the asker.
    lines_before
        Lines of the query above it, which are not the asker's.

    Returns
    -------
    dict
        ``error``, and ``position`` in `sql`, in characters from 0; None where DuckDB says none.

    Examples
    --------
    >>> told_error('Binder Error: no "b"\n\nLINE 1: SELECT b\n               ^', "SELECT b")
    {'error': 'Binder Error: no "b"', 'position': 7}
    """
    message = _OPTION.sub("", message)
    found = _EXCERPT.search(message)
    if found is None:
        return {"error": message.strip(), "position": None}
    return {"error": message[: found.start()].strip(), "position": _position(found, sql, lines_before)}


def _position(found: re.Match[str], sql: str, lines_before: int) -> int | None:
    lines, number = sql.split("\n"), int(found["line"]) - 1 - lines_before
    if not 0 <= number < len(lines):
        return None
    excerpt = found["text"].partition("\n")[0]
    column = len(found["caret"]) - len(f"LINE {found['line']}: ")
    if excerpt.startswith("..."):
        excerpt, column = excerpt[3:], column - 3
    shift = max(0, lines[number].find(excerpt.removesuffix("...")))
    before = sum(len(line) + 1 for line in lines[:number])
    return before + shift + _place(lines[number][shift:], column)


def _place(text: str, column: int) -> int:
    """Return the place of a column of a terminal, in which a tab takes none and a wide sign two."""
    width = 0
    for place, sign in enumerate(text):
        own = _width(sign)
        if width >= column and own:
            return place
        width += own
    return len(text)


def _width(sign: str) -> int:
    if unicodedata.category(sign) in ("Cc", "Cf", "Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(sign) in "WF" else 1
