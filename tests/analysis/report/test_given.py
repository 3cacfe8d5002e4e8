"""What people gave a run stands in its report: tags, notes and configuration, as text and bounded."""

import json
from pathlib import Path

import pytest
from report_page import page_of
from synthetic import make_run
from thermograd.analysis.report.given import config_rows
from thermograd.analysis.report.text.markdown import report_markdown
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.tags import change_tags

_HOSTILE = "</details></td><script>alert(1)</script><img src=x onerror=alert(2)>|`a`"


def _given(folder: Path) -> Run:
    many = {f"key{place}": place for place in range(500)}
    config = {"optim": {"lr": 1e-4, "warmup": None}, _HOSTILE: _HOSTILE, "long": "x" * 100_000}
    run = make_run(folder, steps=60, seconds=30.0, facts={"config": config | many})
    change_tags(run.path, ["baseline", "<script>", *(f"tag{i}" for i in range(40))], note=f"slow {_HOSTILE}")
    return run


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return _given(tmp_path_factory.mktemp("given"))


def test_page_has_tags_as_chips_a_note_and_the_configuration_folded(given: Run) -> None:
    page = page_of(given)
    head, _, rest = page.source.partition('<h2 id="run">')
    assert '<li class="badge">baseline</li>' in head
    assert '<li class="badge">&lt;script&gt;</li>' in head
    assert "22 more tags" in head
    assert f"slow {_HOSTILE}" in page.text
    folded = rest.partition("<h3>Devices</h3>")[0].partition("<details>")[2]
    assert folded.startswith("<summary>Configuration (504 values)</summary>")
    assert "optim.lr" in folded
    assert "0.0001" in folded
    assert "204 more values" in folded
    assert "x" * 301 not in page.source


def test_what_people_gave_stays_text_on_the_page(given: Run, tmp_path: Path) -> None:
    page, harmless = page_of(given), page_of(make_run(tmp_path, steps=60, seconds=30.0))
    assert page.code == harmless.code
    assert len(page.of("img")) == len(harmless.of("img"))
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]


def test_markdown_and_json_have_them_too(given: Run) -> None:
    data = load_series(given)
    analysis = analyze_run(given, series=data)
    lines = report_markdown(data, analysis).splitlines()
    tags = next(line for line in lines if line.startswith("| tags |"))
    assert tags.startswith("| tags | `baseline`, `<script>`, `tag0`")
    assert tags.endswith("and 22 more |")
    assert any(line.startswith("| note | ") for line in lines)
    assert "<details><summary>Configuration (504 values)</summary>" in lines
    assert "| `optim.lr` | `0.0001` |" in lines
    assert any(line.startswith("and 404 more: `thermograd query") for line in lines)
    document = json.loads(json.dumps(analysis.to_json()))
    assert document["config"]["optim"] == {"lr": 1e-4, "warmup": None}
    assert len(document["config"]) == 503
    assert len(document["tags"]) == 42
    assert document["notes"][0]["text"].startswith("slow ")


def test_run_that_was_given_nothing_has_no_empty_parts(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=60, seconds=30.0)
    page, data = page_of(run), load_series(run)
    assert "Configuration" not in page.source
    assert 'class="tags"' not in page.source
    markdown = report_markdown(data, analyze_run(run, series=data))
    assert "Configuration" not in markdown
    assert "| tags |" not in markdown


def test_rows_are_of_all_values_up_to_a_bound() -> None:
    rows, more = config_rows({"a": {"b": 1, "c": None}, "d": [], "e": "two\nlines"}, most=3)
    assert rows == [("a.b", "1"), ("a.c", "\u2013"), ("d", "[]")]
    assert more == 1
