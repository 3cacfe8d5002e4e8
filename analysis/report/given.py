"""What people gave a run, as page and Markdown show it: tags, notes and the configuration, bounded."""

from itertools import islice
from typing import Any

from thermograd.analysis.display.numbers import DASH
from thermograd.analysis.display.table import Table
from thermograd.analysis.run.result import Analysis
from thermograd.store.runs.own_values.configuration import entries
from thermograd.store.telling.quantities import counted
from thermograd.store.text import printable

MOST_TAGS = 20
_MOST_VALUES = 300  # of a configuration; the view `config` has all
_LONGEST_KEY, _LONGEST_VALUE = 128, 300


def given_told(analysis: Analysis) -> dict[str, Any]:
    """Return a run's tags, notes and configuration; of many as many as a page has room for."""
    rows, more = config_rows(analysis.config)
    return {
        "tags": analysis.tags[:MOST_TAGS],
        "more_tags": len(analysis.tags[MOST_TAGS:]),
        "own_notes": analysis.notes,
        "config": Table({"Key": "i", "Value": "w"}, rows, "Configuration", shown=None),
        "config_counted": counted(len(rows) + more, "value"),
        "more_config": more,
    }


def config_rows(config: dict[str, Any], most: int = _MOST_VALUES) -> tuple[list[tuple[str, str]], int]:
    """Return keys and values of a configuration as short text, and how many others it has."""
    found = entries(config)
    rows = [
        (
            printable(entry.key, _LONGEST_KEY),
            DASH if entry.value is None else printable(entry.value, _LONGEST_VALUE),
        )
        for entry in islice(found, most)
    ]
    return rows, sum(1 for _ in found)
