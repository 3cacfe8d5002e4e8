"""What `run.watch` is handed: an optimizer, what holds one, a model, or something else altogether."""

import gc
from types import SimpleNamespace

import pytest
import thermograd
import torch
from thermograd.store.log.reader import read_kind
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau


@pytest.fixture
def run(tmp_path):
    with thermograd.start_run(runs=tmp_path, agent=False) as run:
        yield run


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Linear(4, 1)


def make_optimizer(model):
    return torch.optim.AdamW(model.parameters(), lr=1e-3)


def train(model, optimizer, steps=3):
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.ones(2, 4)).square().mean().backward()
        optimizer.step()


def recorded(run):
    run.close()
    return [(row["step"], row["loss"] is not None) for row in read_kind(run.path, "step").to_pylist()]


class Raising:
    def __getattribute__(self, name):
        if name in ("__class__", "__dict__"):
            return object.__getattribute__(self, name)
        raise RuntimeError("not now")


class Lying:
    @property
    def __class__(self):
        return nn.Module


def profiler():
    return torch.profiler.profile()


WRONG = {
    "None": lambda: None,
    "a text": lambda: "adamw",
    "a number": lambda: 3,
    "a class": lambda: torch.optim.AdamW,
    "a class of models": lambda: nn.Linear,
    "a list of parameters": lambda: list(nn.Linear(4, 1).parameters()),
    "a generator of parameters": lambda: nn.Linear(4, 1).parameters(),
    "an empty list": list,
    "a dictionary of numbers": lambda: {"lr": 1e-3},
    "a tensor": lambda: torch.ones(3),
    "a scaler": lambda: torch.amp.GradScaler("cpu", enabled=False),
    "a profiler": profiler,
    "a module": lambda: torch,
    "a function": lambda: train,
    "what raises at every question": Raising,
    "what says that it is a model": Lying,
    "a namespace with a step": lambda: SimpleNamespace(step=lambda: None),
}


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_what_cannot_be_watched_is_said_in_a_sentence_and_the_training_goes_on(run, model, caplog, make):
    run.watch(make())
    said = [record.getMessage() for record in caplog.records]
    assert len(said) <= 1
    assert all("give the optimizer that the loop steps: run.watch(optimizer)" in text for text in said)
    train(model, make_optimizer(model))
    run.step(loss=1.0)
    assert recorded(run)[-1] == (1, True), "and a step that is logged by hand is the first"


@pytest.mark.parametrize("make", WRONG.values(), ids=WRONG)
def test_beside_what_cannot_be_watched_an_optimizer_is(run, model, make):
    optimizer = make_optimizer(model)
    run.watch(make(), optimizer, model=make())
    train(model, optimizer)
    assert recorded(run) == [(1, True), (2, True), (3, True)]


def compiled(model):
    return torch.compile(model, backend="eager")


class Wrapped(nn.Module):
    """As DistributedDataParallel and engines wrap a model: it holds the parameters, under other names."""

    def __init__(self, model):
        super().__init__()
        self.module = model


@pytest.mark.parametrize(
    "around",
    [lambda m: m, Wrapped, compiled, lambda m: [m], lambda m: {"net": m}, lambda m: nn.ModuleList([m])],
)
@pytest.mark.parametrize("is_keyword", [False, True], ids=["first", "model="])
def test_of_a_model_the_optimizer_is_found(run, model, caplog, around, is_keyword):
    other = nn.Linear(4, 1)
    optimizer, stranger = make_optimizer(model), make_optimizer(other)
    run.watch(**{"model": around(model)}) if is_keyword else run.watch(around(model))
    train(model, optimizer)
    train(other, stranger)
    assert recorded(run) == [(1, True), (2, True), (3, True)], "and no other counts"
    assert (
        run.watched_names() == [f"the optimizer of {type(model).__name__}"] or len(run.watched_names()) == 1
    )
    assert caplog.text == ""


def test_an_optimizer_of_before_a_new_one_for_the_same_model_harms_nothing(run, model, caplog):
    """In a notebook a cell is run again, and the optimizer of the first time lives on."""
    before, optimizer = make_optimizer(model), make_optimizer(model)
    run.watch(model)
    train(model, optimizer)
    assert recorded(run) == [(1, True), (2, True), (3, True)]
    assert before is not None
    assert caplog.text == "", "that the other has not stepped is no news"


def test_where_there_is_no_optimizer_yet_it_is_asked_for_and_what_steps_is_recorded(run, model, caplog):
    gc.collect()
    run.watch(model)
    assert "no optimizer holds parameters of Linear yet; give the optimizer" in caplog.text
    train(model, make_optimizer(model))
    assert recorded(run) == [(1, True), (2, True), (3, True)]


@pytest.mark.parametrize(
    "around",
    [
        lambda o: [o],
        lambda o: (o, LambdaLR(o, lambda _: 1.0)),
        lambda o: {"optimizer": o, "lr_scheduler": LambdaLR(o, lambda _: 1.0)},
        lambda o: ([o], [{"scheduler": LambdaLR(o, lambda _: 1.0)}]),
        lambda o: LambdaLR(o, lambda _: 1.0),
        ReduceLROnPlateau,
        lambda o: SimpleNamespace(scheduler=LambdaLR(o, lambda _: 1.0), step=lambda: None),
        lambda o: SimpleNamespace(optimizer=o),
    ],
    ids=["list", "with a scheduler", "Lightning's dictionary", "Lightning's lists", "scheduler", "plateau",
         "accelerate's scheduler", "trainer"],
)  # fmt: skip
def test_what_holds_an_optimizer_is_opened(run, model, caplog, around):
    optimizer, other = make_optimizer(model), make_optimizer(nn.Linear(4, 1))
    run.watch(around(optimizer))
    train(model, optimizer)
    train(nn.Linear(4, 1), other)
    assert recorded(run) == [(1, True), (2, True), (3, True)]
    assert caplog.text == ""


def test_what_accelerate_prepares_is_watched(run, model, caplog):
    accelerate = pytest.importorskip("accelerate", reason="accelerate (extra train) is not installed")
    accelerator = accelerate.Accelerator(cpu=True)
    wrapped = accelerator.prepare(model, make_optimizer(model))
    for given in (wrapped, wrapped[::-1], wrapped[0], wrapped[1]):
        run.watch(given)
    train(*wrapped)
    assert recorded(run) == [(1, True), (2, True), (3, True)]
    assert caplog.text == ""


def test_a_module_of_lightning_is_a_model(run, caplog):
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")

    class Module(lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(4, 1)

    module = Module()
    optimizer = make_optimizer(module)
    run.watch(module)
    train(module.net, optimizer)
    assert recorded(run) == [(1, True), (2, True), (3, True)]
    assert caplog.text == ""


# -- watched, and logged by hand -----------------------------------------------------------------------


def test_steps_by_hand_go_on_after_those_that_were_seen(run, model):
    optimizer = make_optimizer(model)
    run.watch(optimizer)
    train(model, optimizer)
    for _ in range(2):
        run.step(loss=1.0)
    assert [step for step, _ in recorded(run)] == [1, 2, 3, 4, 5]


def test_steps_that_are_seen_go_on_after_those_by_hand(run, model):
    for _ in range(2):
        run.step(loss=1.0)
    optimizer = make_optimizer(model)
    run.watch(optimizer)
    train(model, optimizer)
    assert [step for step, _ in recorded(run)] == [1, 2, 3, 4, 5]


def test_a_loop_that_logs_what_is_watched_too_is_not_recorded_twice(run, model, caplog):
    optimizer = make_optimizer(model)
    run.watch(optimizer)
    for _ in range(20):
        train(model, optimizer, steps=1)
        run.step(loss=1.0)
    steps = [step for step, _ in recorded(run)]
    assert steps == list(range(1, 22)), "the one that was seen before the first by hand, and those by hand"
    assert caplog.text.count("steps are logged by hand from here on") == 1
    texts = [mark["text"] for mark in read_kind(run.path, "mark").to_pylist() if mark["mark"] == "gap"]
    assert len(texts) == 1
    assert "logged by hand" in texts[0]
