"""One table for every place: a terminal, a page or a notebook, Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thermograd.analysis.display.markup import Html, table
from thermograd.store.text import table_text


@dataclass(frozen=True)
class Table:
    """Rows under named columns; a template that is given one writes its HTML.

    Attributes
    ----------
    columns
        Kind of each column by its heading: "n" numbers, "w" sentences, "i" names that may be long, "t"
        other text.
    rows
        The cells. Text is escaped in HTML; for Markdown it has to be Markdown already.
    label
        What the table is, for a screen reader.
    """

    columns: Mapping[str, str]
    rows: Sequence[Sequence[Any]]
    label: str = ""

    def without(self, heading: str) -> "Table":
        """Return the table without one column."""
        place = list(self.columns).index(heading)
        columns = {name: kind for name, kind in self.columns.items() if name != heading}
        return replace(self, columns=columns, rows=[(*row[:place], *row[place + 1 :]) for row in self.rows])

    def __html__(self) -> Html:
        """Return HTML; on a narrow screen each row is a block, its cells below one another."""
        return table(list(self.columns), self.rows, "".join(self.columns.values()), self.label, stack=True)

    def text(self) -> str:
        """Return aligned columns for a terminal."""
        numbers = [name for name, kind in self.columns.items() if kind == "n"]
        return table_text(list(self.columns), self.rows, numbers)

    def markdown(self) -> str:
        """Return a table of GitHub's Markdown."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(map(markdown_cell, line))} |" for line in lines)


def markdown_cell(text: str) -> str:
    """Return Markdown as it stands in a table, where a bar would end the cell."""
    return text.replace("|", "\\|")
