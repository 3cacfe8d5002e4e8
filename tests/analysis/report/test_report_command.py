"""The command `report`: pages with figures, points beside them, Markdown to stdout or a file."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from synthetic import make_run
from thermograd.cli import main


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs")
    make_run(directory, steps=40, seconds=20.0)
    return directory


def _report(runs: Path, *arguments: str) -> Result:
    return CliRunner().invoke(main, ["--runs", str(runs), "report", "latest", *arguments])


def test_markdown_goes_to_stdout_and_nothing_else_does(runs: Path) -> None:
    result = _report(runs, "--format", "md")
    assert result.exit_code == 0
    assert result.stdout.startswith("### thermograd: `synthetic`\n")
    assert result.stdout.endswith(".\n")


def test_markdown_goes_to_the_file_that_is_named(runs: Path, tmp_path: Path) -> None:
    result = _report(runs, "--format", "md", "-o", str(tmp_path / "new" / "comment.md"))
    assert result.stdout == f"{tmp_path / 'new' / 'comment.md'}\n"
    assert (tmp_path / "new" / "comment.md").read_text().startswith("### thermograd")


def test_points_are_written_where_asked_for(runs: Path, tmp_path: Path) -> None:
    result = _report(runs, "-o", str(tmp_path), "--data", "csv")
    assert result.exit_code == 0
    assert {Path(line).name for line in result.stdout.split()} == {path.name for path in tmp_path.iterdir()}
    assert result.stderr.startswith("\nCannot tell: this run was too short to test anything; run ")
    assert [line[:11] for line in result.stderr.splitlines() if line.startswith(("How", "What"))] == [
        "How sure   ",
        "How long   ",
        "What next  ",
    ]
    assert {"report.html", "figure.pdf", "figure_loss.csv", "analysis.json"} <= {
        p.name for p in tmp_path.iterdir()
    }


def test_markdown_with_points_is_wrong_usage(runs: Path) -> None:
    result = _report(runs, "--format", "md", "--data", "csv")
    assert result.exit_code == 2
    assert "--data" in result.stderr


def test_the_page_alone_is_written_where_figures_are_left_out(runs: Path, tmp_path: Path) -> None:
    result = _report(runs, "-o", str(tmp_path), "--no-figures")
    assert result.exit_code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["analysis.json", "report.html"]


@pytest.mark.parametrize(
    "given",
    [
        ("--style", "slide"),
        ("--panels",),
        ("--format", "md"),
        ("--card", "card.png"),
    ],
)
def test_what_is_of_figures_is_wrong_usage_without_them(runs: Path, given: tuple[str, ...]) -> None:
    result = _report(runs, "--no-figures", *given)
    assert result.exit_code == 2
    assert given[0] in result.stderr
