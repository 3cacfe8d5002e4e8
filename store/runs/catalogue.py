"""The runs of a directory: creating one, finding one by what a person types, saying what state it is in."""

import os
import shutil
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thermograd.store.errors import LogError, RunNotFoundError, os_errors_as
from thermograd.store.events import KINDS
from thermograd.store.files import WRITER, is_folder, is_plain_file, read_json, write_json, writer_files
from thermograd.store.runs.facts import RUN_ID, checked_facts, run_facts_of
from thermograd.store.text import shortened, slug

if TYPE_CHECKING:
    from thermograd.store.places.catalogue import Known
    from thermograd.store.runs.ends import RunEnd

FORMAT_VERSION = 1


def default_runs_dir() -> Path:
    """Return ``$THERMOGRAD_RUNS``, or ``runs`` below the working directory."""
    return Path(os.environ.get("THERMOGRAD_RUNS") or "runs")


@dataclass(frozen=True)
class Run:
    """One run on disk. Facts are read when asked for; nothing is written.

    Attributes
    ----------
    known
        What a catalogue tells of it, as it is now; None where its files are to be looked at.
    """

    path: Path
    known: "Known | None" = field(default=None, compare=False, repr=False)

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The content of ``run.json``, but for what has another type than it should have."""
        told = self.entry.get("facts")
        read = told if isinstance(told, dict) else read_json(self.path / "run.json")
        return run_facts_of(read, self._directory)

    @property
    def entry(self) -> Mapping[str, Any]:
        """The run's row in a catalogue; empty where there is none that is true now."""
        return self.known.entry if self.known is not None else {}

    @property
    def _directory(self) -> str:
        """The name of the run's directory, also while the run is being built."""
        name = Path(os.path.abspath(self.path)).name
        return name.removeprefix(".").removesuffix(".partial") if name.startswith(".") else name

    @cached_property
    def run_id(self) -> str:
        """The run's id: the name of its directory, whatever ``run.json`` says."""
        return self._directory.encode("utf-8", "replace").decode()

    @property
    def name(self) -> str:
        """The name that a person gave the run."""
        return str(self.facts.get("name") or self.run_id)

    @property
    def started_time_ns(self) -> int | None:
        """When the run began, UTC epoch ns; by its first writer where no ``run.json`` tells."""
        if self.entry:
            return self.entry.get("started_time_ns")
        told: int | None = self.facts.get("started_time_ns")
        return told if told is not None or self.facts else min(map(_began_ns, self.writers()), default=None)

    def writers(self) -> list[dict[str, Any]]:
        """Return the facts that each writer left about itself."""
        return [checked_facts(read_json(path)) for path in writer_files(self.path)]

    def live_writers(self) -> frozenset[str]:
        """Return the writers whose process lives and has not closed its log."""
        from thermograd.store.log.place import is_live

        names = (str(facts.get("writer")) for facts in self._open_writers())
        return frozenset(name for name in names if WRITER.fullmatch(name) and is_live(self.path, name))

    def _open_writers(self) -> list[dict[str, Any]]:
        return [facts for facts in self.writers() if "closed_time_ns" not in facts]

    def end(self) -> "RunEnd":
        """Return the state, why the run is in it, and the exit code, where there is something to say."""
        from thermograd.store.runs.ends import end_of, end_told

        source = self.facts.get("source")
        if source in ("imported", "simulated"):
            return end_told(str(source), self.facts)
        before = {str(facts.get("writer")) for facts in self.writers()}
        live = self.live_writers()
        writers = self.writers()  # once more: one may have closed its log, another begun, since
        opened = {str(facts.get("writer")) for facts in writers if "closed_time_ns" not in facts}
        return end_of(writers, live | (opened - before))

    def state(self) -> str:
        """Return live, finished, failed, interrupted, crashed, imported or simulated."""
        return self.end().state

    def silent_hosts(self) -> list[str]:
        """Return other hosts whose processes have fallen silent without closing their log.

        Whether those still run cannot be asked from here: such a run may be ``crashed``, or only out of
        reach of the file system.
        """
        live = self.live_writers()
        silent = {str(w.get("host")) for w in self._open_writers() if str(w.get("writer")) not in live}
        return sorted(silent - {socket.gethostname()})

    def ended_time_ns(self, state: str | None = None) -> int | None:
        """When the last process of the training closed its log; None while live, or if none did.

        `state`: the run's, where it is known already.
        """
        from thermograd.store.runs.ends import LAUNCHER, TRAINING

        state, writers = state or self.state(), self.writers()
        if state == "live":
            return None
        if state == "crashed":  # who started it may know
            writers = [facts for facts in writers if facts.get("role") == LAUNCHER]
        recorded: int | None = self.facts.get("ended_time_ns")
        if recorded is not None:
            return recorded
        closed = [facts for facts in writers if "closed_time_ns" in facts]
        training = [facts for facts in closed if facts.get("role") in TRAINING]  # the others end after it
        return max((facts["closed_time_ns"] for facts in training or closed), default=None)

    def counts(self) -> dict[str, int]:
        """Return the number of events by kind, from file names and the live files' rows."""
        from thermograd.store.log.present.snapshots import count_events

        return {kind: count_events(self.path, kind) for kind in KINDS}

    def summary(self) -> dict[str, Any]:
        """Return the row that ``thermograd runs`` shows; a step that several ranks log counts once."""
        from thermograd.store.log.present.snapshots import count_events
        from thermograd.store.runs.steps import count_steps
        from thermograd.store.telling.devices import devices_label

        steps, end = count_steps(self.path), self.end()
        return {
            "run_id": self.run_id,
            "name": self.name,
            "started": _iso(self.started_time_ns),
            "ended": _iso(self.ended_time_ns(end.state)),
            "steps": steps.steps,
            "ranks": steps.ranks,
            **{f"{kind}s": count_events(self.path, kind) for kind in ("sample", "alert")},
            "devices": sorted(self.facts.get("devices", {})),
            "devices_label": devices_label(self.facts.get("devices", {})),
            "state": end.state,
            "reason": end.reason,
            "exit_code": end.exit_code,
        }


def _began_ns(writer: Mapping[str, Any]) -> int:
    clock = writer.get("clock")
    time_ns = clock.get("time_ns") if isinstance(clock, dict) else None
    return time_ns if isinstance(time_ns, int) else 0


def is_run(path: Path) -> bool:
    """Return whether a directory is a run: it has facts, or a process died before they were written."""
    return is_plain_file(path / "run.json") or is_folder(path / "writers")


def _iso(time_ns: int | None) -> str | None:
    if time_ns is None:
        return None
    return f"{datetime.fromtimestamp(time_ns // 1_000_000_000, UTC):%Y-%m-%dT%H:%M:%SZ}"


def new_run_id(name: str) -> str:
    """Return a new run id: when, the harmless characters of the name, and a random end."""
    import secrets

    from thermograd.store.secrets import without_secrets

    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{slug(without_secrets(name))}-{secrets.token_hex(2)}"


def create_run(
    runs_dir: Path, name: str, facts: dict[str, Any] | None = None, run_id: str | None = None
) -> Run:
    """Create a run's directory and ``run.json``.

    Parameters
    ----------
    runs_dir
        The directory of all runs; created where missing.
    name
        Any text; only its harmless characters go into the run id.
    facts
        More facts for ``run.json``.
    run_id
        An id to use as it is, from a launcher that several ranks share.

    Raises
    ------
    LogError
        If the directory cannot be written.
    ValueError
        If `run_id` has characters that no file name should have.
    """
    if run_id is not None and not RUN_ID.fullmatch(run_id):
        raise ValueError(f"run id {run_id!r} is not allowed; use 1 to 128 letters, digits, '.', '_' and '-'")
    run_id = run_id or new_run_id(name)
    from thermograd.store.runs.names import writable_folder

    runs_dir = writable_folder(runs_dir)
    return _initialise(runs_dir / run_id, run_id, name, facts or {})


def _initialise(path: Path, run_id: str, name: str, facts: dict[str, Any]) -> Run:
    from thermograd.store.processes import host_facts
    from thermograd.store.runs.names import unique_name
    from thermograd.store.secrets import without_secrets

    name = without_secrets(name)
    content = {"format_version": FORMAT_VERSION, "run_id": run_id, "name": name, "source": "recorded"}
    content |= {"started_time_ns": time.time_ns(), **host_facts()} | facts
    with os_errors_as(LogError, f"cannot create a run in {path.parent}"):
        path.mkdir(parents=True, exist_ok=True)
        if not (path / "run.json").exists():
            content["name"] = unique_name(path.parent, name, path.name)
            write_json(path / "run.json", content)
    return Run(path)


@contextmanager
def build_run(runs_dir: Path, name: str, facts: dict[str, Any]) -> Iterator[Run]:
    """Create a run out of sight and move it into place when the block ends well.

    For importers and simulators: a half-written run is never left behind. What a killed process left is
    never listed, and removed when the next run is built beside it.
    """
    from thermograd.store.locks import ProcessLock
    from thermograd.store.runs.names import BUILDER, remove_abandoned, writable_folder
    from thermograd.store.secrets import hidden_values

    runs_dir = writable_folder(runs_dir)
    remove_abandoned(runs_dir)
    run_id = new_run_id(name)
    hidden = runs_dir / f".{run_id}.partial"
    lock = ProcessLock(hidden, BUILDER)
    try:
        run = _initialise(hidden, run_id, name, hidden_values(facts, []))
        with os_errors_as(LogError, f"cannot create a run in {runs_dir}"):
            lock.acquire()
        yield run
        with os_errors_as(LogError, f"cannot move the run into {runs_dir}"):
            lock.release()
            hidden.replace(runs_dir / run_id)
    finally:
        lock.release()
        shutil.rmtree(hidden, ignore_errors=True)


def list_runs(runs_dir: Path | str) -> list[Run]:
    """List the runs of a directory or URL, oldest first.

    Of a URL their events are not at hand: `fetched_runs` brings them.

    Raises
    ------
    PlaceError
        If a URL cannot be read.
    """
    from thermograd.store.places.place import uncatalogued_folder

    folder = uncatalogued_folder(runs_dir)
    runs = _runs_known(runs_dir) if folder is None else _runs_in(folder, {})
    started = _started_of(runs)
    return sorted(runs, key=lambda run: (started[run] or 0, run.run_id))


def _started_of(runs: Sequence[Run]) -> dict[Run, int | None]:
    """Return when runs of a folder began: what a ``run.json`` told, if it is the one that was read before."""
    if not runs:
        return {}
    from thermograd.store.log.reading.kept import Kept

    kept, started = Kept(runs[0].path.parent, "started"), dict[Run, int | None]()
    for run in runs:
        find: Callable[[], int | None] = partial(lambda run: run.facts.get("started_time_ns"), run)
        told = None if run.entry else kept.told_by(run.path / "run.json", run.path.name, find)
        started[run] = run.started_time_ns if told is None else told
    kept.save()
    return started


def _runs_known(runs_dir: Path | str) -> list[Run]:
    from thermograd.store.places.known import is_mirror, known_runs, local_runs

    folder = local_runs(runs_dir)
    known = known_runs(folder)
    if is_mirror(folder):
        return [Run(folder / name, known[name]) for name in known]
    return _runs_in(folder, known)


def _runs_in(folder: Path, known: "Mapping[str, Known]") -> list[Run]:
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError:
        names = []
    there = [name for name in names if name in known or is_run(folder / name)]
    return [Run(folder / name, known.get(name)) for name in there]


def fetched_runs(runs: Iterable[Run], kinds: Collection[str] | None = None) -> list[Run]:
    """Return runs as they are now, with their events at hand; of those at a URL only what is still there.

    `kinds`: events of these kinds, all by default; also ``"findings"``.
    """
    from thermograd.store.places.mirror import bring_findings, mirror_at
    from thermograd.store.places.place import FINDINGS

    by_folder: dict[Path, list[Run]] = {}
    for run in runs:
        by_folder.setdefault(run.path.parent, []).append(run)
    found: list[Run] = []
    for folder, of_folder in by_folder.items():
        mirror = mirror_at(folder)
        if mirror is None:
            found += of_folder
        else:
            known = {run.path.name: run.known._replace(batch="") for run in of_folder if run.known}
            paths = mirror.fetch([run.path.name for run in of_folder], kinds)
            found += [Run(path, known.get(path.name)) for path in paths]
            if kinds is not None and FINDINGS in kinds:
                bring_findings(mirror)
    return found


def find_run(runs_dir: Path | str, reference: str) -> Run:
    """Find a run by id, unique prefix, name, path, or ``latest``; one at a URL is fetched.

    Raises
    ------
    RunNotFoundError
        If none or several answer; the message lists what there is.
    PlaceError
        If a URL cannot be read.
    """
    from thermograd.store.places.place import is_url, place_of

    if not reference.strip():
        raise RunNotFoundError(
            f"no run named {reference!r}; give a run's id, its beginning, name or path, or latest"
        )
    path, is_remote = Path(reference), is_url(runs_dir)
    if is_run(path) and not is_remote:
        return Run(path)
    runs = list_runs(runs_dir)
    shown = place_of(runs_dir).url
    if not runs:
        raise RunNotFoundError(f"there is no run in {shown}; give another directory with --runs")
    found = runs[-1] if reference == "latest" else _found(runs, reference, shown)
    if not is_remote:
        return Run(found.path)
    for run in fetched_runs([Run(found.path)]):
        return run
    raise RunNotFoundError(f"{found.run_id} was deleted at {shown} just now")


def _found(runs: list[Run], reference: str, shown: str) -> Run:
    for matches in (
        [run for run in runs if run.run_id == reference],
        [run for run in runs if run.run_id.startswith(reference)],
        [run for run in runs if run.name == reference],
    ):
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise RunNotFoundError(
                f"{reference!r} fits {len(matches)} runs: {_names(matches)}; give more of the id"
            )
    raise RunNotFoundError(f"no run {shortened(reference)!r} in {shown}; there are: {_names(runs)}")


def _names(runs: list[Run]) -> str:
    shown = [run.run_id for run in reversed(runs)][:5]
    return ", ".join(shown) + (f" and {len(runs) - 5} more" if len(runs) > 5 else "")
