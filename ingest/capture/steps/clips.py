"""The clip calls that no step has used yet, and which gradients they saw before anything was clipped."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from thermograd.ingest.capture.gradients import GradientNorm, gradient_norm
from thermograd.ingest.capture.layer_norms import LayerReading
from torch import Tensor


@dataclass(eq=False)
class Clip:
    """The norm of some parameters' gradients before they were clipped."""

    parameters: Sequence[Tensor]
    max_norm: float | None
    norm: GradientNorm | None
    is_given: bool = False  # a total that the script has from somewhere, and may clip to in several calls
    is_old: bool = False  # a backward pass has changed the gradients since
    used_by: set[int] = field(default_factory=set)
    ids: set[int] = field(default_factory=set)
    layers: LayerReading | None = None

    @property
    def is_done(self) -> bool:
        """Whether nothing more can be said of it: a step has used it, or the gradients are others now."""
        return self.is_old or bool(self.used_by)


class Clipped(NamedTuple):
    """What clipping saw of an optimizer's gradients."""

    clips: Sequence[Clip]
    rest: Sequence[Tensor] = ()  # parameters with gradients that no call saw
    is_exact: bool = True  # no call saw gradients of other parameters besides

    @property
    def max_norm(self) -> float | None:
        """The bound, where all calls had the same."""
        bounds = {clip.max_norm for clip in self.clips if clip.max_norm is not None}
        return bounds.pop() if len(bounds) == 1 else None

    @property
    def norms(self) -> list[GradientNorm]:
        """The norms before clipping, whose squares add up."""
        return [clip.norm for clip in self.clips if clip.norm is not None]


class Clips:
    """The clip calls that await their optimizer step, any number of them.

    Calls for different parameters add up to one norm; of calls for the same ones the first saw the
    gradients as they were. A total that the script has from somewhere and clips to in several calls (device
    meshes) is one total.
    """

    def __init__(self) -> None:
        self._calls: list[Clip] = []
        self._of: dict[int, Clip] = {}
        self._only: Clip | None = None  # the first call, which is not in `_of` yet: mostly there is no second

    def add(self, new: Clip) -> bool:
        """Add a call; return whether it saw gradients that no call before it had clipped.

        A call without parameters is one of compiled code, which does not tell whose gradients it clips.
        """
        new.ids = set(map(id, new.parameters))
        if not self._calls and not self._of:
            self._calls.append(new)
            self._only = new
            return True
        of = self._by_parameter()
        before = {i for i in new.ids & of.keys() if not of[i].is_done}
        for clip in {id(c): c for c in map(of.get, before)}.values():
            if clip is not None and clip.max_norm is None:
                clip.max_norm = new.max_norm
        if before:
            new.ids -= before
            new.parameters = [p for p in new.parameters if id(p) in new.ids]
            if not new.ids:
                return False
            new.norm = gradient_norm(new.parameters)  # what the call saw is in part clipped
        elif new.is_given and (given := self._open_total()) is not None:
            given.norm, given.max_norm = new.norm, new.max_norm
            given.parameters, given.ids = [*given.parameters, *new.parameters], given.ids | new.ids
            self._of.update(dict.fromkeys(new.ids, given))
            return False
        self._calls.append(new)
        self._of.update(dict.fromkeys(new.ids, new))
        return True

    def _by_parameter(self) -> dict[int, Clip]:
        """Return the latest call that saw a parameter, by the parameter's id."""
        only, self._only = self._only, None
        if only is not None:
            self._of.update(dict.fromkeys(only.ids, only))
        return self._of

    def _open_total(self) -> Clip | None:
        return next((clip for clip in self._calls if clip.is_given and not clip.is_done), None)

    def outdate(self, ids: set[int] | None) -> None:
        """Gradients of these parameters (None: of all) have changed since the calls there are."""
        for clip in self._calls:
            if ids is None or not clip.ids or not ids.isdisjoint(clip.ids):
                clip.is_old = True

    def forget_done(self) -> None:
        """Drop the calls of which nothing more can be said."""
        left = [clip for clip in self._calls if not clip.is_done]
        if len(left) < len(self._calls):
            self._calls, self._only = left, None
            self._of = {i: clip for clip in left for i in clip.ids}

    def unused(self, ids: set[int]) -> Clip | None:
        """Return a call that clipped gradients of these parameters, which no step has used."""
        mine = (c for c in self._calls if not c.is_done and not (c.ids and ids.isdisjoint(c.ids)))
        return next(mine, None)

    def take(
        self, user: int, parameters: Sequence[Tensor], ids: set[int], others: Iterable[set[int]]
    ) -> Clipped | None:
        """Return what clipping saw of these parameters, None where it saw nothing.

        Parameters that no call names (master copies) go with calls for parameters that belong to nobody:
        to none of the `others`.
        """
        few = len(ids) < len(self._calls)
        calls: Collection[Clip | None] = (
            {id(c): c for c in map(self._by_parameter().get, ids)}.values() if few else self._calls
        )
        mine = [c for c in calls if c is not None and self._is_open(c, user) and not ids.isdisjoint(c.ids)]
        if not mine:
            strays = [c for c in self._calls if not c.is_done]
            strays = [c for c in strays if all(c.ids.isdisjoint(other) for other in others)] if strays else []
            return self._used(user, Clipped(strays)) if strays else None
        seen = mine[0].ids if len(mine) == 1 else set().union(*(c.ids for c in mine))
        rest = [] if ids <= seen else [p for p in parameters if id(p) not in seen and p.grad is not None]
        extra = seen - ids
        is_exact = not extra or all(p.grad is None for c in mine for p in c.parameters if id(p) in extra)
        return self._used(user, Clipped(mine, rest, is_exact))

    def take_all(self) -> Clipped | None:
        """Return all that no step has used."""
        unused = [clip for clip in self._calls if not clip.is_done]
        return self._used(0, Clipped(unused)) if unused else None

    @staticmethod
    def _is_open(clip: Clip, user: int) -> bool:
        return not clip.is_old and user not in clip.used_by

    @staticmethod
    def _used(user: int, clipped: Clipped) -> Clipped:
        for clip in clipped.clips:
            clip.used_by.add(user)
        return clipped
