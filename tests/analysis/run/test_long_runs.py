"""A run whose samples are held packed, on the disk, is analysed as any other."""

import json

import pytest
from scale_runs import scale_run
from thermograd.analysis import packed_table
from thermograd.analysis.packed_table import PackedTable
from thermograd.analysis.run import pairs, series
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series
from thermograd.analysis.side_by_side import side_by_side


def test_the_analysis_of_a_long_run_is_that_of_a_short_one(tmp_path, monkeypatch: pytest.MonkeyPatch):
    run = scale_run(tmp_path, 2, seconds=300.0, samples=600, steps=600, cpu=False)
    short = json.dumps(analyze_run(run).to_json())
    monkeypatch.setattr(packed_table, "_MANY_ROWS", 100)
    monkeypatch.setattr(series, "_MANY_STEPS", 100)
    data = load_series(run)
    assert not {"seq", "writer"} & set(data.steps.column_names)
    assert all(isinstance(device.table, PackedTable) for device in data.devices.values())
    assert json.dumps(analyze_run(run, series=data).to_json()) == short


def test_two_pairs_at_a_time_give_what_one_after_the_other_does(tmp_path, monkeypatch: pytest.MonkeyPatch):
    run = scale_run(tmp_path, 1, seconds=120.0, samples=240, steps=240, cpu=False)
    monkeypatch.setattr(pairs, "threads_here", lambda: 2)
    alone = json.dumps(analyze_run(run).to_json())
    begun = []
    monkeypatch.setattr(pairs, "_FEWEST_BESIDE", 0)
    monkeypatch.setattr(
        pairs,
        "side_by_side",
        lambda pieces, threads: (begun.append(threads), side_by_side(pieces, threads))[1],
    )
    monkeypatch.setattr(packed_table, "_MANY_ROWS", 100)
    assert json.dumps(analyze_run(run).to_json()) == alone
    assert begun == [2, 2]
