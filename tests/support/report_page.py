"""A report's page as a browser would see it."""

import json
from html.parser import HTMLParser
from typing import Any

from thermograd.analysis.report.data.contents import prepare
from thermograd.analysis.report.run_report import report_page
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.result import Analysis
from thermograd.analysis.run.series import RunSeries, load_series
from thermograd.store.runs.catalogue import Run


class Page(HTMLParser):
    """What a browser would see: text, elements, scripts."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.source = source
        self.text = ""
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self._raw = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append((dict(attrs), ""))
        self._raw = tag if tag in ("script", "style") else ""

    def handle_endtag(self, tag: str) -> None:
        self._raw = ""

    def handle_data(self, data: str) -> None:
        if self._raw == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
        elif self._raw != "style":
            self.text += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def data(self, name: str) -> Any:
        return next(json.loads(text) for attributes, text in self.scripts if attributes.get("id") == name)

    @property
    def code(self) -> list[str]:
        return [text for attributes, text in self.scripts if attributes.get("type") != "application/json"]


def page_of(run: Run, analysis: Analysis | None = None, series: RunSeries | None = None) -> Page:
    """Return the page of a run, with its images left out."""
    contents = prepare(series or load_series(run), analysis or analyze_run(run))
    names = ("timeline", "lag", "cross", "memory", "spikes", "blocks", "found")
    images = dict.fromkeys(names, b"<svg/>")
    return Page(report_page(contents, images))
