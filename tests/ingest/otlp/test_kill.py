import sys

import pytest

pytest.importorskip("opentelemetry.proto")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http")
pytest.importorskip("uvicorn")

import otlp_kill


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_what_a_receiver_that_was_killed_had_acknowledged_is_there_once(tmp_path):
    """In full size: ``python benchmarks/otlp_kill.py``."""
    outcome = otlp_kill.run(tmp_path, exports=12, series=40, seed=3, kills=2)
    assert outcome.acknowledged == 475
    assert outcome.missing == outcome.twice == outcome.strangers == 0
