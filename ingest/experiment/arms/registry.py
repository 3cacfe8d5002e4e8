"""The arms by name, each imported when an experiment asks for it."""

import importlib

from thermograd.ingest.experiment.arms.arm import Arm
from thermograd.ingest.experiment.settings import ExperimentOptions

_PLACES = {  # of an arm, the module beside this one and the class
    "duty": ("duty", "DutyArm"),
    "shadow": ("shadow", "ShadowArm"),
    "burner": ("burner", "BurnerArm"),
    "cap": ("cap", "CapArm"),
    "lr": ("learning_rate", "LearningRateArm"),
}


def make_arm(options: ExperimentOptions) -> Arm:
    """Return the arm that the options ask for; ValueError in one sentence for what it does not allow."""
    module, name = _PLACES[options.arm]
    path = f"{__package__}.{module}"
    try:
        kind: type[Arm] = getattr(importlib.import_module(path), name)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise ValueError(f"the arm {options.arm!r} needs {error.name}, which is not installed") from None
        raise ValueError(f"this version has no arm {options.arm!r}") from None
    return kind.from_options(options.to_json())
