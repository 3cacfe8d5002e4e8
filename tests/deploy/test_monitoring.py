"""The Grafana dashboard and Prometheus' rules, held against what an exporter really answers."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import pytest
from click.testing import CliRunner
from exporting import fill, full_exporter, scrape
from thermograd.cli import main
from thermograd.store.events import ALERTS, SEVERITIES

pytest.importorskip("promql_parser", reason="promql-parser (extra dev) is not installed")
yaml = pytest.importorskip("yaml", reason="PyYAML (extra dev) is not installed")
from promql import labels_of, scraped  # noqa: E402 - it needs what may be missing

ROOT = Path(__file__).parents[2]
BOARD = json.loads((ROOT / "deploy" / "grafana" / "thermograd.json").read_text(encoding="utf-8"))
RULES_FILE = ROOT / "deploy" / "prometheus" / "thermograd-rules.yaml"
(GROUP,) = yaml.safe_load(RULES_FILE.read_text(encoding="utf-8"))["groups"]
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
VARIABLES = {each["name"]: each for each in BOARD["templating"]["list"]}
ANNOTATIONS = [each for each in BOARD["annotations"]["list"] if not each.get("builtIn")]
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
QUERIES = {
    f"{panel['title']} {target['refId']}": (target["expr"], target["legendFormat"])
    for panel in PANELS
    for target in panel["targets"]
} | {each["name"]: (each["expr"], each["titleFormat"] + each["textFormat"]) for each in ANNOTATIONS}
RULES = {rule["alert"]: rule for rule in GROUP["rules"]}


@pytest.fixture(scope="module")
def answered():
    """Return what Prometheus gets of an exporter that has everything."""
    exporter, _ = full_exporter()
    fill(exporter)
    try:
        return scraped(scrape(exporter.listen(0))[1])
    finally:
        exporter.close()


def filled_in(expression: str) -> str:
    """Return an expression as Grafana sends it, each variable at "All"."""
    return re.sub(r"\$(run|host|device)\b", ".*", expression.replace("$__rate_interval", "1m"))


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_of_the_dashboard_can_be_answered_and_has_the_labels_of_its_legend(name, answered):
    expression, legend = QUERIES[name]
    labels = labels_of(filled_in(expression), answered)
    assert set(re.findall(r"{{(\w+)}}", legend)) <= labels
    assert "$" not in filled_in(expression)


@pytest.mark.parametrize("name", RULES)
def test_a_rule_can_be_answered_and_its_words_have_the_labels_they_name(name, answered):
    rule = RULES[name]
    labels = labels_of(rule["expr"], answered)
    words = rule["annotations"]
    assert words.keys() == {"summary", "description", "runbook"}
    assert rule["labels"]["severity"] in SEVERITIES
    assert set(re.findall(r"\$labels\.(\w+)", " ".join(words.values()))) <= labels
    assert "{{ $labels.name }}" in words["summary"]
    assert all(len(text) > 20 and "  " not in text for text in words.values())
    named = re.findall(r'alert=~?"([^"]+)"', rule["expr"])
    assert {alert for each in named for alert in each.split("|")} <= set(ALERTS)


def test_what_cannot_be_answered_is_told(answered):
    for wrong, why in {
        "thermograd_los": "there is no thermograd_los",
        'thermograd_loss{device="x"}': "has no label device",
        "rate(thermograd_loss[5m])": "rate of a gauge",
        "changes(thermograd_energy_joules_total[5m])": "changes of a counter",
        "sum by (model) (thermograd_loss)": "in no series",
        "thermograd_loss * on (device) thermograd_device": "not on the left",
        "thermograd_loss * on (job) group_left (model) thermograd_run_info": "cannot be taken",
        "thermograd_loss * thermograd_device": "of one side only",
    }.items():
        with pytest.raises(AssertionError, match=re.escape(why)):
            labels_of(wrong, answered)


def test_every_metric_of_training_and_findings_is_on_the_dashboard(answered):
    shown = " ".join(expression for expression, _ in QUERIES.values())
    left_out = {name for name in answered if name not in shown and "_cpu_" not in name}
    assert left_out == {
        "thermograd_epoch",
        "thermograd_gpu_fan_ratio",
        "thermograd_gpu_memory_clock_hertz",
        "thermograd_gpu_memory_temperature_celsius",
        "thermograd_gpu_memory_used_bytes",
        "thermograd_joined_rows_total",
        "thermograd_silent",  # the marks of the alerts show it
    }


# -- the documents, as Grafana and Prometheus read them ------------------------------------------------


def test_the_dashboard_has_what_grafana_asks_of_one():
    assert BOARD["schemaVersion"] >= 36  # the first with a datasource as type and uid
    assert BOARD["uid"] == "thermograd"
    assert BOARD.get("id") is None, "an id is of one Grafana"
    ids = Counter(panel["id"] for panel in BOARD["panels"])
    assert max(ids.values()) == 1
    for panel in PANELS:
        assert panel["datasource"] == SOURCE
        assert [target["datasource"] for target in panel["targets"]] == [SOURCE] * len(panel["targets"])
        assert [target["refId"] for target in panel["targets"]] == list("ABCD"[: len(panel["targets"])])
        assert panel["type"] in ("stat", "table", "timeseries")
        assert panel["title"]
        assert len(panel["description"]) > 10
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_panels_fill_the_screen_and_none_lies_on_another():
    cells = [
        {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        for at in (panel["gridPos"] for panel in BOARD["panels"])
    ]
    assert not any(one & other for one, other in combinations(cells, 2))
    every = set().union(*cells)
    assert {x for x, _ in every} == set(range(24))
    assert len(every) == 24 * (1 + max(y for _, y in every))


def test_what_is_not_known_stays_a_gap():
    series = [panel["fieldConfig"]["defaults"] for panel in PANELS if panel["type"] == "timeseries"]
    assert len(series) > 10
    assert [each["custom"]["spanNulls"] for each in series] == [False] * len(series)
    single = [panel["fieldConfig"]["defaults"] for panel in PANELS if panel["type"] == "stat"]
    assert all(each["noValue"] for each in single)


def test_variables_choose_datasource_run_host_and_device_by_names_for_people(answered):
    assert list(VARIABLES) == ["datasource", "run", "host", "device"]
    assert VARIABLES["datasource"]["query"] == "prometheus"
    for name, label in {"run": "name", "host": "host", "device": "label"}.items():
        query = VARIABLES[name]["query"]["query"]
        series, asked = re.fullmatch(r"label_values\((.+), (\w+)\)", query).groups()
        assert asked == label
        assert label in labels_of(filled_in(series), answered)
        assert VARIABLES[name]["multi"]
    used = set(re.findall(r"\$(\w+)", " ".join(expression for expression, _ in QUERIES.values())))
    assert used == {"run", "host", "device", "__rate_interval"}


def test_alerts_are_annotations_at_the_time_they_were_raised():
    assert [each["name"] for each in ANNOTATIONS] == ["Critical alerts", "Warnings"]
    for each in ANNOTATIONS:
        assert each["useValueForTime"]
        assert each["expr"].endswith(" * 1000"), "Grafana's times are in ms"


# -- how they reach who has the wheel only -----------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "path"),
    [("grafana", "grafana/thermograd.json"), ("rules", "prometheus/thermograd-rules.yaml")],
)
def test_the_command_prints_the_file(words, path):
    printed = CliRunner().invoke(main, ["config", words])
    assert printed.exit_code == 0
    assert printed.stdout == (ROOT / "deploy" / path).read_text(encoding="utf-8")
