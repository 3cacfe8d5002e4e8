"""Norms of single layers: which part of a model a spike comes from. Off unless it is asked for.

They go to the log as `note` marks whose detail is JSON, a bounded number a run and of layers a mark::

    {"layer_norms": [{"layer": "h.3.attn", "norm": 8.1, "share": 0.64}, ...], "layers": 12,
     "not_finite": ["h.3.attn"], "why": "spike"}

`norm` is the L2 norm of the layer's gradient before clipping, `share` its part of the squared norm of
the whole. A layer is what a parameter's name says before its last dot.
"""

import math
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from thermograd.ingest.capture.gradients import local_part, row_norms
from torch import Tensor

_MOST_MARKS = 500
_MOST_LAYERS = 10
_PERIOD = 100
_FOLLOW = 5
_WINDOW = 50
_WARM = 20
_SPIKE = 4.0


class LayerReading:
    """The norms of all parameters of one step, on their way to the host."""

    def __init__(self, parameters: Sequence[Tensor], norms: list[Tensor]) -> None:
        self.ids = [id(p) for p in parameters]
        self._event: Any = None
        stacked = torch.stack([norm.to(norms[0].device, torch.float32) for norm in norms])
        if stacked.is_cuda:
            self._host = torch.empty(len(norms), dtype=torch.float32, pin_memory=True)
            self._host.copy_(stacked, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._host = stacked

    def ready(self) -> bool:
        """Whether the norms have arrived; does not wait."""
        return self._event is None or bool(self._event.query())

    def values(self) -> dict[int, float]:
        """Return the norm of each parameter by its id, waiting where they are not there yet."""
        if self._event is not None:
            self._event.synchronize()
        return dict(zip(self.ids, self._host.tolist(), strict=True))


class LayerNorms:
    """Measures layers and writes a mark where that says something; `note` takes its text, step and detail.

    Every step is measured (a second pass over the gradients), the step of a spike and every 100th are
    written; or nothing is measured until a spike, and the five steps after it are measured and written
    (`only_after_spike`). A spike is a norm that is not finite or four times the median of the last 50
    finite ones; an alert of the agent counts as one. At most 500 marks are written in a run.
    """

    def __init__(self, only_after_spike: bool, note: Callable[..., object]) -> None:
        self._only_after_spike, self._note = only_after_spike, note
        self._names: dict[int, str] = {}
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._left = 0
        self._marks = 0

    def name(self, parameters: Iterable[tuple[str, Tensor]]) -> None:
        """Learn the names of parameters, as ``model.named_parameters()`` gives them."""
        self._names |= {id(p): name for name, p in parameters}

    def hear(self, alert: dict[str, Any]) -> None:
        """Measure the coming steps: the agent has noticed something about the training (in any thread)."""
        if str(alert.get("alert", "")).startswith(("spike.", "nonfinite")):
            self._left = _FOLLOW

    def measure(self, parameters: Sequence[Tensor]) -> LayerReading | None:
        """Return the norms of these parameters' gradients, if this step is to be measured."""
        if self._marks >= _MOST_MARKS or (self._only_after_spike and not self._left):
            return None
        held = [p for p in parameters if p.grad is not None]
        gradients = [local_part(p.grad) for p in held if p.grad is not None]
        return LayerReading(held, row_norms(gradients)) if held else None

    def judge(self, row: dict[str, Any], readings: Sequence[LayerReading]) -> None:
        """Look at a finished step: whether it is a spike, and whether its layers are worth a mark."""
        is_spike = self._is_spike(row.get("grad_norm"))
        if readings and self._marks < _MOST_MARKS:
            why = "spike" if is_spike else "after a spike" if self._left else "regular"
            if why != "regular" or row["step"] % _PERIOD == 0:
                self._write(row["step"], readings, why)
            self._left = max(0, self._left - 1)
        if is_spike:
            self._left = _FOLLOW

    def _is_spike(self, norm: float | None) -> bool:
        if norm is None:
            return False
        if not math.isfinite(norm):
            return True
        known = sorted(self._recent)
        self._recent.append(norm)
        return len(known) >= _WARM and norm > _SPIKE * known[len(known) // 2]

    def _write(self, step: int, readings: Sequence[LayerReading], why: str) -> None:
        squares: dict[str, float] = {}
        norms = {key: norm for reading in readings for key, norm in reading.values().items()}
        for index, (key, norm) in enumerate(norms.items()):
            name = self._names.get(key, "")
            layer = name.rpartition(".")[0] or name or f"parameter {index}"
            squares[layer] = squares.get(layer, 0.0) + norm * norm
        total = math.fsum(s for s in squares.values() if math.isfinite(s))
        finite = sorted((n for n, s in squares.items() if math.isfinite(s)), key=lambda n: -squares[n])
        bad = [name for name, square in squares.items() if not math.isfinite(square)]
        top = [
            {"layer": n, "norm": math.sqrt(squares[n]), "share": squares[n] / total if total else None}
            for n in finite[:_MOST_LAYERS]
        ]
        self._marks += 1
        text = f"largest gradient norms ({why}): {', '.join((bad + finite)[:3])}"
        self._note(
            text, step=step, layer_norms=top, layers=len(squares), not_finite=bad[:_MOST_LAYERS], why=why
        )
