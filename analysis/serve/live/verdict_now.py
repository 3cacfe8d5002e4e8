"""The verdict as it would stand now: worked out when somebody looks, by one niced process at a time."""

import asyncio
import json
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thermograd.store.runs.catalogue import Run

_LEAST_APART_S, _COSTS_APART = 60.0, 10.0
_TIMEOUT_S = 900.0
_MOST_KEPT = 100
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Verdict:
    """What was found of a run: plain words or why there are none; at which length and when, and its cost."""

    told: dict[str, Any]
    events: int
    at_s: float
    cost_s: float

    def is_due(self, events: int) -> bool:
        """Return whether there is more of the run, and time has passed since."""
        apart_s = max(_LEAST_APART_S, _COSTS_APART * self.cost_s)
        return events != self.events and time.time() - self.at_s >= apart_s


class VerdictDesk:
    """The verdicts of a server's runs, kept by run and number of events."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Verdict] = OrderedDict()
        self._working: dict[str, asyncio.Task[None]] = {}
        self._one = asyncio.Lock()

    def ask(self, run: Run, events: int) -> dict[str, Any]:
        """Return what is known, and let it be worked out where it is due; for the server's own loop."""
        known = self._known.get(run.run_id)
        if run.run_id not in self._working and (known is None or known.is_due(events)):
            task = asyncio.get_running_loop().create_task(self._work_out(run, events))
            self._working[run.run_id] = task
            task.add_done_callback(lambda _: self._working.pop(run.run_id, None))
        told = None if known is None else {"at_ms": round(1e3 * known.at_s)} | known.told
        return {
            "verdict": told,
            "working": run.run_id in self._working,
            "current": known is not None and known.events == events,
        }

    async def _work_out(self, run: Run, events: int) -> None:
        async with self._one:
            begun_s = time.monotonic()
            told = await _in_child(run.path)
            cost_s = time.monotonic() - begun_s
            self._known[run.run_id] = Verdict(told, events, time.time(), cost_s)
            self._known.move_to_end(run.run_id)
            while len(self._known) > _MOST_KEPT:
                self._known.popitem(last=False)

    def close(self) -> None:
        """End what is being worked out."""
        for task in list(self._working.values()):
            task.cancel()


async def _in_child(run_dir: Path) -> dict[str, Any]:
    module = f"{__package__}.verdict_child"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, str(run_dir)),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        said, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
        told = json.loads(said[:_MOST_BYTES])
    except TimeoutError:
        told = {"error": f"it was not done in {_TIMEOUT_S / 60:.0f} min; try thermograd analyze"}
    except ValueError:
        told = {"error": f"its process ended with {process.returncode} and no answer; try thermograd analyze"}
    finally:
        if process.returncode is None:
            process.kill()
    return told if isinstance(told, dict) else {"error": "its process said nothing that can be read"}
