"""The pass itself: a loss of whatever a module returns, and its gradients, dropped as they arrive."""

import dataclasses
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from thermograd.ingest.experiment.arms.shadow_pass.state import Lent
from torch import Tensor


class NotSafeError(Exception):
    """The pass would reach what is the training's, in a clause; it has not."""


def run_pass(
    call: Callable[..., Any],
    arguments: tuple[tuple[Any, ...], dict[str, Any]],
    lent: Lent,
    own: Collection[int],
) -> str:
    """Go forward and backward once; return what the loss was.

    Parameters
    ----------
    call
        The module, as it is lent.
    own
        Ids of the training's parameters: no gradient may reach them.
    """
    for alias in lent.aliases.values():
        if alias.requires_grad:
            alias.register_post_accumulate_grad_hook(_drop)  # type: ignore[no-untyped-call]
    output = call(*arguments[0], **arguments[1])
    loss, name = loss_of(output)
    del output
    aliases = {id(alias) for alias in lent.aliases.values()}
    foreign = [leaf for leaf in _leaves(loss) if id(leaf) not in aliases]
    if any(id(leaf) in own for leaf in foreign):
        raise NotSafeError("the forward pass uses parameters that it holds where they cannot be exchanged")
    if any(leaf._backward_hooks or getattr(leaf, "_post_accumulate_grad_hooks", None) for leaf in foreign):
        raise NotSafeError("a tensor outside of the module has hooks on its gradient")
    before = [(leaf, leaf.grad) for leaf in foreign]
    try:
        for leaf in foreign:
            leaf.grad = None
        loss.backward()  # type: ignore[no-untyped-call]
    finally:
        for leaf, gradient in before:
            leaf.grad = gradient
    return name


def loss_of(output: Any) -> tuple[Tensor, str]:
    """Return the loss that a module returns, or else the mean squares of its floats, summed; and which."""
    loss = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    if isinstance(loss, Tensor) and loss.numel() == 1 and loss.requires_grad:
        return loss.reshape(()), "the module's own"
    squares = [_mean_square(tensor) for tensor in _floats(output, 0)]
    if not squares:
        raise NotSafeError("the module returns nothing to go backward from")
    return torch.stack([square.to(squares[0].device) for square in squares]).sum(), "mean squares"


def _mean_square(tensor: Tensor) -> Tensor:
    return (tensor.abs() if tensor.is_complex() else tensor).float().square().mean()


def _floats(value: Any, depth: int) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        if value.requires_grad and value.numel():
            yield value
    elif depth > 4:
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _floats(item, depth + 1)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _floats(item, depth + 1)
    elif dataclasses.is_dataclass(value) or hasattr(value, "__dict__"):
        for item in vars(value).values():
            yield from _floats(item, depth + 1)


def _leaves(loss: Tensor) -> list[Tensor]:
    """Return the leaves that gradients would come to."""
    found, seen, ahead = [], set(), [loss.grad_fn]
    while ahead:
        node: Any = ahead.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if type(node).__name__ == "AccumulateGrad":
            found.append(node.variable)
        ahead += [following for following, _ in node.next_functions]
    return found


def _drop(alias: Tensor) -> None:
    alias.grad = None
