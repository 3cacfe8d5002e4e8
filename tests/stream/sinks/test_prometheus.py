"""The exporter as Prometheus meets it: scraped over loopback, read by its own parser."""

import json
import math
import re
import socket
import threading
from pathlib import Path

import pytest
from exporting import event, fill, full_exporter, scrape
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from thermograd.store.telling.episodes import ended_mark
from thermograd.store.telling.silences import Silence
from thermograd.stream.pipeline import live
from thermograd.stream.pipeline.live import watch_log
from thermograd.stream.settings import MetricsSettings, Settings
from thermograd.stream.sinks.prometheus import Exporter

PAGE = Path(__file__).parents[3] / "docs" / "alerts.md"
GPU = {"temperature_c": 61.0, "power_w": 250.5, "utilization_pct": 98.0, "sm_clock_mhz": 1900.0,
       "throttled_thermal_ns": 1_500_000_000, "energy_j": 12.0}  # fmt: skip


def series(text, parse=openmetrics):
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parse(text)
        for sample in family.samples
    }


@pytest.fixture
def exporter():
    """Return an exporter with a step of two ranks and samples of two devices."""
    made = Exporter(
        {"GPU-1": {"model": "H200"}, "simulated:dc": {"simulated": True}}, {"run_id": "r1", "name": "n"}
    )
    made.publish(
        [
            event("step", 1, step=7, rank=0, loss=2.5, grad_norm=1.25),
            event("step", 1, step=7, rank=1, loss=math.nan),
            event("sample", 1, device="GPU-1", **GPU),
            event("sample", 1, device="cpu", utilization_pct=50.0),
            event("mark", 1, mark="gap", detail=json.dumps({"lost": 3})),
        ]
    )
    yield made
    made.close()


def test_a_scrape_is_openmetrics_in_base_units(exporter):
    kind, text = scrape(exporter.listen(0))
    assert kind.startswith("application/openmetrics-text")
    found = series(text)
    assert found["thermograd_loss", ("rank", "0")] == 2.5
    assert math.isnan(found["thermograd_loss", ("rank", "1")])
    assert found["thermograd_grad_norm", ("rank", "0")] == 1.25
    assert found["thermograd_step", ("rank", "0")] == 7
    device = ("device", "GPU-1")
    assert found["thermograd_gpu_temperature_celsius", device] == 61.0
    assert found["thermograd_gpu_power_watts", device] == 250.5
    assert found["thermograd_gpu_utilization_ratio", device] == pytest.approx(0.98)
    assert found["thermograd_gpu_sm_clock_hertz", device] == 1.9e9
    assert found["thermograd_throttled_seconds_total", device, ("reason", "thermal")] == 1.5
    assert found["thermograd_energy_joules_total", device] == 12.0
    assert found["thermograd_cpu_utilization_ratio", ("device", "cpu")] == 0.5
    run = (("host", socket.gethostname()), ("name", "n"), ("run_id", "r1"))
    assert found["thermograd_run_info", *run] == 1.0
    known = (device, ("label", "GPU 1 (H200)"), ("model", "H200"), ("simulated", "false"))
    assert found["thermograd_device", *known] == 1.0
    assert found["thermograd_last_event_timestamp_seconds",] == 1.0
    assert found["thermograd_lost_events_total",] == 3.0


def test_efficiency_is_that_of_the_log_and_nothing_where_a_rating_is_not_known():
    facts = {"rated_power_w": 300.0, "temperature_limit_c": 83.0}
    exporter = Exporter({"GPU-1": facts, "GPU-2": {**facts, "rated_power_w": -1.0}})
    readings = {"utilization_pct": 90.0, "power_w": 240.0, "temperature_c": 60.0}
    for device in ("GPU-1", "GPU-2"):
        exporter.publish([event("sample", second, device=device, **readings) for second in range(10)])
    found = {(s.name, s.labels.get("device")): s.value for m in exporter.collect() for s in m.samples}
    name = "thermograd_gpu_thermal_load_efficiency_ratio"
    assert found[name, "GPU-1"] == pytest.approx(1.1231, abs=1e-4)
    assert (name, "GPU-2") not in found


def test_what_is_not_known_has_no_series(exporter):
    _, text = scrape(exporter.listen(0))
    names = {key[0] for key in series(text)}
    assert "thermograd_cpu_temperature_celsius" not in names
    assert "thermograd_gpu_fan_ratio" not in names
    assert "thermograd_learning_rate" not in names
    assert ("thermograd_grad_norm", ("rank", "1")) not in series(text)


def test_the_older_text_format_says_the_same(exporter):
    port = exporter.listen(0)
    old = series(scrape(port, "text/plain")[1], prometheus)
    new = series(scrape(port)[1])
    assert old.keys() == new.keys()
    assert old["thermograd_gpu_power_watts", ("device", "GPU-1")] == 250.5


def test_a_device_that_fell_silent_loses_its_series(exporter):
    exporter.publish([event("sample", 100, device="cpu", utilization_pct=1.0)])
    names = {metric.name for metric in exporter.collect()}
    assert "thermograd_cpu_utilization_ratio" in names
    assert "thermograd_gpu_temperature_celsius" not in names


def test_names_from_outside_break_no_line(exporter):
    exporter.publish([event("sample", 2, device='a"b\n# EOF\n\x1b[0m\\', temperature_c=1.0)])
    found = series(scrape(exporter.listen(0))[1])
    assert found["thermograd_gpu_temperature_celsius", ("device", 'a"b # EOF �[0m\\')] == 1.0


@pytest.fixture
def full():
    return full_exporter()


def test_alerts_correlations_and_evidence_are_exported(full):
    exporter, monitor = full
    found = {(s.name, *sorted(s.labels.items())): s.value for m in exporter.collect() for s in m.samples}
    assert found["thermograd_alerts_total", ("alert", "spike.grad"), ("severity", "warning")] == 2
    latest = (("alert", "spike.grad"), ("device", ""), ("severity", "warning"))
    assert found["thermograd_last_alert_timestamp_seconds", *latest] == 7
    pair = (("device", "gpu"), ("hardware", "temperature_c"), ("metric", "grad_norm"))
    assert (
        found["thermograd_rolling_correlation", *pair]
        == monitor.pairs.correlations()["grad_norm", "gpu", "temperature_c"]
    )
    assert found["thermograd_coupling_e_value", *pair] > 0
    assert found["thermograd_joined_rows_total",] == monitor.pairs.join.joined > 300
    assert found["thermograd_late_events_total",] == 0


def test_the_page_lists_every_metric_with_its_labels(full):
    exporter, _ = full
    fill(exporter)
    exported = {(s.name, ", ".join(s.labels), m.documentation) for m in exporter.collect() for s in m.samples}
    table = re.findall(r"^\| `(thermograd_\w+)` \| ?(.*?) ?\| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    told = {row for name, *rest in table for row in ((name, *rest), (name.replace("_gpu_", "_cpu_"), *rest))}
    assert told == exported
    assert len(table) == len(set(table))


def test_a_live_layer_answers_while_it_runs_and_a_port_in_use_is_one_line(monkeypatch):
    monkeypatch.setattr(live, "_POLL_S", 0.05)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        taken.listen()
        lines, marks = [], []
        stop = threading.Event()
        stop.set()
        watch_log(list, lambda kind, **v: marks.append((kind, v)), {}, stop, lines.append, settings_on(port))
    assert len(lines) == 1
    assert f"no metrics on 127.0.0.1:{port}" in lines[0]
    assert "all else goes on" in lines[0]
    assert [v["mark"] for _, v in marks].count("error") == 1
    answers, listen = [], Exporter.listen
    ports = []  # one that is free now may be another's in a moment: the system gives it one
    monkeypatch.setattr(Exporter, "listen", lambda self, *_: ports.append(listen(self, 0)))
    polls = iter([[event("step", 1, step=1, loss=2.0)], []])

    def poll():
        found = next(polls, None)
        if found is None:
            return []
        if not found:
            answers.append(series(scrape(ports[0])[1]))
            stop.set()
        return found

    stop.clear()
    watch_log(poll, lambda *_, **__: None, {}, stop, lines.append, settings_on(port))
    assert answers[0]["thermograd_loss", ("rank", "")] == 2.0
    assert len(lines) == 1
    with pytest.raises(OSError, match="refused"):
        scrape(ports[0])


def settings_on(port):
    return Settings(metrics=MetricsSettings(port=port))


def test_a_silence_counts_while_it_lasts_and_its_device_has_no_series(exporter):
    silence = Silence("silent.device", "warning", 5, "d/1()", devices=("GPU-1",), device="GPU-1")
    exporter.publish([event("mark", 6, **silence.mark("GPU 1: no reading"))])
    lasting = ("thermograd_silent", ("alert", "silent.device"), ("device", "GPU-1"))
    port = exporter.listen(0)
    found = series(scrape(port)[1])
    assert found[lasting] == 1
    assert ("thermograd_gpu_power_watts", ("device", "GPU-1")) not in found
    end = ended_mark({"time_ns": 7, "monotonic_ns": 7}, "silent.device", "GPU-1", 5, 6)
    exporter.publish([event("sample", 7, device="GPU-1", **GPU), event("mark", end.pop("time_ns"), **end)])
    found = series(scrape(port)[1])
    assert lasting not in found
    assert found["thermograd_gpu_power_watts", ("device", "GPU-1")] == 250.5
