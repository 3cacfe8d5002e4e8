"""The command `report`: pages with figures, points beside them, Markdown to stdout or a file."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from synthetic import make_run
from thermograd.cli import main
from thermograd.store.runs.tags import change_tags


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


def test_figures_of_another_state_do_not_stay_beside_the_page_of_this_one(runs: Path, tmp_path: Path) -> None:
    run = next(path for path in runs.iterdir() if (path / "run.json").exists())
    old = {"figure.png", "lag_profile.svg", "figure_loss.pdf", "figure_loss.csv"}
    for folder, given in ((run / "report", ()), (tmp_path, ("-o", str(tmp_path)))):
        folder.mkdir(exist_ok=True)
        for name in (*old, "figure_mine.png"):
            (folder / name).write_text("of an earlier report")
        (folder / "analysis.json").write_text("{}\n")
        assert _report(runs, "--no-figures", *given).exit_code == 0
        there = {path.name for path in folder.iterdir()}
        assert there & old == (old if given else set())  # a directory of somebody's own is left alone
        assert {"figure_mine.png", "report.html"} <= there
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert "Beside this page: analysis.json." in page
        assert "lag_profile as PNG" not in page


def test_figures_of_the_same_state_stay(runs: Path) -> None:
    run = next(path for path in runs.iterdir() if (path / "run.json").exists())
    assert _report(runs, "--no-figures").exit_code == 0
    (run / "report" / "figure.png").write_text("of the report before")
    change_tags(run, add=["keep"], note="said of it meanwhile")  # which no figure shows
    assert _report(runs, "--no-figures").exit_code == 0
    assert (run / "report" / "figure.png").read_text() == "of the report before"
    (run / "report" / "figure.png").unlink()


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
