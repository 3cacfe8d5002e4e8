"""Settings: where they come from, what is refused and how, and that they are the detectors' own."""

import inspect
import json
import tomllib
from typing import get_args

import pytest
from msgspec.structs import fields
from thermograd.store.errors import ConfigError
from thermograd.stream.alerts.rules import device_rules, step_rules
from thermograd.stream.level_shift import LevelShift
from thermograd.stream.pipeline.config import live_settings, load_config, recorded_settings, variable_of
from thermograd.stream.pipeline.config_text import settings_rows, settings_toml
from thermograd.stream.settings import DEFINING, Settings, SinkSettings
from thermograd.stream.spike import SpikeDetector
from thermograd.stream.throttle import ThrottleDetector

SECRET = "T0PS3CRET"


@pytest.fixture
def load(tmp_path):
    """Return a function that loads a configuration from text and variables."""

    def read(text="", **environment):
        path = tmp_path / "thermograd.toml"
        path.write_text(text)
        return load_config(path, environment)

    return read


def test_without_a_file_every_setting_is_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    configuration = load_config(None, {})
    assert configuration.settings == Settings()
    assert configuration.path is None
    assert configuration.source("spike.k") == "default"


def test_the_environment_is_over_the_file_and_the_file_over_the_defaults(load):
    configuration = load("[spike]\nk = 7\nwindow_steps = 64\n", THERMOGRAD_SPIKE_K="8.5")
    spike = configuration.settings.spike
    assert (spike.k, spike.window_steps, spike.warmup_steps) == (8.5, 64, 20)
    assert configuration.source("spike.k") == "environment THERMOGRAD_SPIKE_K"
    assert configuration.source("spike.window_steps").endswith("thermograd.toml:3")
    assert configuration.source("spike.warmup_steps") == "default"


def test_the_file_is_found_in_the_working_directory_or_by_its_variable(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "thermograd.toml").write_text("[spike]\nk = 7\n")
    (tmp_path / "other.toml").write_text("[spike]\nk = 9\n")
    assert load_config(None, {}).settings.spike.k == 7
    assert load_config(None, {"THERMOGRAD_CONFIG": "other.toml"}).settings.spike.k == 9


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[spike]\nk = -1\n", "thermograd.toml:2: spike.k is -1; allowed: a number above 0"),
        ("[spike]\nk = true\n", "spike.k is True; allowed: a number above 0"),
        ("[spike]\nk = nan\n", "spike.k is nan; allowed"),
        ('[spike]\nk = "7"\n', "spike.k is '7'; allowed: a number above 0"),
        ("[spike]\nquiet_steps = 1.5\n", "spike.quiet_steps is 1.5; allowed: a whole number from 1"),
        ("[spike]\nkk = 1\n", "there is no setting 'kk' in [spike]; did you mean k?"),
        ("[spyke]\nk = 1\n", "thermograd.toml:1: there is no section [spyke]; did you mean spike?"),
        ("spike = 1\n", "write [spike] and its keys below"),
        ("[throttle]\nidle_pct = 101\n", "throttle.idle_pct is 101; allowed: a number from 0 up to 100"),
        ('[alerts]\noff = ["spikes"]\n', "alerts.off is ['spikes']; allowed: a list of spike.grad"),
        ('[alerts]\nminimum = "fatal"\n', "alerts.minimum is 'fatal'; allowed: info, warning, critical"),
        ("[spike]\nwindow_steps = 10\n", "spike.window_steps (", ),
        ("[spike\n", "is no TOML: "),
        ("sinks = 3\n", "each sink is a table: write [sinks.NAME]"),
        ('[sinks.a]\nurl = "x"\n', "sinks.a has no type; allowed: jsonl, webhook, apprise"),
        ('[sinks.a]\ntype = "jsonl"\n', "sinks.a is a jsonl sink and needs 'path'"),
        ('[sinks."a b"]\ntype = "jsonl"\n', "a sink's name has 1 to 64 letters"),
        ('[sinks.a]\ntype = "webhook"\nurl = "***"\n', "which stood for a secret: put it back"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_sentence_with_place_and_what_is_allowed(load, text, sentence):
    with pytest.raises(ConfigError) as caught:
        load(text)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "thermograd.toml" in str(caught.value)


def test_settings_that_do_not_go_together_are_refused(load):
    with pytest.raises(ConfigError, match="do not go together.*2 <= warmup_steps <= window_steps"):
        load("", THERMOGRAD_SPIKE_WINDOW_STEPS="4")


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("THERMOGRAD_SPIKE_K", "high", "spike.k is 'high'; allowed: a number above 0"),
        ("THERMOGRAD_SPIKE_KAY", "7", "there is no such setting; did you mean THERMOGRAD_SPIKE_K?"),
        ("THERMOGRAD_CONFIG", "/no/such.toml", "cannot read /no/such.toml: No such file"),
    ],
)
def test_a_wrong_variable_is_named(tmp_path, monkeypatch, name, value, sentence):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        load_config(None, {name: value})
    assert sentence in str(caught.value)


def test_other_variables_of_ours_and_empty_ones_are_no_settings(load):
    text = '[sinks.a]\ntype = "apprise"\nurl = "env:THERMOGRAD_ALERTS_URL"\n'
    configuration = load(text, THERMOGRAD_ALERTS_URL=SECRET, THERMOGRAD_RUNS="x", THERMOGRAD_SPIKE_K="")
    assert configuration.settings.spike.k == 6.75


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7.0), ("1e2", 100.0)]
)  # fmt: skip
def test_numbers_of_the_environment_are_read_as_usual(load, text, value):
    assert load("", THERMOGRAD_SPIKE_K=text).settings.spike.k == value


def test_lists_of_the_environment_have_commas(load):
    assert load("", THERMOGRAD_ALERTS_OFF="coupling, sensor.gap").settings.alerts.off == (
        "coupling", "sensor.gap")  # fmt: skip


def test_every_setting_has_a_variable_of_its_own_and_a_meaning():
    sections = [f.name for f in fields(Settings) if f.name != "sinks"]
    names = [variable_of(s, f.name) for s in sections for f in fields(getattr(Settings(), s))]
    assert len(names) == len(set(names)) > 40
    for section in sections:
        for of in fields(getattr(Settings(), section)):
            assert get_args(of.type)[1].description


def parameters(detector):
    return {name: p.default for name, p in inspect.signature(detector).parameters.items()}


@pytest.mark.parametrize(
    ("section", "detector", "others"),
    [
        ("spike", SpikeDetector, {"ratio": 1.3}),
        ("shift", LevelShift, {}),
        ("throttle", ThrottleDetector, {"temperature_limit_c": None}),
    ],
)
def test_a_section_has_every_parameter_of_its_detector_with_the_same_default(section, detector, others):
    settings = getattr(Settings(), section)
    given = {f.name: getattr(settings, f.name) for f in fields(settings)}
    renamed = {"grad_ratio", "loss_ratio", "critical_score"}
    assert {k: v for k, v in given.items() if k not in renamed} | others == parameters(detector)


def test_a_changed_setting_reaches_its_detector():
    text = {
        "spike": {"k": 9.0, "critical_score": 3.0},
        "sensor_gap": {"least_s": 8.0},
        "throttle": {"quiet_s": 9.0},
    }
    settings = recorded_settings(text)
    spike = step_rules(settings)[0]
    assert (spike._detector.k, spike._describe.keywords) == (9.0, {"critical_score": 3.0})
    throttle, gap = device_rules("gpu", {}, settings)
    assert throttle._detector.quiet_s == 9.0
    assert "least_s=8.0" in gap.definition


def test_definitions_survive_the_record_and_hold_no_secret():
    sink = SinkSettings(type="webhook", url=f"https://x/{SECRET}", token=SECRET)
    settings = Settings(sinks={"a": sink})
    record = json.dumps(settings.definitions())
    assert SECRET not in record
    assert SECRET not in repr(settings)
    again = recorded_settings(json.loads(record))
    assert again == Settings()
    assert again.definition_hash == settings.definition_hash
    assert recorded_settings({"spike": {"k": 7.0}}).definition_hash != again.definition_hash
    assert recorded_settings(None) == Settings()


def test_runs_recorded_with_the_spike_rule_before_are_replayed_with_it():
    recorded = {"k": 6.0, "warmup_steps": 20, "rebase_steps": 32, "critical_score": 10.0}
    for definitions in ({"spike": recorded}, {"shift": {"ratio": 1.6}}):
        spike = step_rules(recorded_settings(definitions))[1]
        assert spike._detector.definition_id == (
            "spike/2(k=6.0,window_steps=128,ratio=1.1,warmup_steps=20,rebase_steps=32,quiet_steps=10)"
        )
        assert spike._describe.keywords == {"critical_score": 10.0}
    now = Settings().definitions()
    assert step_rules(recorded_settings(now))[1]._detector.definition_id.startswith("spike/3(k=6.75,")


def test_a_recorded_setting_that_is_not_known_is_refused():
    for definitions in ({"spike": {"new": 1}}, {"new": {}}):
        with pytest.raises(ConfigError, match="which this version does not have"):
            recorded_settings(definitions)


SINKS = f"""
[sinks.team]
type = "webhook"
url = "https://chat.example/{SECRET}"
token = "{SECRET}"

[sinks.mail]
type = "apprise"
url = "env:MAIL_URL"
"""


def test_what_is_shown_is_a_file_to_start_from_without_secrets(load):
    configuration = load(f"[spike]\nk = 7\n{SINKS}", THERMOGRAD_SHIFT_RATIO="2")
    text = settings_toml(configuration, {"MAIL_URL": SECRET})
    assert SECRET not in text
    shown = tomllib.loads(text)
    assert shown["spike"]["k"] == 7.0
    assert shown["shift"]["ratio"] == 2.0
    assert set(shown) == {f.name for f in fields(Settings)}
    assert shown["sinks"]["team"]["url"] == "***"
    assert shown["sinks"]["mail"]["url"] == "env:MAIL_URL"
    assert "thermograd.toml:2: standard deviations" in text
    assert "environment THERMOGRAD_SHIFT_RATIO" in text
    assert "NOT SET" in settings_toml(configuration, {})


def test_the_default_configuration_can_be_saved_and_read_again(load):
    text = settings_toml(load(""))
    again = load(text)
    assert again.settings == Settings()
    assert "# [sinks.team]" in text


def test_rows_tell_default_value_source_and_what_is_allowed(load):
    rows = settings_rows(load(SINKS), {})
    assert SECRET not in json.dumps(rows)
    assert rows[0] == {
        "section": "spike", "key": "k", "value": 6.75, "default": 6.75, "source": "default",
        "allowed": "a number above 0", "meaning": "standard deviations above the recent level",
    }  # fmt: skip


def test_a_secret_is_in_no_error(load):
    for text in (
        f'[sinks.a]\ntype = "webhook"\nurl = "ftp://x/{SECRET}"\n',
        f'[sinks.a]\ntype = "webhook"\nurl = "http://example.com/{SECRET}"\n',
        f'[sinks.a]\ntype = "webhook"\nurl = "https://[{SECRET}"\n',
        f'[sinks.a]\ntype = "webhook"\nurl = ["https://x/{SECRET}"]\n',
        f'[sinks.a]\ntype = "webhook"\nurk = "https://x/{SECRET}"\n',
        f'[sinks.a]\ntype = "webhook"\nurl = "https://x/{SECRET}\n',
    ):
        with pytest.raises(ConfigError) as caught:
            load(text)
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None or SECRET not in repr(caught.value.__cause__)


def test_a_live_run_goes_on_with_the_defaults_whatever_is_wrong(tmp_path):
    told = []
    path = tmp_path / "x.toml"
    path.write_text("[spike]\nk = 0\n")
    assert live_settings(path, told.append) == Settings()
    assert len(told) == 1
    assert "spike.k is 0" in told[0]


def test_who_is_told_is_no_definition():
    telling = {"terminal", "metrics", "publish", "fleet", "sinks"}
    assert set(DEFINING).isdisjoint(telling)
    assert set(DEFINING) | telling == {f.name for f in fields(Settings)}


def test_where_to_publish_is_taken_from_its_short_variable_and_never_shown(load):
    configuration = load(THERMOGRAD_PUBLISH="nats://me:hunter2@host", THERMOGRAD_FLEET_SILENT_S="20")
    assert configuration.settings.publish.url == "nats://me:hunter2@host"
    assert configuration.settings.fleet.silent_s == 20.0
    assert "hunter2" not in settings_toml(configuration) + repr(configuration.settings.publish)


def test_labels_of_the_host_are_read_shown_and_refused(load):
    configuration = load('[labels]\nrack = "r1"\n', THERMOGRAD_LABELS="switch=s3")
    assert configuration.labels == {"rack": "r1", "switch": "s3"}
    assert tomllib.loads(settings_toml(configuration))["labels"] == {"rack": "r1", "switch": "s3"}
    with pytest.raises(ConfigError, match=r"thermograd.toml:1: label 1, 'rack': its value does not fit"):
        load('[labels]\nrack = ""\n')


def test_a_chat_has_pictures_by_default_and_a_webhook_where_it_says_so(load):
    text = '[sinks.{0}]\ntype = "{1}"\nurl = "https://example.com/x"\n{2}\n'
    chosen = [("chat", "apprise", ""), ("plain", "apprise", "picture = false"), ("hook", "webhook", "")]
    chosen.append(("asked", "webhook", "picture = true"))
    sinks = load("".join(text.format(*each) for each in chosen)).settings.sinks
    assert {name: sink.picture for name, sink in sinks.items()} == {
        "chat": True,
        "plain": False,
        "hook": False,
        "asked": True,
    }
    with pytest.raises(ConfigError, match="sinks.x.picture is 'always'; allowed: true or false"):
        load(text.format("x", "webhook", 'picture = "always"'))
