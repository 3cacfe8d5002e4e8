"""The page of ``devices -o``: which device, host or label stands out, and what could have been seen."""

import json
from datetime import UTC, datetime
from pathlib import Path

from thermograd.analysis.display.table import Table
from thermograd.analysis.fleet.devices.counting import KINDS
from thermograd.analysis.fleet.devices.survey import BadUnit, Survey
from thermograd.analysis.fleet.devices.telling import head_sentence, named_sentence, none_sentence
from thermograd.analysis.report.page.document import GENERATOR, templates
from thermograd.store.errors import LogError, os_errors_as
from thermograd.store.files import write_file
from thermograd.store.text import without_nan


def write_survey(survey: Survey, folder: Path) -> list[Path]:
    """Write ``devices.html`` and ``devices.json`` into a directory, and return where they are."""
    numbers = json.dumps(without_nan(survey.to_json()), indent=2, allow_nan=False)
    written = {folder / "devices.html": survey_page(survey), folder / "devices.json": f"{numbers}\n"}
    with os_errors_as(LogError, f"cannot write into {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
        for path, content in written.items():
            write_file(path, content.encode())
    return list(written)


def survey_page(survey: Survey) -> str:
    """Return the page as one HTML document without scripts."""
    return templates().get_template("devices.html").render(
        head=head_sentence(survey),
        sentences=[named_sentence(bad) for bad in survey.named] or [none_sentence(survey)],
        listed=units_table([*survey.named, *survey.listed]),
        reach=_reach(survey),
        failed=survey.failed,
        now=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        generator=GENERATOR,
    )  # fmt: skip


def units_table(units: list[BadUnit]) -> Table:
    """Return units with their counts, rate ratios and what these are worth."""
    columns = {"unit": "i", "what": "t", "events": "n", "expected": "n", "rate ratio": "n", "95 %": "n"}
    rows = [
        (
            f"{bad.level} {bad.name}",
            KINDS[bad.kind],
            f"{bad.events:,}",
            f"{bad.expected:.3g}",
            "–" if bad.ratio is None else f"{bad.ratio:.2g}",
            f"{bad.ratio_low:.2g}–{'' if bad.ratio_high is None else format(bad.ratio_high, '.2g')}",
            f"{bad.p_family:.2g}",
            f"{bad.q:.2g}",
        )
        for bad in units
    ]
    return Table(columns | {"p of the fleet": "n", "q": "n"}, rows, "Units above their peers")


def _reach(survey: Survey) -> Table:
    rows = [
        (row["level"], KINDS[row["kind"]], "nothing" if row["ratio"] is None else f"{row['ratio']:.2g} times")
        for row in survey.detectable
    ]
    return Table({"level": "t", "what": "t", "seen from": "n"}, rows, "What could have been seen")
