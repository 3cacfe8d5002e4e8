"""``start_run(config=...)`` and ``run.configure``: whatever it is, and no secret in it."""

import argparse
import collections
import dataclasses
import enum
import json
import math
import types
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

import pytest
import thermograd
from thermograd.ingest.job.configuration import configuration, told
from thermograd.store.query import query
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.own_values.configuration import entries, run_config
from thermograd.store.secrets import REDACTED


class Colour(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Optim:
    lr: float = 0.1
    betas: tuple = (0.9, 0.999)


class Lazy(Mapping):
    """As OmegaConf's: a mapping that is no dictionary, of which a value may be missing."""

    def __init__(self, values, missing=()):
        self.values_, self.missing = values, missing

    def __getitem__(self, key):
        if key in self.missing:
            raise ValueError("missing mandatory value")
        return self.values_[key]

    def __iter__(self):
        return iter(self.values_)

    def __len__(self):
        return len(self.values_)


class LazyList(Sequence):
    def __getitem__(self, index):
        return [1, 2][index]

    def __len__(self):
        return 2


class Described:
    def model_dump(self):
        return {"pydantic": True}


def work():
    return 1


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"a": {"b": [1, 2.5, None, True]}}, {"a": {"b": [1, 2.5, None, True]}}),
        (Optim(), {"lr": 0.1, "betas": [0.9, 0.999]}),
        (argparse.Namespace(x=1, y="z"), {"x": 1, "y": "z"}),
        (types.SimpleNamespace(x=Optim(2)), {"x": {"lr": 2, "betas": [0.9, 0.999]}}),
        (Lazy({"a": 1, "b": 2}, missing=("b",)), {"a": 1, "b": None}),
        ({"l": LazyList()}, {"l": [1, 2]}),
        (Described(), {"pydantic": True}),
        (
            {"p": PurePosixPath("/x/y"), "e": Colour.RED, "n": Point(1, 2)},
            {"p": "/x/y", "e": "red", "n": {"x": 1, "y": 2}},
        ),
        ({1: "a", None: "b", 2.5: "c"}, {"1": "a", "null": "b", "2.5": "c"}),
        ({"nan": math.nan, "inf": -math.inf}, {"nan": "nan", "inf": "-inf"}),
        ({"f": work, "t": Optim}, {"f": f"{__name__}.work", "t": f"{__name__}.Optim"}),
        ({"r": range(3), "b": b"x"}, {"r": "range(0, 3)", "b": "b'x'"}),
        (None, {}),
        ({}, {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_configuration_of_any_kind_is_recorded(given, kept):
    assert configuration(given) == (kept, 0, [])


def test_an_object_is_its_text_without_an_address_which_differs_from_run_to_run():
    values = configuration({"o": object()}).values
    assert values == {"o": "<object object>"}


SECRETS = [
    *(
        "token",
        "hub_token",
        "HF_TOKEN",
        "accessToken",
        "auth_token",
        "auth",
        "api_key",
        "token_2",
        "apikey",
        "apiKey",
    ),
    *("WANDB_API_KEY", "OPENAI-API-KEY", "api.key", "password", "db_password", "passwd", "DB_PWD", "secret"),
    *("token_2", "client_secret", "AWS_SECRET_ACCESS_KEY", "private_key", "credentials", "Authorization"),
]
NO_SECRETS = {
    **{
        "max_tokens": 5,
        "tokens_per_batch": 7,
        "token_count": 7,
        "num_input_tokens_seen": 9,
        "eos_token_id": 3,
    },
    **{
        "tokenizer": "gpt2",
        "pad_token": "<pad>",
        "additional_special_tokens": ["<a>"],
        "include_tokens": True,
    },
    **{"monkey": "a", "key": "b", "keys": ["a"], "author": "c", "passes": 3, "secretary": "d"},
    **{"hub_token": None, "use_api_key": False, "password": 7, "api_key": 0.5, "secret": [1, None]},
    **{"include_num_input_tokens_seen": "no", "secret_dim": 3, "secret_mode": "x", "stop_tokens": ["a"]},
}


@pytest.mark.parametrize("name", ["token_value", "password_hash", "aws_access_key_id", "authToken_header"])
def test_a_secret_whose_name_goes_on_is_one(name):
    assert configuration({name: "x"}).values == {name: "<redacted>"}


@pytest.mark.parametrize("name", SECRETS)
def test_what_is_called_like_a_secret_is_not_recorded_wherever_it_is(name, caplog, tmp_path):
    given = {"a": [{name: "s3cr3t"}], name: "s3cr3t", "deep": argparse.Namespace(**{"x": {name: ["s3cr3t"]}})}
    with thermograd.start_run("s", tmp_path, agent=False, config=given) as run:
        run.configure({"late": {name: "s3cr3t"}})
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"s3cr3t" not in written
    assert run_config(Run(run.path))[name] == REDACTED
    assert name in caplog.text


@pytest.mark.parametrize("name", NO_SECRETS)
def test_what_only_looks_like_a_secret_is_recorded(name):
    assert configuration({name: NO_SECRETS[name]}) == ({name: NO_SECRETS[name]}, 0, [])


def test_a_password_in_an_address_is_not_recorded_and_that_is_said(caplog):
    told(configuration({"a": {"db": "x://me:s3cr3t@host"}}))
    assert "not recorded: the password or token in a.db" in caplog.text
    values = configuration({"db": "postgres://me:s3cr3t@host/x", "site": "https://host:80/a@b"}).values
    assert values == {"db": f"postgres://me:{REDACTED}@host/x", "site": "https://host:80/a@b"}


class Raises:
    def __getattribute__(self, name):
        raise RuntimeError("no")


@pytest.mark.parametrize("given", [5, "text", [1], Optim, b"x"], ids=repr)
def test_what_is_no_configuration_is_said_and_the_run_goes_on(given, tmp_path, caplog):
    with thermograd.start_run("bad", tmp_path, agent=False, config=given) as run:
        run.step(loss=1.0)
    assert run_config(Run(run.path)) == {}
    assert "allowed: a dictionary, a dataclass or a namespace" in caplog.text


def test_what_raises_is_inside_itself_or_too_much_is_left_out_and_counted(tmp_path, caplog):
    inside = {}
    inside["me"] = inside
    many = {f"k{i}": "x" * 5000 for i in range(3000)}
    given = {"odd": Raises(), "inside": inside, "good": 1, "many": many}
    with thermograd.start_run("odd", tmp_path, agent=False, config=given) as run:
        run.step(loss=1.0)
    assert run_config(Run(run.path))["good"] == 1
    assert (run.path / "run.json").stat().st_size < 1 << 20
    assert "left out" in caplog.text


def test_one_value_is_spoken_of_as_one(caplog):
    told(configuration({"odd": Raises()}))
    assert "1 value is left out or cut" in caplog.text


def test_what_is_configured_later_counts_and_stands_beside_what_was(tmp_path):
    with thermograd.start_run("late", tmp_path, agent=False, config={"a": {"b": 1, "c": 2}}) as run:
        run.configure({"a": {"c": 3}}, seed=7)
        run.configure(Optim(lr=0.5))
        run.configure(5)
    assert run_config(Run(run.path)) == {"a": {"b": 1, "c": 3}, "seed": 7, "lr": 0.5, "betas": [0.9, 0.999]}
    assert json.loads((run.path / "run.json").read_text())["config"] == {"a": {"b": 1, "c": 2}}


def test_facts_and_configuration_stand_side_by_side(tmp_path):
    with thermograd.start_run("f", tmp_path, agent=False, config={"a": 1}, facts={"batch": 8}) as run:
        pass
    facts = Run(run.path).facts
    assert (facts["batch"], facts["config"]) == (8, {"a": 1})


def test_sql_has_a_row_a_value_with_its_number(tmp_path):
    config = {
        "lr": 0.1,
        "optim": {"name": "adam", "eps": "1e-8"},
        "flag": True,
        "none": None,
        "l": [1, "é"],
        "e": {},
    }
    with thermograd.start_run("q", tmp_path, agent=False, config=config):
        pass
    found = query("SELECT key, value, number FROM config ORDER BY ALL", tmp_path).to_pylist()
    assert [tuple(row.values()) for row in found] == [
        ("e", "{}", None),
        ("flag", "true", None),
        ("l", '[1, "é"]', None),
        ("lr", "0.1", 0.1),
        ("none", None, None),
        ("optim.eps", "1e-8", 1e-8),
        ("optim.name", "adam", None),
    ]


def test_a_configuration_of_another_program_is_read_or_none(tmp_path):
    for content in ({"config": [1]}, {"config": {"a": {"b": {"c": 1}}}}, {"config": None}, {}):
        path = tmp_path / "r"
        path.mkdir(exist_ok=True)
        (path / "run.json").write_text(json.dumps({"run_id": "r"} | content))
        assert isinstance(run_config(Run(Path(path))), dict)
    assert [entry.key for entry in entries({"a": {"b": {"c": 1}}})] == ["a.b.c"]
