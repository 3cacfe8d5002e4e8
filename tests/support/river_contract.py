"""river's own checks of an estimator that need no data set (those need scikit-learn)."""

import inspect
from typing import Any

from river import base
from river.checks import common

CHECKS = {
    name: check
    for name, check in inspect.getmembers(common, inspect.isfunction)
    if name.startswith("check_") and list(inspect.signature(check).parameters) == ["model"]
}


def run_checks(model: Any) -> list[str]:
    """Run every check that applies; return their names."""
    estimator = isinstance(model, base.Estimator)
    names = [
        name
        for name in sorted(CHECKS)
        if (estimator or "tags" not in name)
        and (hasattr(model, "_mutable_attributes") or "mutable_attributes" not in name)
        and (isinstance(model, base.Wrapper) or "wrapper" not in name)
    ]
    for name in names:
        CHECKS[name](model.clone())
    return names
