"""The verdict as it would stand now: one process at a time, not before its time, words where it fails."""

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from live_training import Training
from thermograd.analysis.report import run_report
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.wording.plain_words import first_screen
from thermograd.analysis.serve.live import verdict_child, verdict_now
from thermograd.analysis.serve.live.verdict_now import Verdict, VerdictDesk
from thermograd.store.runs.catalogue import Run


def test_a_child_tells_the_plain_words_of_a_run_and_why_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    training = Training(tmp_path)
    training.train(30)
    training.sample(3)
    nice: list[int] = []
    monkeypatch.setattr(verdict_child.os, "nice", nice.append, raising=False)
    monkeypatch.setattr("sys.argv", ["child", str(training.run.path)])
    verdict_child.main()
    told = json.loads(capsys.readouterr().out)
    assert (told["verdict"], told["span_s"], nice) == ("insufficient", 2.9, [19])
    assert set(told["facts"]) == {"How sure", "How long", "What next"}
    monkeypatch.setattr(verdict_child, "verdict_of", lambda path: 1 / 0)
    verdict_child.main()
    assert json.loads(capsys.readouterr().out) == {"error": "ZeroDivisionError: division by zero"}


def test_what_a_report_says_of_all_of_a_run_is_not_worked_out_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict_child, "_worked_out", lambda run_dir: {"sentence": "anew"})
    training = Training(tmp_path)
    training.train(30)
    training.sample(3)
    analysis = analyze_run(training.run)
    run_report._remember(training.run, analysis, 2.9)
    told = verdict_child.verdict_of(training.run.path)
    assert told["sentence"] == first_screen(analysis).sentence
    assert (set(told["facts"]), told["span_s"]) == ({"How sure", "How long", "What next"}, 2.9)
    training.sample(1)
    assert verdict_child.verdict_of(training.run.path) == {"sentence": "anew"}


def test_verdicts_are_worked_out_one_after_the_other_and_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work: list[str] = []
    most = [0]

    async def child(path: Path) -> dict[str, Any]:
        at_work.append(path.name)
        most[0] = max(most[0], len(at_work))
        await asyncio.sleep(0)
        at_work.remove(path.name)
        return {"sentence": path.name}

    async def scenario() -> list[dict[str, Any]]:
        desk, runs = VerdictDesk(), [Run(tmp_path / name) for name in "ab"]
        told = [desk.ask(run, 10) for run in (*runs, runs[0])]
        await asyncio.gather(*desk._working.values())
        await asyncio.sleep(0)
        return told + [desk.ask(runs[0], events) for events in (10, 11)]

    monkeypatch.setattr(verdict_now, "_in_child", child)
    first, second, again, known, grown = asyncio.run(scenario())
    assert [each["verdict"] for each in (first, second, again)] == [None] * 3
    assert all(each["working"] for each in (first, second, again))
    assert (known["verdict"]["sentence"], known["current"], known["working"]) == ("a", True, False)
    assert (grown["current"], grown["working"]) == (False, False)  # not before a minute has passed
    assert most == [1]


@pytest.mark.parametrize(
    ("age_s", "cost_s", "due"), [(59, 1, False), (61, 1, True), (61, 7, False), (71, 7, True)]
)
def test_it_is_worked_out_again_after_a_minute_or_ten_times_its_cost(
    age_s: float, cost_s: float, due: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verdict_now, "time", SimpleNamespace(time=lambda: 1000.0 + age_s))
    verdict = Verdict({}, events=5, at_s=1000.0, cost_s=cost_s)
    assert verdict.is_due(6) is due
    assert not verdict.is_due(5)


def test_a_child_that_says_nothing_is_told_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_now, "sys", SimpleNamespace(executable="/bin/true"))
    told = asyncio.run(verdict_now._in_child(tmp_path))
    assert told == {"error": "its process ended with 0 and no answer; try thermograd analyze"}
