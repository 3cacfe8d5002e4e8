"""The report for a pull request: the verdict first, n beside every number, none of the run's text alive."""

import re
from pathlib import Path

import pytest
from synthetic import START_NS, make_run
from thermograd.analysis.display.table import Table
from thermograd.analysis.report.text.markdown import (
    code_span,
    report_markdown,
    write_markdown,
)
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series
from thermograd.store.errors import LogError
from thermograd.store.log.writer import EventWriter
from thermograd.store.runs.catalogue import Run, create_run

_HOSTILE = "@everyone </details><img src=x onerror=alert(1)> `a` ``b`` | [x](http://evil.example) #1\n# head"


def _markdown(run: Run) -> str:
    data = load_series(run)
    return report_markdown(data, analyze_run(run, series=data))


def test_it_begins_with_name_and_verdict_and_ends_with_how_to_do_it_again(tmp_path: Path) -> None:
    run = make_run(tmp_path, spikes=[100], collapse_s=120.0, simulated=True)
    lines = _markdown(run).splitlines()
    assert lines[0] == "### thermograd: `synthetic`"
    assert lines[2].startswith("**Nothing found. This run was too short to rule out a moderate link: run ")
    assert [line.partition(":")[0] for line in lines[4:7]] == ["- How sure", "- How long", "- What next"]
    assert lines[8].startswith("CANNOT TELL (inconclusive): ")
    assert lines[10].startswith("- Cannot tell whether heat slowed this run: GPU 0 (Test GPU, simulated)")
    assert "> **Simulated hardware**: `GPU 0 (Test GPU, simulated)`" in lines
    assert "| steps | 300 in 2 min 30 s |" in lines
    assert any(line.startswith("| loss |") and "(n = 300)" in line for line in lines)
    energy = next(line for line in lines if line.startswith("| energy of `GPU 0 (Test GPU, simulated)` |"))
    assert "power over time" in energy
    assert "Alerts: 2 (1 critical, 1 warning). The worst:" in lines
    worst = lines.index("- `collapse.thermal`: `too hot`")
    assert lines[worst + 1].startswith("- `spike.grad`: `step 100: grad_norm ")
    assert f"`thermograd report {run.run_id}`" in lines[-1]
    assert len(lines) < 60


def test_every_test_stands_with_n_and_its_bound(tmp_path: Path) -> None:
    text = _markdown(make_run(tmp_path))
    header = next(line for line in text.splitlines() if line.startswith("| training |"))
    assert "| n | r |" in header
    assert "95 % bound" in header
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| `grad_norm` |")]
    assert rows
    assert all(int(row[3]) > 100 for row in rows)
    assert all(row[7].startswith("±0.") for row in rows)


def test_text_from_the_run_is_no_markdown_html_or_mention(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=200, name=_HOSTILE, device=_HOSTILE, collapse_s=5.0)
    writer = EventWriter(run.path, run.run_id, "other")
    writer.append("alert", START_NS, alert=_HOSTILE, severity="critical", message=_HOSTILE)
    writer.close()
    text = _markdown(run)
    outside = re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", text.replace("\\|", ""))
    outside = re.sub(r"\\[\\`*_{}\[\]<>#|~]", "", outside)
    assert "@everyone" not in outside
    assert not re.search(r"<(?!details>|/details>|summary>|/summary>)", outside)
    assert "](" not in outside
    assert "http://" not in outside
    assert not [line for line in text.splitlines() if line.startswith("# ")]
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {3, 11}


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", "`a`"), ("a`b", "`` a`b ``"), ("``", "``` `` ```"), ("", "`-`"), ("a\n\x1b b", "`a b`")],
)
def test_any_text_is_one_code_span(text: str, expected: str) -> None:
    assert code_span(text) == expected


def test_a_pipe_in_a_cell_does_not_end_it() -> None:
    assert Table({"a": "t"}, [("x|y",)]).markdown().splitlines()[-1] == "| x\\|y |"


@pytest.mark.parametrize(
    "options",
    [
        {"with_samples": False, "steps": 50},
        {"steps": 0, "seconds": 20.0},
        {"steps": 1},
        {"nan": range(1, 301)},
    ],
    ids=["no samples", "no steps", "one step", "NaN only"],
)
def test_run_that_holds_little_says_so(tmp_path: Path, options: dict) -> None:
    assert "CANNOT TELL" in _markdown(make_run(tmp_path, **options))


def test_empty_run_says_so(tmp_path: Path) -> None:
    text = _markdown(create_run(tmp_path, "empty"))
    assert "| steps | none |" in text
    assert "none sampled" in text


def test_it_goes_to_a_file_or_directory_whole_or_not_at_all(tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", steps=5)
    data = load_series(run)
    analysis = analyze_run(run, series=data)
    assert write_markdown(data, analysis, tmp_path / "new" / "a.md") == str(tmp_path / "new" / "a.md")
    assert write_markdown(data, analysis, tmp_path / "new") == str(tmp_path / "new" / "report.md")
    assert (tmp_path / "new" / "a.md").read_text() == write_markdown(data, analysis, None)
    (tmp_path / "file").write_text("")
    with pytest.raises(LogError, match="cannot write"):
        write_markdown(data, analysis, tmp_path / "file" / "below.md")
