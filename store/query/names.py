"""What a name that DuckDB does not know may mean: DuckDB suggests from all that it has, we from our views."""

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_TABLE = re.compile(
    r'Table (?P<call>Function )?with name "?(?P<name>[^\s"!]+)"? does not exist!(?:\nDid you mean .*)?'
)
_COLUMN = re.compile(
    r'(?:Referenced column "(?P<a>.+)" not found in FROM clause!'
    r'|Values list "(?P<table>.*)" does not have a column named "(?P<b>.+)"'
    r'|Column "(?P<c>.+)" in EXCLUDE list not found in FROM clause)(?:\nCandidate bindings: .*)?'
)


def explained(message: str, connection: "DuckDBPyConnection", sql: str) -> str:
    """Return DuckDB's message about an unknown name with what of our views may be meant."""
    if unknown := _TABLE.search(message):
        told = _about_table(unknown["name"], bool(unknown["call"]), connection)
        return message[: unknown.start()] + told + message[unknown.end() :]
    if unknown := _COLUMN.search(message):
        name = unknown["a"] or unknown["b"] or unknown["c"]
        told = f'Table "{unknown["table"]}" has no column "{name}"' if unknown["b"] else unknown[0]
        about = _about_column(name, connection, sql)
        return message[: unknown.start()] + "\n".join([told, *about]) + message[unknown.end() :]
    return message


def _about_table(name: str, is_call: bool, connection: "DuckDBPyConnection") -> str:
    views = {view: view for view in _views(connection)}
    macros = _macros(connection)
    shown = views | macros
    order = (macros, views) if is_call or name.lower() in macros else (views, macros)
    close = [shown[match] for names in order for match in _close(name, names)]
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f'there is no "{name}"{meant}; allowed: {", ".join(shown.values())}'


def _close(name: str, names: Iterable[str]) -> list[str]:
    return difflib.get_close_matches(name.lower().lstrip("_"), names, 1)


def _about_column(name: str, connection: "DuckDBPyConnection", sql: str) -> Iterator[str]:
    views = _views(connection)
    if name in views:
        yield f"{name} is a view: SELECT ... FROM {name}"
    elif having := [view for view, columns in views.items() if name.lower() in columns]:
        yield f"{name} is a column of {', '.join(having)}"
    elif f'"{name}"' in sql:
        yield f"Text stands in single quotes: '{name}'"
    elif re.search(r"\bmetrics\b", sql):
        yield f"A metric is a row of metrics: WHERE name = '{name}'"


def _views(connection: "DuckDBPyConnection") -> dict[str, list[str]]:
    rows = connection.execute(
        "SELECT table_name, list(column_name ORDER BY column_index) FROM duckdb_columns() "
        "WHERE NOT internal AND NOT starts_with(table_name, '_') GROUP BY ALL ORDER BY ALL"
    ).fetchall()
    return {str(view): columns for view, columns in rows}


def _macros(connection: "DuckDBPyConnection") -> dict[str, str]:
    rows = connection.execute(
        "SELECT function_name, parameters FROM duckdb_functions() "
        "WHERE NOT internal AND function_type = 'table_macro' ORDER BY ALL"
    ).fetchall()
    return {macro: f"{macro}({', '.join(parameters)})" for macro, parameters in rows}
