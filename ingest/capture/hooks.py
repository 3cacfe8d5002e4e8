"""The places in torch where a training step can be seen, hooked once a process.

Every hook calls the observers that are active and otherwise does what it replaced; without an observer
each costs one check of an empty list. What is defined inside a function of torch is replaced where the
function keeps it, so that a name bound before (``from torch.nn.utils import clip_grad_value_``) is
caught too. No hook raises: observers keep their faults to themselves.

While a CUDA graph is captured nothing is looked at, and its replays call no Python: a script that
captures whole steps logs them by hand. In a region that ``torch.compile`` traces, hooks only set
attributes of `_traced`, which the compiler turns into outputs of its graph: no graph break, and no guard
on what changes at every step.
"""

import functools
import os
import threading
import weakref
from collections.abc import Callable
from operator import attrgetter
from typing import Any, Protocol, TypeVar, cast

import torch
from thermograd.ingest.capture.engines import placing as engine_hooks
from thermograd.ingest.capture.engines.engine import EngineState, EngineStep
from thermograd.ingest.capture.loss_scale import Scaled, pending_scale
from thermograd.ingest.capture.situation import is_capturing, is_inside_backward, is_unseen
from thermograd.store.failures import Guard
from torch import Tensor
from torch.nn.utils import clip_grad
from torch.optim import Optimizer, optimizer as torch_optimizer


class _Observer(Protocol):
    """Sees what the training loop does, as `thermograd.ingest.capture.tap` describes it; may not raise."""

    def before_backward(self) -> None: ...
    def saw_loss(self, loss: Tensor) -> None: ...
    def after_backward(self, scale: Tensor | None = None) -> None: ...
    def saw_clip(
        self, parameters: list[Tensor], max_norm: float | None, norm: Tensor | None, is_given: bool
    ) -> None: ...
    def after_clip(self) -> None: ...
    def before_wrapper(self, wrapper: Any, has_closure: bool) -> None: ...
    def after_wrapper(self, wrapper: Any, has_closure: bool) -> None: ...
    def before_step(self, optimizer: Optimizer, has_closure: bool) -> None: ...
    def after_step(self, optimizer: Optimizer, has_closure: bool) -> None: ...
    def before_scaler_step(
        self, optimizer: Optimizer, pending_scale: Callable[[], Tensor | None]
    ) -> None: ...
    def after_scaler_step(self, optimizer: Optimizer) -> None: ...
    def zeroed(self, owner: Any) -> None: ...
    def saw_engine_step(self, step: EngineStep) -> None: ...


_active: list[_Observer] = []
_first_use: list[Callable[[], object]] = []
_lock = threading.Lock()
_installed = False
_engine = EngineState()
_optimizers = Guard("thermograd could not keep track of an optimizer (%(error)s); training goes on")
_losses = Guard("thermograd could not read a loss (%(error)s); training goes on")
_last_total: tuple[Any, float] = (None, 2.0)
_Function = TypeVar("_Function", bound=Callable[..., Any])
_not_compiled: Callable[[_Function], _Function] = getattr(torch, "_disable_dynamo", lambda function: function)
_is_compiling = torch.compiler.is_compiling


class _Created:
    """The optimizers made since the hooks were installed."""

    def __init__(self) -> None:
        self.optimizers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.count = 0

    def add(self, optimizer: Any) -> None:
        self.optimizers.add(optimizer)
        self.count += 1


created = _Created()


class _Traced:
    """What compiled code has left behind since the last look at it."""

    norm: Any = None
    max_norm: float | None = None
    scale: Any = None


_traced = _Traced()


def add(observer: _Observer) -> None:
    """Let an observer see; hooks are installed where they are not yet."""
    install()
    _active.append(observer)
    place_engines()


def remove(observer: _Observer) -> None:
    """Let an observer see no more."""
    if observer in _active:
        _active.remove(observer)


def place_engines() -> None:
    """Place the hooks in engines that have been imported; also done at each backward pass."""
    engine_hooks.install(_engine, _active, _hook_scaler, _scaled_by)


def on_first_use(start: Callable[[], object]) -> None:
    """Call `start`, which must not raise, when a backward pass, a clip or an optimizer step comes."""
    install()
    _first_use.append(start)


def _seeing() -> list[_Observer]:
    """Return the observers; none while a CUDA graph is captured, where to ask an event would break it."""
    return [] if is_unseen() or (_active and is_capturing()) else _active


def _observers() -> list[_Observer]:
    while _first_use and not is_unseen():
        _first_use.pop()()
    return _seeing()


def _forget() -> None:
    """In a forked child: what it trains, if anything, is not the parent's run."""
    if _active:
        _active.clear()
        _first_use.clear()


def install() -> None:
    """Place the hooks, once a process. They stay."""
    global _installed
    with _lock:
        if _installed:
            return
        _installed = True
    _hook_clipping()
    _hook_backward()
    _hook_scaler(torch.amp.GradScaler)
    _hook_creation(Optimizer)
    _hook_zero_grad(Optimizer)
    _hook_zero_grad(torch.nn.Module)
    torch_optimizer.register_optimizer_step_pre_hook(_step_hook(attrgetter("before_step")))
    torch_optimizer.register_optimizer_step_post_hook(_step_hook(attrgetter("after_step")))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forget)


def _rewire(function: Any, replace: Callable[[Any], Any]) -> None:
    """Put a function in the place of one that a decorator keeps; whoever bound the outer one sees it."""
    inner = getattr(function, "__wrapped__", None)
    for cell in function.__closure__ or ():
        if inner is not None and cell.cell_contents is inner:
            cell.cell_contents = replace(inner)
            return
    name = function.__name__
    for module in (clip_grad, torch.nn.utils):
        for attribute in (name, name.lstrip("_")):
            if getattr(module, attribute, None) is function:
                setattr(module, attribute, replace(function))


def _hook_clipping() -> None:
    total_norm_of = clip_grad._get_total_norm

    @functools.wraps(total_norm_of)
    def get_total_norm(tensors: Any, norm_type: float = 2.0, *args: Any, **kwargs: Any) -> Tensor:
        global _last_total
        norm = total_norm_of(tensors, norm_type, *args, **kwargs)
        if not _is_compiling():
            _last_total = (norm, float(norm_type))
        elif norm_type != 2.0:
            _traced.norm = total_norm_of(tensors, 2.0)
        return norm

    clip_grad._get_total_norm = get_total_norm
    _rewire(clip_grad._clip_grads_with_norm_, _clip_with_norm)
    _rewire(clip_grad.clip_grad_value_, _clip_by_value)


def _listed(tensors: Any) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _clip_with_norm(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def clip(parameters: Any, max_norm: float, total_norm: Tensor, *args: Any, **kwargs: Any) -> None:
        if _is_compiling():
            _traced.max_norm = max_norm
            if _traced.norm is None:
                _traced.norm = total_norm.detach()
        elif not _engine.depth and (observers := _observers()):
            parameters = _listed(parameters)
            total, norm_type = _last_total
            is_given = total is not total_norm
            for observer in observers:
                known = total_norm if is_given or norm_type == 2.0 else None
                observer.saw_clip(parameters, max_norm, known, is_given)
            original(parameters, max_norm, total_norm, *args, **kwargs)
            for observer in observers:
                observer.after_clip()
            return
        original(parameters, max_norm, total_norm, *args, **kwargs)

    return clip


def _clip_by_value(original: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(original)
    def clip(parameters: Any, *args: Any, **kwargs: Any) -> None:
        if _is_compiling():
            parameters = _listed(parameters)
            _traced.norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        elif not _engine.depth and (observers := _observers()):
            parameters = _listed(parameters)
            for observer in observers:
                observer.saw_clip(parameters, None, None, False)
            original(parameters, *args, **kwargs)
            for observer in observers:
                observer.after_clip()
            return
        original(parameters, *args, **kwargs)

    return clip


def _hook_backward() -> None:
    # Tensor.backward looks this name up when it is called, so one hook sees both ways to call it.
    original = torch.autograd.backward

    @functools.wraps(original)
    def backward(tensors: Any, grad_tensors: Any = None, *args: Any, **kwargs: Any) -> None:
        observers = _observers()
        if not observers or grad_tensors is not None or _engine.depth or is_inside_backward():
            original(tensors, grad_tensors, *args, **kwargs)
            return
        _take_traced()
        place_engines()
        for observer in observers:
            observer.before_backward()
        original(tensors, grad_tensors, *args, **kwargs)
        scale = None
        with _losses:
            for tensor in _listed(tensors):
                loss, scale = _scaled.unscaled(tensor)
                for observer in observers:
                    observer.saw_loss(loss)
        for observer in observers:
            observer.after_backward(scale)

    torch.autograd.backward = _not_compiled(backward)


def _take_traced() -> None:
    """Pass on what compiled code has left behind."""
    global _scaled
    if _traced.norm is not None:
        for observer in _seeing():
            observer.saw_clip([], _traced.max_norm, _traced.norm, False)
        _traced.norm = _traced.max_norm = None
    if _traced.scale is not None:
        _scaled, _traced.scale = Scaled(factor=_traced.scale), None


_scaled = Scaled()


def _hook_scaler(scaler_class: Any) -> None:
    """Replace `scale` and `step` of a class of gradient scalers, where it defines them itself."""
    for name, hook in (("scale", _scale), ("step", _scaler_step)):
        if name in vars(scaler_class):
            setattr(scaler_class, name, hook(vars(scaler_class)[name]))


def _scale(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def scale(self: Any, outputs: Any) -> Any:
        global _scaled
        result = original(self, outputs)
        if _is_compiling():
            _traced.scale = self._scale * 1 if self._scale is not None else None
        elif (_active or _first_use) and self.is_enabled() and self._scale is not None:
            loss = outputs.detach() if isinstance(outputs, Tensor) else None
            _scaled = Scaled(loss, result, self._scale.detach().clone())  # it changes in place later
        return result

    return scale


def _scaled_by(loss: Any, result: Any, factor: Any) -> None:
    """Remember what an engine multiplied its loss by."""
    global _scaled
    if _active or _first_use:
        value = factor if isinstance(factor, Tensor) else torch.as_tensor(factor, device=loss.device)
        _scaled = Scaled(loss.detach(), result, value.detach().clone())  # it changes in place later


def _scaler_step(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def step(self: Any, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        if observers := _observers():
            _take_traced()
            pending = functools.partial(pending_scale, self, optimizer)
            for observer in observers:
                observer.before_scaler_step(optimizer, pending)
        result = original(self, optimizer, *args, **kwargs)
        for observer in _seeing():
            observer.after_scaler_step(optimizer)
        return result

    return _not_compiled(step)


def _hook_creation(owner_class: Any) -> None:
    original = owner_class.__init__

    @functools.wraps(original)
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        with _optimizers:
            created.add(self)

    owner_class.__init__ = init


def hook_wrapper(wrapper: Any) -> None:
    """See the steps of objects of a wrapper's class, which torch does not know of."""
    for kind in type(wrapper).__mro__[:-1]:
        step = vars(kind).get("step")
        if step is not None:
            if callable(step) and kind is not Optimizer and not hasattr(step, "_thermograd"):
                setattr(kind, "step", _wrapper_step(step))  # noqa: B010 - a class that has a step
            return


def _wrapper_step(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def step(self: Any, *args: Any, **kwargs: Any) -> Any:
        observers = list(_observers())
        has_closure = _has_closure((self, *args), kwargs)
        for observer in observers:
            observer.before_wrapper(self, has_closure)
        try:
            return original(self, *args, **kwargs)
        finally:
            for observer in observers:
                observer.after_wrapper(self, has_closure)

    hooked: Any = _not_compiled(step)
    hooked._thermograd = True
    return cast("Callable[..., Any]", hooked)


def _hook_zero_grad(owner_class: Any) -> None:
    original = owner_class.zero_grad

    @functools.wraps(original)
    def zero_grad(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        if _active and not _is_compiling():
            for observer in _seeing():
                observer.zeroed(self)

    owner_class.zero_grad = zero_grad


def _step_hook(seen_by: Callable[[_Observer], Callable[[Optimizer, bool], None]]) -> Callable[..., None]:
    def hook(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not _engine.depth:
            _take_traced()
            for observer in _observers():
                seen_by(observer)(optimizer, _has_closure(args, kwargs))

    return _not_compiled(hook)


def _has_closure(args: Any, kwargs: Any) -> bool:
    return any(callable(a) for a in args[1:]) or callable(kwargs.get("closure"))
