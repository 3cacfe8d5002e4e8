"""Labels of a host: where they come from, what is refused, and that a refusal tells no value."""

import pytest
from thermograd.store.errors import ConfigError
from thermograd.store.labels.given import MOST_LABELS, VARIABLE, host_labels, labels_from_text, labels_of


def test_the_variable_is_over_the_file_label_by_label(tmp_path):
    path = tmp_path / "thermograd.toml"
    path.write_text('[labels]\nrack = "r1"\nslot = 7\n[spike]\nk = 7\n')
    assert host_labels({}, path) == {"rack": "r1", "slot": "7"}
    assert host_labels({VARIABLE: "rack=r2, switch=s3"}, path) == {"rack": "r2", "slot": "7", "switch": "s3"}
    assert host_labels({"THERMOGRAD_CONFIG": str(path)}) == {"rack": "r1", "slot": "7"}
    assert host_labels({}, tmp_path / "none.toml") == {}


@pytest.mark.parametrize(
    "text",
    [
        "rack",
        "=r1",
        "1r=r1",
        "rack=",
        "rack=\x1b[2J",
        "rack=r1,rack=r2",
        "host=n1",
        "Device=x",
        "a=" + 65 * "x",
    ],
)
def test_what_is_no_label_is_refused_with_what_is_allowed(text):
    with pytest.raises(ConfigError, match="allowed: .+") as refused:
        labels_from_text(text, "environment")
    assert "\x1b" not in str(refused.value)


def test_a_refusal_never_tells_the_value():
    with pytest.raises(ConfigError) as refused:
        labels_of({"rack": "hunter2?secret"}, "here")
    assert "hunter2" not in str(refused.value)


def test_labels_are_bounded():
    with pytest.raises(ConfigError, match="at most 16"):
        labels_of({f"l{k}": "x" for k in range(MOST_LABELS + 1)}, "here")


def test_a_broken_file_is_one_sentence_without_its_content(tmp_path):
    path = tmp_path / "thermograd.toml"
    path.write_text('token = "hunter2')
    with pytest.raises(ConfigError, match="is no TOML") as refused:
        host_labels({}, path)
    assert "hunter2" not in str(refused.value)


def test_one_bad_label_leaves_the_others(tmp_path):
    told: list[ConfigError] = []
    text = "rack=r12,hunter2secret,switch=s3,pod=hunter2?secret,1x=y,rack=r13"
    assert labels_from_text(text, "here", told.append) == {"rack": "r12", "switch": "s3"}
    assert len(told) == 4
    assert "label 2" in str(told[0])
    assert "'pod'" in " ".join(map(str, told))
    assert "hunter2" not in " ".join(map(str, told))
    path = tmp_path / "some.toml"
    path.write_text('[labels]\nrack = "r1"\npod = ""\n')
    assert host_labels({VARIABLE: "switch=s3"}, path, told.append) == {"rack": "r1", "switch": "s3"}
