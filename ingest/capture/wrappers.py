"""Finding the torch optimizers inside what a script calls its optimizer.

ScheduleFree, SAM, Lookahead, LARC, Accelerate, Lightning and hand-made classes keep them under names of
their own (`base`, `base_optimizer`, `optimizer`, `_optimizer`, `optim`), some in a list.
"""

import weakref
from collections.abc import Iterator
from typing import Any

from torch.optim import Optimizer

_DEEPEST = 4
_MOST_ITEMS = 64
_known: "weakref.WeakKeyDictionary[Any, list[weakref.ref[Optimizer]]]" = weakref.WeakKeyDictionary()


def optimizers_in(wrapper: Any) -> list[Optimizer]:
    """Return the torch optimizers inside an object, but not the object itself, those on top first."""
    try:
        known = _known.get(wrapper)
    except TypeError:  # it has no hash or takes no weak reference
        return _found(wrapper)
    if known is None:
        known = _known[wrapper] = [weakref.ref(optimizer) for optimizer in _found(wrapper)]
    return [optimizer for ref in known if (optimizer := ref()) is not None]


def is_hooked(optimizer: Any) -> bool:
    """Whether torch calls its hooks around this object's steps."""
    return (
        isinstance(optimizer, Optimizer)
        and "_optimizer_step_pre_hooks" in vars(optimizer)
        and bool(getattr(type(optimizer).step, "hooked", False))
    )


def _found(wrapper: Any) -> list[Optimizer]:
    seen, found, level = {id(wrapper)}, [], [wrapper]
    for _ in range(_DEEPEST):
        parts = [part for item in level for part in _parts(item)]
        level = [p for p in {id(p): p for p in parts}.values() if id(p) not in seen]
        seen.update(map(id, level))
        found += [part for part in level if isinstance(part, Optimizer)]
    return found


def _parts(wrapper: Any) -> Iterator[Any]:
    """Iterate over what an object holds that can step."""
    held = dict(getattr(wrapper, "__dict__", {}))
    for name in _slots(type(wrapper)):
        held[name] = getattr(wrapper, name, None)
    for name, value in held.items():
        if name in ("state", "param_groups", "defaults"):
            continue
        items = list(value.values()) if isinstance(value, dict) else value
        several = items[:_MOST_ITEMS] if isinstance(items, list | tuple) else [items]
        yield from (item for item in several if not isinstance(item, type) and hasattr(type(item), "step"))


def _slots(kind: type) -> list[str]:
    declared = [getattr(base, "__slots__", ()) for base in kind.__mro__]
    names = [name for slots in declared for name in ([slots] if isinstance(slots, str) else slots)]
    return [name for name in names if not name.startswith("__")]
