"""The optimizers of Keras 3: a stand-in of theirs, as Keras itself is not among what the tests install."""

import math
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from small_training import exact, loss_of, make_model, seen  # noqa: E402
from thermograd.ingest.capture import hooks  # noqa: E402
from thermograd.ingest.capture.engines.keras import hook_keras, hook_keras_scaled  # noqa: E402


def keras_like():
    """Return modules with classes of Keras' names, which do in order what Keras 3.15 does."""
    module = SimpleNamespace(global_norm=lambda values: math.sqrt(sum(float((v**2).sum()) for v in values)))

    class BaseOptimizer:
        loss_scale_factor = None

        def __init__(self, global_clipnorm=None, steps=None, loss_scale_factor=None):
            self.global_clipnorm, self.gradient_accumulation_steps = global_clipnorm, steps
            self.loss_scale_factor = loss_scale_factor
            self.kept, self.passes = None, 0

        def _clip_gradients(self, grads):
            if not self.global_clipnorm:
                return grads
            norm = module.global_norm(grads)
            return [g * min(1.0, self.global_clipnorm / norm) for g in grads]

        @property
        def learning_rate(self):  # of a schedule
            return 0.01 / (1 + self.passes)

        def scale_loss(self, loss):
            return loss * self.loss_scale_factor if self.loss_scale_factor else loss

        def apply(self, grads, variables):
            grads = [g / (self.loss_scale_factor or 1.0) for g in grads]
            steps, self.passes = self.gradient_accumulation_steps or 1, self.passes + 1
            self.kept = grads if self.kept is None else [a + b for a, b in zip(self.kept, grads, strict=True)]
            if self.passes % steps == 0:
                for p, g in zip(variables, self._clip_gradients([g / steps for g in self.kept]), strict=True):
                    p -= self.learning_rate * g
                self.kept = None

    class LossScaleOptimizer(BaseOptimizer):
        built, dynamic_scale = True, 8.0

        def __init__(self, inner):
            super().__init__()
            self.inner_optimizer = inner

        def scale_loss(self, loss):
            return loss * self.dynamic_scale

        def apply(self, grads, variables):
            grads = [g / self.dynamic_scale for g in grads]
            if all(bool(torch.isfinite(g).all()) for g in grads):
                self.inner_optimizer.apply(grads, variables)

    module.BaseOptimizer, module.LossScaleOptimizer = BaseOptimizer, LossScaleOptimizer
    return module


@pytest.mark.parametrize("bound", [None, 0.5])
@pytest.mark.parametrize("steps", [None, 2])
@pytest.mark.parametrize("scale", [None, "fixed", "found"])
def test_an_update_is_one_step_with_the_norm_before_clipping(rows, bound, steps, scale):
    module = keras_like()
    hook_keras(module, hooks._engine, hooks._active, hooks._scaled_by)
    hook_keras_scaled(module.LossScaleOptimizer, hooks._engine, hooks._active, hooks._scaled_by)
    inner = module.BaseOptimizer(bound, steps, 8.0 if scale == "fixed" else None)
    optimizer = module.LossScaleOptimizer(inner) if scale == "found" else inner
    model, expected, losses, total = make_model(), [], [], None
    weights = list(model.parameters())
    for number in range(4 * (steps or 1)):
        model.zero_grad()
        loss = loss_of(model, seed=number)
        optimizer.scale_loss(loss).backward()
        with torch.no_grad():
            grads = [p.grad.clone() / (8.0 if scale else 1.0) / (steps or 1) for p in weights]
            total = grads if total is None else [a + b for a, b in zip(total, grads, strict=True)]
            losses.append(loss.item() / (steps or 1))
            if len(losses) == (steps or 1):
                norm = math.sqrt(sum(float((g.double() ** 2).sum()) for g in total))
                expected.append((exact(sum(losses)), exact(norm), False))
                losses, total = [], None
            optimizer.apply([p.grad for p in weights], weights)
    assert seen(rows) == expected
    assert {row["max_grad_norm"] for row in rows} == {bound}
    used = (
        [0.01 / (steps or 1) / n for n in range(1, 5)]
        if steps is None
        else [0.01 / (2 * n) for n in range(1, 5)]
    )
    assert [row["learning_rate"] for row in rows] == pytest.approx(used)
