"""What the agent adds to ``run.json``: from its start on, agents alone change that file."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.ingest.job.facts import has_changes
from thermograd.store.files import read_json, write_json

_GIT_S = 60.0  # so long git may take in a large repository; nobody waits for it


class Description:
    """The devices and the schedule of an agent, in ``run.json``, also after the directory was made anew.

    Where the run's directory is renamed or deleted, those who write there make another one in its place:
    what stood in ``run.json`` is written again.
    """

    def __init__(
        self, run_dir: Path, devices: dict[str, Any], absent: dict[str, str], sampling: dict[str, Any]
    ) -> None:
        ours = {"devices": devices, "devices_absent": absent, "sampling": sampling}
        self._ours: dict[str, dict[str, Any]] = ours
        self._facts = read_json(run_dir / "run.json")
        self._seen: tuple[int, int] | None = None

    def write(self, run_dir: Path) -> None:
        """Add devices and schedule to what stands there. OSError where that cannot be."""
        self._add(run_dir, read_json(run_dir / "run.json"))

    def complete(self, run_dir: Path) -> None:
        """Ask git whether the training's files differ from its commit, where that is left to us."""
        git = _object(read_json(run_dir / "run.json"), "git")
        if git and git.get("dirty", False) is None and (has_them := has_changes(_GIT_S)) is not None:
            self._ours["git"] = {"dirty": has_them}
            self._seen = None

    def keep(self, run_dir: Path) -> None:
        """Add what is not there, as where the file was made anew. OSError where that cannot be."""
        path = run_dir / "run.json"
        stamp = _stamp(path)
        if (stamp is not None and stamp == self._seen) or not run_dir.is_dir():
            return  # where it is gone, whoever writes there follows it, or makes it anew
        facts = read_json(path) if stamp is not None else {}
        if any(_lacks(_object(facts, name), mine) for name, mine in self._ours.items()):
            with suppress(FileNotFoundError):  # renamed since: that is seen at the next look
                self._add(run_dir, facts)
        self._seen = _stamp(path)

    def _add(self, run_dir: Path, facts: dict[str, Any]) -> None:
        facts = self._facts | facts
        if not facts:  # rank 0 has yet to describe the run
            return
        self._facts = facts | {name: _object(facts, name) | mine for name, mine in self._ours.items()}
        write_json(run_dir / "run.json", self._facts, make_folder=False)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_ino, state.st_mtime_ns


def _object(facts: dict[str, Any], name: str) -> dict[str, Any]:
    value = facts.get(name)
    return value if isinstance(value, dict) else {}


def _lacks(facts: dict[str, Any], ours: dict[str, Any]) -> bool:
    return any(facts.get(name) is None for name in ours)
