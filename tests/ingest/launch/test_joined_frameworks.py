"""What frameworks log under `thermograd run`: modules of their names and shape, as few install here."""

import logging
import sys
from types import ModuleType, SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from thermograd.ingest.capture.framework_steps import FrameworkSteps  # noqa: E402
from thermograd.ingest.launch import trainers  # noqa: E402


@pytest.fixture
def logged(monkeypatch):
    """Return what the launcher's run was given to log."""
    given = []
    run = SimpleNamespace(
        place=SimpleNamespace(rank=0),
        log=lambda values, step=None: given.append((step, values)),
        configure=lambda config: given.append(("config", config)),
        mark=lambda kind, step=None, text=None: given.append((kind, step, text)),
    )
    monkeypatch.setattr("thermograd.ingest.launch.autorun.launched_run", lambda: run)
    return given


def module_named(name, **content):
    module = ModuleType(name)
    vars(module).update(content)
    trainers.join(module)
    return module


def test_what_torchtitan_megatron_and_accelerate_log_is_logged(logged):
    class MetricsProcessor:
        def log(self, step, global_avg_loss, global_max_loss, grad_norm, extra_metrics=None):
            return "logged"

    class Accelerator:
        def log(self, values, step=None, log_kwargs={}):  # noqa: B006 - as Accelerate has it
            return None

        def init_trackers(self, project_name, config=None, init_kwargs={}):  # noqa: B006 - as above
            return None

    def training_log(loss_dict, total_loss_dict, learning_rate, iteration, loss_scale):
        return "reported"

    titan = module_named("torchtitan.components.metrics", MetricsProcessor=MetricsProcessor)
    assert titan.MetricsProcessor().log(3, 2.5, 2.75, 1.0, extra_metrics={"mfu": 0.5}) == "logged"
    megatron = module_named("megatron.training.training", training_log=training_log)
    assert megatron.training_log({"lm loss": 2.0}, {}, 1e-4, iteration=7, loss_scale=1.0) == "reported"
    loop = module_named("accelerate.accelerator", Accelerator=Accelerator).Accelerator()
    loop.init_trackers("project", config={"lr": 0.1})
    loop.log({"accuracy": 0.5}, step=4)
    assert logged == [
        (3, {"global_avg_loss": 2.5, "global_max_loss": 2.75, "mfu": 0.5}),
        (7, {"lm loss": 2.0}),
        ("config", {"lr": 0.1}),
        (4, {"accuracy": 0.5}),
    ]


def test_what_megatron_says_of_a_step_that_it_has_run_again_is_a_mark(logged):
    module_named("megatron.training.training", training_log=lambda loss_dict, iteration: None)
    machine = logging.getLogger("megatron.core.rerun_state_machine")
    machine.warning("Result validation enabled")
    said = "Rank 3, node n1, device 3, iteration #120: Possible transient error!"
    machine.error(said)
    assert logged == [("note", 120, said)]


def test_a_framework_of_another_version_trains_on(logged, caplog):
    module = module_named("megatron.training.training", training_log=lambda losses, iteration: "reported")
    assert module.training_log({"lm loss": 2.0}, 7) == "reported"
    module_named("torchtitan.components.metrics")
    assert logged == []
    assert caplog.text.count("cannot join") >= 1


def test_keras_and_ultralytics_are_given_a_callback(logged, monkeypatch):
    made = []

    class Ours:
        def __init__(self):
            self._training = SimpleNamespace()

        def add_to(self, trainer):
            made.append(type(trainer).__name__)

    monkeypatch.setattr(trainers, "_kind", lambda module: Ours)

    class CallbackList:
        def __init__(self, callbacks=None, **params):
            self.callbacks, self.params = callbacks, params

    keras = module_named("keras.src.callbacks.callback_list", CallbackList=CallbackList)
    for given, expected in ((["own"], ["str", "Ours"]), ("own", ["str", "Ours"]), (None, ["Ours"])):
        made_of = keras.CallbackList(given, epochs=2)
        assert ([type(c).__name__ for c in made_of.callbacks], made_of.params) == (expected, {"epochs": 2})
    base = module_named("ultralytics.utils.callbacks.base", add_integration_callbacks=lambda instance: None)
    base.add_integration_callbacks(type("DetectionTrainer", (), {})())
    base.add_integration_callbacks(type("DetectionValidator", (), {})())
    assert made == ["DetectionTrainer"]


def test_the_number_of_a_step_is_the_frameworks_own(monkeypatch):
    for module, count, begun_at in (
        ("torchtitan.trainer", {"step": 41}, 40),  # counted before the step is made
        ("lightning.pytorch.trainer.trainer", {"global_step": 40}, 40),
        ("pytorch_lightning.trainer.trainer", {"global_step": 0}, 0),
    ):
        trainer = type("Trainer", (), {"__module__": module, **count})()
        scope = {"__name__": module}
        exec("def train_step(self, ask):\n    return ask()\n", scope)
        assert scope["train_step"](trainer, FrameworkSteps().begun_at) == begun_at
    arguments = type("Namespace", (), {"iteration": 0, "curr_iteration": 100})()
    monkeypatch.setitem(
        sys.modules,
        "megatron.training.global_vars",
        SimpleNamespace(get_args=lambda: arguments),
    )
    assert FrameworkSteps().begun_at() == 100
