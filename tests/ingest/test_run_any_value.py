"""Any value in any public call: nothing is raised, nothing is lost but the value, and that is counted."""

import json
import logging

import pytest
import thermograd
from hypothesis import HealthCheck, example, given, settings, strategies as st
from odd_values import Odd, OddCount, OddText, Refuses, build, texts, values
from thermograd.store.log.reader import read_kind
from thermograd.store.log.seal import verify_run
from thermograd.store.runs.catalogue import Run

COLUMNS = (
    "loss", "grad_norm", "learning_rate", "epoch", "max_grad_norm", "step_time_s", "skipped", "tokens", "step"
)  # fmt: skip
fuzz = settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def quiet(request):
    """Say nothing in the fuzzes: hypothesis would show it all."""
    if "caplog" not in request.fixturenames:
        logging.getLogger("thermograd").setLevel(logging.CRITICAL)
    yield
    logging.getLogger("thermograd").setLevel(logging.NOTSET)


def rows(run, kind):
    return read_kind(run.path, kind).to_pylist()


@fuzz
@given(st.lists(st.tuples(st.sampled_from(COLUMNS), values), min_size=1, max_size=12))
@example([("loss", Odd("refuses")), ("tokens", 2**70), ("skipped", 1.5), ("step", Odd("object"))])
@example([("loss", Odd("odd number")), ("tokens", Odd("odd count")), ("step", Odd("odd count"))])
@example([(name, Odd("no float")) for name in COLUMNS])
def test_every_step_is_written_whatever_its_values_are(tmp_path, calls):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        for name, recipe in calls:
            run.step(**{"loss": 1.0, "grad_norm": 2.0, "learning_rate": 0.5} | {name: build(recipe)})
    written = rows(run, "step")
    assert len(written) == len(calls)
    for row, (name, _) in zip(written, calls, strict=True):
        beside = {"loss": 1.0, "grad_norm": 2.0, "learning_rate": 0.5, "rank": 0}
        assert {other: row[other] for other in beside if other != name} == {
            other: value for other, value in beside.items() if other != name
        }
    wrong = [
        row[name] is None and recipe is not None for row, (name, recipe) in zip(written, calls, strict=True)
    ]
    assert (run.lost, run.values_left_out) == (0, sum(wrong))
    assert verify_run(run.path)["ok"]


@fuzz
@given(st.lists(st.tuples(values, values, values, st.dictionaries(texts, values, max_size=4)), max_size=5))
@example([("a", 2**70, Odd("refuses"), {"self": Odd("nested"), "loop": Odd("inside itself")})])
@example([(Odd("odd text"), Odd("odd count"), "\ud800", {"": float("nan"), "key": Odd("int64 key")})])
def test_every_mark_is_written_whatever_it_holds(tmp_path, calls):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        for mark, step, text, recipes in calls:
            detail = {key: build(recipe) for key, recipe in recipes.items()}
            detail = {key: value for key, value in detail.items() if key not in ("mark", "step", "text")}
            run.mark(build(mark), build(step), build(text), **detail)
            run.mark("beside", text="a mark", **detail | {"good": 1})
    beside = [row for row in rows(run, "mark") if row["mark"] == "beside"]
    assert [row["text"] for row in beside] == ["a mark"] * len(calls)
    for row in beside:
        assert json.loads(row["detail"], parse_constant=pytest.fail)["good"] == 1
    assert run.lost == 0
    assert verify_run(run.path)["ok"]


@fuzz
@given(facts=values, disabled=st.booleans())
@example(
    facts={"devices": 5, "sampling": 3, "name": 7, "deep": Odd("nested"), 1: Odd("refuses")}, disabled=False
)
@example(facts=Odd("refused key"), disabled=False)
@example(facts=Odd("refuses"), disabled=True)
def test_a_run_starts_whatever_describes_it(tmp_path, monkeypatch, facts, disabled):
    monkeypatch.setenv("THERMOGRAD_DISABLED", str(int(disabled)))
    with thermograd.start_run(runs=tmp_path, agent=False, facts=build(facts)) as run:
        run.step(loss=1.0)
    assert (run.path is None) == disabled
    if run.path is not None:
        assert len(rows(run, "step")) == 1
        assert Run(run.path).facts["thermograd_version"]


options = dict.fromkeys(("hz", "layer_norms", "simulate", "name", "on_alert", "on_alert_line"), values)


@fuzz
@given(st.fixed_dictionaries({}, optional=options))
@example({"hz": Odd("refuses")})
@example({"layer_norms": Odd("array")})
@example({"simulate": []})
def test_an_option_that_is_none_is_refused_in_one_sentence(tmp_path, given_options):
    refused = ""
    try:
        thermograd.start_run(**{"runs": tmp_path, "agent": False} | build(given_options)).close()
    except (TypeError, ValueError) as error:
        refused = str(error)
    assert not refused or ("; allowed: " in refused and len(refused) < 400)


odd = pytest.mark.parametrize(
    "runs",
    [5, b"x", "\0", Refuses(), [], object(), "x" * 5000, OddCount(1)],
    ids=lambda value: type(value).__name__,
)


@odd
def test_a_directory_that_is_none_is_said_and_the_training_goes_on(tmp_path, monkeypatch, caplog, runs):
    monkeypatch.chdir(tmp_path)
    run = thermograd.start_run(runs=runs, agent=False)
    run.step(loss=1.0)
    run.close()
    assert run.path is None
    assert caplog.text.count("records nothing") == 1


@pytest.mark.parametrize(
    "name",
    ["", "\0", "\ud800", "../..", "<script>", "x" * 10**7, "\x1b[2J", OddText("odd")],
    ids=["empty", "NUL", "surrogate", "path", "tag", "long", "escape", "subclass"],
)
def test_a_name_is_any_text(tmp_path, name):
    with thermograd.start_run(name, tmp_path, agent=False) as run:
        run.step(loss=1.0)
    assert run.path.parent == tmp_path
    assert len(Run(run.path).name.encode()) < 2000


def test_what_is_left_out_is_told_once_a_column_and_counted_at_the_end(tmp_path, caplog):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        for _ in range(5):
            run.step(loss="abc", tokens=Refuses())
            run.mark("note", good=1, bad=Refuses())
    assert run.values_left_out == 15
    assert caplog.text.count("a value was left out") == 3
    gaps = [row for row in rows(run, "mark") if row["mark"] == "gap"]
    assert gaps[-1]["text"] == "15 values were left out of events"
    assert json.loads(gaps[-1]["detail"]) == {
        "values_left_out": {"step loss": 5, "step tokens": 5, "mark detail": 5}
    }
    assert [json.loads(row["detail"]) for row in rows(run, "mark") if row["mark"] == "note"] == [
        {"good": 1, "bad": None}
    ] * 5


def test_tensors_and_numbers_of_numpy_are_taken_as_numbers(tmp_path):
    torch = pytest.importorskip("torch")
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        run.step(
            loss=torch.tensor(1.5), tokens=torch.tensor(8), skipped=torch.tensor(False), step=torch.tensor(3)
        )
        run.mark("evaluation", torch.tensor(3), accuracy=torch.tensor([0.5]), sizes=torch.ones(2))
    row = rows(run, "step")[0]
    assert (row["step"], row["loss"], row["tokens"], row["skipped"]) == (3, 1.5, 8, False)
    mark = next(row for row in rows(run, "mark") if row["mark"] == "evaluation")
    assert (mark["step"], json.loads(mark["detail"])) == (3, {"accuracy": 0.5, "sizes": "tensor([1., 1.])"})
    assert run.values_left_out == 0
