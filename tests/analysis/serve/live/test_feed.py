"""One feed a run that is looked at, bounded clients, and words where a run cannot be read."""

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from live_training import Training
from thermograd.analysis.serve.live import feed as feeds
from thermograd.analysis.serve.live.feed import Client, Feed, Feeds, sse
from thermograd.analysis.serve.live.recording import Recording
from thermograd.analysis.serve.live.state import devices_now, evidence_now, run_state, steps_per_s
from thermograd.store.errors import ServeError
from thermograd.store.log.watched import leave_watched
from thermograd.store.runs.catalogue import Run


def events(message: bytes) -> list[str]:
    return [line[7:] for line in message.decode().splitlines() if line.startswith("event: ")]


def test_a_client_that_does_not_read_keeps_a_few_messages_and_is_told_to_begin_anew() -> None:
    async def scenario() -> tuple[list[str], bytes | None]:
        client = Client(asyncio.get_running_loop())
        for number in range(1000):
            client.tell(sse("points", {"version": number}))
        await asyncio.sleep(0)
        first = await client.next(1.0)
        assert first is not None
        return events(first), await client.next(0.01)

    kept, then = asyncio.run(scenario())
    assert kept[0] == "resync"
    assert len(kept) <= feeds._MOST_WAITING
    assert then is None


def test_a_run_is_read_once_for_all_who_look_and_the_unused_make_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeds, "_MOST_OPEN", 2)
    runs = [Training(tmp_path, name=f"r{k}").run for k in range(3)]
    desk, loop = Feeds(), asyncio.new_event_loop()
    first, second = desk.of(runs[0]), desk.of(runs[1])
    assert desk.of(Run(runs[0].path)) is first
    first.join(Client(loop))
    third = desk.of(runs[2])
    assert (first.is_over, second.is_over) == (False, True)
    third.join(Client(loop))
    with pytest.raises(ServeError, match="2 other runs are open"):
        desk.of(runs[1])
    for each in (first, third):
        each.close()
    loop.close()


def test_a_run_that_nobody_looks_at_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeds, "_IDLE_S", 0.0)
    monkeypatch.setattr(feeds, "POLL_S", 0.001)
    feed = Feed(Training(tmp_path).run)
    feed._thread.join(60)
    assert feed.is_over


@pytest.mark.parametrize("gone", [True, False])
def test_a_run_that_is_deleted_or_garbage_is_told_in_words(tmp_path: Path, gone: bool) -> None:
    training = Training(tmp_path)
    feed = Feed(training.run)
    assert json.loads(feed.state())["run_id"] == training.run.run_id
    if gone:
        training.close()  # it would go on writing while the files are deleted
        shutil.rmtree(training.run.path)
        wanted = "the run was deleted while it was open"
    else:
        feed._recording = None
        feed._failure = wanted = "the run cannot be read (OSError: x)"
    feed._thread.join(60 if gone else 0)
    with pytest.raises(ServeError) as refused:
        feed.timeline(None, None, 300)
    assert str(refused.value) == wanted
    feed.close()


def test_garbage_files_in_a_run_are_passed_over(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.train(5)
    for name in (
        "open/host-r0/step-000000000099.tail",
        "sealed/step/host-r9-000000000000-000000000004.parquet",
    ):
        path = training.run.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"garbage" * 50)
    assert Recording(training.run).steps() == 5


def told_of(recording: Recording) -> dict[str, Any]:
    return {reading["title"]: reading["value"] for reading in devices_now(recording)[0]["values"]}


def test_devices_are_told_as_they_are_now_and_what_is_missing_is_no_number(tmp_path: Path) -> None:
    training = Training(tmp_path, devices={"simulated:dc": {"simulated": True}})
    training.sample(3, "simulated:dc")
    recording = Recording(training.run)
    assert told_of(recording) == {
        "Temperature": 62.0,
        "Power": 502.0,
        "Clock": None,
        "Utilisation": 90.0,
        "Memory in use": None,
    }
    assert devices_now(recording)[0]["values"][2]["reason"] == "not part of the simulation"
    assert run_state(recording)["simulated"] == [devices_now(recording)[0]["label"]]
    training.sample(1, "simulated:dc")
    recording.look()
    assert told_of(recording)["Temperature"] == 63.0


def test_the_pace_is_that_of_the_latest_steps_and_unknown_for_one(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.train(1)
    recording = Recording(training.run)
    assert steps_per_s(recording) is None
    training.train(500)
    recording.look()
    assert steps_per_s(recording) == 10.0


def test_evidence_is_told_where_an_agent_left_it_and_else_it_is_not(tmp_path: Path) -> None:
    training = Training(tmp_path)
    training.sample(1)
    recording = Recording(training.run)
    assert evidence_now(recording) is None
    gpu = {"e_value": 3.5, "alarm_e_value": "x", "withheld": 2, "is_taxed": True, "pairs": []}
    leave_watched(
        training.run.path, "agent", {"time_ns": 5 * 10**9, "bound": 20.0, "devices": {"gpu": gpu, "b": 3}}
    )
    told = evidence_now(recording)
    assert told is not None
    (device,) = told["devices"]
    assert (device["e_value"], device["bound"], device["alarm_e_value"]) == (3.5, 20.0, None)
    assert (device["time_ms"], device["withheld"], device["is_taxed"]) == (5000, 2.0, True)
