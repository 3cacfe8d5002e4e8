"""What is counted while a run is recorded is what its analysis finds later."""

import pytest
from thermograd.analysis.report.text.card import card_of_run
from thermograd.analysis.run.incident.incident import run_incident
from thermograd.analysis.run.series import load_series
from thermograd.store.card.tally import RunTally
from thermograd.store.events import SETTINGS_MARK, Event
from thermograd.store.log.reader import iterate_events
from thermograd.store.runs.catalogue import find_run
from thermograd.store.runs.write_run import whole_run

SECOND = 10**9


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """1,500 samples each of two GPUs and a processor; one GPU is throttled for a third of the time."""
    with whole_run(tmp_path_factory.mktemp("runs"), "tallied", {"source": "simulated"}, "samples") as whole:
        writer = whole.open("agent", "agent")
        for number in range(1500):
            heat = {"clock_event_mask": 0x20 if number % 300 < 100 else 0, "power_w": 300.0 + number % 7}
            counted = heat | {"device": "gpu0", "energy_j": 5.0 + 300.0 * number}
            for values in (counted, {"device": "gpu1", "power_w": 100.0}, {"device": "cpu", "power_w": 55.0}):
                whole.append(writer, 10**18 + number * SECOND, "sample", values)
    return find_run(whole.run.path.parent, "latest")


def test_what_was_counted_in_parts_is_what_the_whole_has(run):
    tally, events = RunTally(), list(iterate_events(run.path, ("sample", "mark", "alert")))
    for begin in range(0, len(events), 100):
        tally.take(events[begin : begin + 100])
    facts, incident = tally.facts(run), run_incident(load_series(run))
    assert facts.throttled_share == pytest.approx(incident.shares["thermal or brake"])
    assert 0.3 < facts.throttled_share < 0.36
    assert facts.energy_j == pytest.approx(incident.energy.total_j)
    assert (facts.devices, facts.noun, facts.energy_devices) == (2, "GPU", 2)
    assert facts.recorded_s == pytest.approx(incident.recorded_s)


def test_every_step_that_is_not_finite_counts_once_and_what_is_unknown_does_not(tmp_path):
    with whole_run(tmp_path, "broken", {}, "steps") as whole:
        for rank in range(2):
            writer = whole.open(f"node-r{rank}", "trainer")
            for number, loss in enumerate([1.0, None, float("nan"), float("inf")]):
                values = {"step": number + 1, "loss": loss, "grad_norm": None}
                whole.append(writer, 10**18 + number * SECOND, "step", values)
    run, tally = find_run(tmp_path, "latest"), RunTally()
    tally.take(iterate_events(run.path, ("step",)))
    for facts in (tally.facts(run), card_of_run(run, run_incident(load_series(run)))):
        assert (facts.nonfinite, facts.nonfinite_from) == (2, 3)


def test_alerts_and_who_watched_are_taken_from_the_log(run):
    tally, bad = RunTally(), {"alert": "spike.grad", "step": 3, "message": "step 3: a spike"}
    assert not tally.facts(run).watched
    tally.take([Event("mark", "agent", {"text": SETTINGS_MARK}), Event("alert", "agent", bad)])
    facts = tally.facts(run)
    assert (facts.watched, facts.spikes, facts.worst) == (True, 1, "step 3: a spike")
    assert (facts.devices, facts.energy_j, facts.throttled_share, facts.steps) == (0, None, None, 0)
