"""A run whose samples are held packed, on the disk, is analysed as any other."""

import json

import pytest
from scale_runs import scale_run
from thermograd.analysis import packed_table
from thermograd.analysis.packed_table import PackedTable
from thermograd.analysis.run.analyze import analyze_run
from thermograd.analysis.run.series import load_series


def test_the_analysis_of_a_long_run_is_that_of_a_short_one(tmp_path, monkeypatch: pytest.MonkeyPatch):
    run = scale_run(tmp_path, 2, seconds=300.0, samples=600, steps=600, cpu=False)
    short = json.dumps(analyze_run(run).to_json())
    monkeypatch.setattr(packed_table, "_MANY_ROWS", 100)
    data = load_series(run)
    assert all(isinstance(device.table, PackedTable) for device in data.devices.values())
    assert json.dumps(analyze_run(run, series=data).to_json()) == short
