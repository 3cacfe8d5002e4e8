"""The optimizer steps of one iteration of the training loop, and the row that they make together."""

import time
import weakref
from typing import Any

import torch
from thermograd.ingest.capture.by_hand import BEFORE, HandChanges
from thermograd.ingest.capture.gradients import GradientNorm, joined
from thermograd.ingest.capture.layer_norms import LayerReading
from thermograd.ingest.capture.optimizers import Passes, State
from thermograd.ingest.capture.readback import Readback, Scalar, tensor_of
from torch import Tensor

_MOST_NAMED = 8


class Part:
    """One optimizer's step."""

    def __init__(self, optimizer: Any, has_closure: bool = False) -> None:
        self.optimizer = weakref.ref(optimizer) if optimizer is not None else lambda: None
        self.name = type(optimizer).__name__
        self.has_closure = has_closure
        groups = getattr(optimizer, "param_groups", ())
        self.learning_rate: Any = groups[0].get("lr") if groups else None
        self.state: State | None = None
        self.seen: GradientNorm | None = None  # what clipping saw, or what lay there at the step
        self.before: GradientNorm | None = None  # what the backward pass left
        self.ratios: dict[str, Any] = {}
        self.max_norm: float | None = None
        self.found_inf: Any = getattr(optimizer, "found_inf", None)
        self.layers: list[LayerReading] = []
        self.loss: Scalar | None = None
        self.loss_parts = 1  # backward passes whose mean, not sum, the step is on
        self.passes: Passes | None = None
        self.was_dropped = self.skipped = self.is_measured_only = self.is_inside = False
        self.started_ns: int | None = None
        self.monotonic_ns = self.time_ns = 0  # until it has ended

    def end(self) -> None:
        """Note when the optimizer had stepped."""
        self.monotonic_ns, self.time_ns = time.monotonic_ns(), time.time_ns()

    @property
    def changes(self) -> HandChanges | None:
        """What is known of changes by hand to this optimizer's gradients."""
        return self.state.changes if self.state is not None else None

    @property
    def norm(self) -> GradientNorm | None:
        """The norm that counts as far as it is clear now."""
        is_before = self.changes is not None and self.changes.verdict == BEFORE
        first, second = (self.before, self.seen) if is_before else (self.seen, self.before)
        return first if first is not None else second


class Iteration:
    """Steps of different optimizers on gradients of the same backward pass, or watched as one."""

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self.ids: set[int] = set()
        self.loss: Scalar | None = None  # of the backward pass that the steps were made inside of

    def __contains__(self, optimizer: Any) -> bool:
        return any(part.optimizer() is optimizer for part in self.parts)

    def add(self, part: Part) -> None:
        """Add a step; of an optimizer that steps again (inside a wrapper's step) the last one counts."""
        if self.parts:
            optimizer = part.optimizer()
            self.parts = [p for p in self.parts if p.optimizer() is not optimizer or optimizer is None]
        self.parts.append(part)
        if part.state is not None:
            self.ids = self.ids | part.state.ids if self.ids else part.state.ids  # which is never changed
            part.state.changes = (
                self.parts[0].state or part.state
            ).changes  # all or none are clipped by hand

    def shares_pass(self, state: State) -> bool:
        """Whether an optimizer steps on gradients of a backward pass that one of these has stepped on."""
        return any(state.shares_pass(part.passes) for part in self.parts)

    def row(self) -> dict[str, Any]:
        """Return the row, with what is on its way in `readback`."""
        first, last = self.parts[0], self.parts[-1]
        tensors = self._norms()
        if (loss := self.loss if self.loss is not None else self._loss()) is not None:
            tensors["loss"] = loss
        if (inf := _least([part.found_inf for part in self.parts])) is not None:
            tensors["inf"] = inf
        rate = first.learning_rate
        if isinstance(rate, Tensor):
            tensors["rate"], rate = rate, None
        bound, others = first.max_norm, self.parts[1:]  # mostly none
        started_ns = last.started_ns
        return {
            "time_ns": last.time_ns,
            "monotonic_ns": last.monotonic_ns,
            "max_grad_norm": bound
            if not others or len({part.max_norm for part in self.parts}) == 1
            else None,
            "learning_rate": None if rate is None else float(rate),
            "step_time_s": (last.monotonic_ns - started_ns) / 1e9 if started_ns is not None else None,
            "skipped": first.skipped and all(part.skipped for part in others),
            "readback": Readback(tensors),
            "changes": first.changes,
            "is_gone": any(part.ratios.get("is_gone", False) for part in self.parts if part.ratios),
            "was_dropped": first.was_dropped or any(part.was_dropped for part in others),
            "is_measured_only": first.is_measured_only and all(part.is_measured_only for part in others),
            "layers": [reading for part in self.parts for reading in part.layers],
        }

    @property
    def is_shard(self) -> bool:
        """Whether the norm covers this rank's shard only."""
        return any(norm.is_shard for part in self.parts if (norm := part.norm) is not None)

    def _norms(self) -> dict[str, Any]:
        """Return the norm that counts; where that is not clear yet, both, and what tells which."""
        compared = [part for part in self.parts if part.ratios]
        if not compared and len(self.parts) == 1:
            return _named("norm", self.parts[0].norm)
        both = all(part.seen is not None and part.before is not None for part in self.parts)
        if not compared or not both:
            return _named("norm", joined(part.norm for part in self.parts))
        seen, before = joined(p.seen for p in self.parts), joined(p.before for p in self.parts)
        return {
            **_named("norm", seen),
            **_named("before", before),
            "low": _least([part.ratios["low"] for part in compared]),
            "high": _most([part.ratios["high"] for part in compared]),
            "mean": _most([part.ratios["mean"] for part in compared]),
        }

    def _loss(self) -> Scalar | None:
        """Return the loss of the passes that any of the steps has used, each once.

        Of steps that share a pass, one that has waited longer than others also has older losses; one that
        later passes have added to has more of the objective.
        """
        if len(self.parts) == 1:
            return self.parts[0].loss
        losses = [(part.passes, part.loss) for part in self.parts if part.loss is not None]
        if not losses:
            return None
        groups: list[tuple[Passes | None, Scalar]] = []
        for passes, loss in losses:
            for index, (other, _) in enumerate(groups):
                if passes == other or passes is None or other is None:
                    break
                if passes.last == other.last or passes.first == other.first:
                    is_better = (
                        passes.first > other.first if passes.last == other.last else passes.last > other.last
                    )
                    groups[index] = (passes, loss) if is_better else groups[index]
                    break
            else:
                groups.append((passes, loss))
        total = groups[0][1]
        for _, loss in groups[1:]:
            first = tensor_of(total)
            total = first + tensor_of(loss).to(first.device, non_blocking=True)
        return total

    def parts_readback(self) -> tuple[list[dict[str, Any]], Readback] | None:
        """Return the largest part of what several optimizers' norms are, to be read back."""
        norms = [part.norm for part in self.parts]
        if len(self.parts) < 2 or len({id(norm) for norm in norms}) < len(norms):
            return None
        shown = [(part, norm) for part, norm in zip(self.parts, norms, strict=True) if norm is not None]
        shown = [(part, norm) for part, norm in shown if len(norm.parts) == 1][:_MOST_NAMED]
        facts = [{"optimizer": part.name, "learning_rate": _number(part.learning_rate)} for part, _ in shown]
        return facts, Readback({str(i): norm.parts[0] for i, (_, norm) in enumerate(shown)})


def _named(name: str, norm: GradientNorm | None) -> dict[str, Any]:
    return {f"{name}{i}": part for i, part in enumerate(norm.parts)} if norm is not None else {}


def _least(values: list[Any]) -> Tensor | None:
    known = [value for value in values if isinstance(value, Tensor)]
    if len(known) < 2:
        return known[0] if known else None
    return torch.stack([value.to(known[0].device, non_blocking=True).reshape(()) for value in known]).amin()


def _most(values: list[Any]) -> Tensor | None:
    least = _least([-value for value in values if isinstance(value, Tensor)])
    return -least if least is not None else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
