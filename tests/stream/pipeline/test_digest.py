"""One digest of the alerts, whatever is done to the machine that computes them."""

import hashlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from numpy._core._multiarray_umath import __cpu_dispatch__
from stream_events import busy
from thermograd.stream.alerts.alert import digest
from thermograd.stream.pipeline.monitor import Monitor
from thermograd.stream.settings import CouplingSettings, Settings

SOON = Settings(coupling=CouplingSettings(alarm_s=100.0))


def told(events, monitor):
    return [alert for each in events for alert in monitor.process(each)]


def whole(events):
    monitor = Monitor(settings=SOON, world_size=4)
    return told(events, monitor) + monitor.close()


def fingerprint(events):
    """Alerts, and every number that could have become one."""
    monitor = Monitor(settings=SOON, world_size=4)
    alerts = told(events, monitor) + monitor.close()
    numbers = repr((monitor.pairs.coupling(), monitor.pairs.correlations()))
    return digest(alerts) + hashlib.sha256(numbers.encode()).hexdigest()


def test_a_second_run_gives_the_same():
    assert len({alert["alert"] for alert in whole(busy())}) >= 4
    assert digest(whole(busy())) == digest(whole(busy()))


@pytest.mark.parametrize("cut", [1, 900, 2345, 4990])
def test_resumed_from_a_snapshot_it_goes_on_the_same(cut):
    events = busy()
    monitor = Monitor(settings=SOON, world_size=4)
    before = told(events[:cut], monitor)
    resumed = pickle.loads(pickle.dumps(monitor))
    assert digest(before + told(events[cut:], resumed) + resumed.close()) == digest(whole(events))
    assert resumed.failures == []


def test_no_thread_count_hash_order_or_vector_instruction_changes_a_bit():
    """In processes of their own, for all of these are fixed when one starts."""
    here = Path(__file__)
    support = here.parents[2] / "support"
    script = f"import sys; sys.path[:0] = [{str(support)!r}, {str(here.parent)!r}]\n"
    script += (
        "from stream_events import busy\nfrom test_digest import fingerprint\nprint(fingerprint(busy()))"
    )
    variants = (
        {"PYTHONHASHSEED": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        {
            **{"PYTHONHASHSEED": "2", "OMP_NUM_THREADS": "2", "OPENBLAS_NUM_THREADS": "2"},
            "NPY_DISABLE_CPU_FEATURES": " ".join(__cpu_dispatch__),
        },
    )
    found = set()
    for variant in variants:
        command = [sys.executable, "-W", "ignore", "-c", script]
        result = subprocess.run(command, env=os.environ | variant, capture_output=True, text=True, check=True)
        found.add(result.stdout.strip())
    assert found == {fingerprint(busy())}
