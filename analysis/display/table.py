"""One table for every place: a terminal, a page or a notebook, Markdown."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from thermograd.analysis.display.markup import Html, breakable, details, element
from thermograd.store.telling.quantities import counted
from thermograd.store.text import table_text

_CLASSES = {"n": {"class_": "n"}, "w": {"class_": "w"}, "i": {"class_": "id"}, "t": {}}


MOST_ROWS = 12  # on a page, before the rest is folded away


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
    shown
        How many rows a page shows; what is more opens on demand. None shows all.
    """

    columns: Mapping[str, str]
    rows: Sequence[Sequence[Any]]
    label: str = ""
    shown: int | None = MOST_ROWS

    def without(self, heading: str) -> "Table":
        """Return the table without one column."""
        place = list(self.columns).index(heading)
        columns = {name: kind for name, kind in self.columns.items() if name != heading}
        return replace(self, columns=columns, rows=[(*row[:place], *row[place + 1 :]) for row in self.rows])

    def __html__(self) -> Html:
        """Return HTML that scrolls where there is no room; on a narrow screen each row is a block."""
        few = len(self.rows) if self.shown is None else self.shown
        if len(self.rows) <= few + 1:  # a line that says so takes as much room as a row
            return self._drawn(self.rows)
        rest = self.rows[few:]
        more = details(f"{counted(len(rest), 'more row')} of {len(self.rows):,}", self._drawn(rest))
        return Html(self._drawn(self.rows[:few]) + more)

    def _drawn(self, shown: Sequence[Sequence[Any]]) -> Html:
        names = [
            element("th", name, scope="col", **(_CLASSES["n"] if kind == "n" else {}))
            for name, kind in self.columns.items()
        ]
        rows = [element("tr", *map(self._cell, row, self.columns)) for row in shown]
        caption = [element("caption", self.label)] if self.label else []
        whole = element("table", *caption, element("thead", element("tr", *names)), element("tbody", *rows))
        return element(
            "div", whole, class_="scroll stack", tabindex="0", role="region", aria_label=self.label
        )

    def _cell(self, content: Any, name: str) -> Html:
        kind = self.columns[name]
        shown = breakable(content) if kind == "i" and not isinstance(content, Html) else content
        return element("td", shown, **_CLASSES[kind], data_label=name)

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
