"""Which of the files given are imported: one log of each kind, the others named with a reason."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from thermograd.ingest.importers.hints.given import NO_HINTS, Hints
from thermograd.ingest.importers.hints.use import WORDS
from thermograd.ingest.importers.recording import Format, Kind
from thermograd.ingest.importers.registry import ALLOWED, folder_format, recognise
from thermograd.ingest.importers.stores.runs import deleted_runs
from thermograd.ingest.importers.text_files import readable
from thermograd.store.errors import ImportFormatError

_OPTIONS: dict[Kind, str] = {"step": "--training", "sample": "--telemetry"}

_NAMED = 8


class Source(NamedTuple):
    """One log: its format and its file, or the files of one folder that are one log together."""

    format: Format
    paths: tuple[Path, ...]

    @property
    def name(self) -> str:
        """The names of its files."""
        names = [path.name for path in self.paths]
        more = (
            f" and {len(names) - _NAMED} more of {self.paths[0].parent.name}" if len(names) > _NAMED else ""
        )
        return ", ".join(names[:_NAMED]) + more

    def holds(self, path: Path) -> bool:
        """Whether a file is one of its files."""
        return any(path.samefile(own) for own in self.paths)


@dataclass(slots=True)
class _Found:
    """The logs among the files, and why the others are of no use."""

    hints: Hints
    sources: list[Source] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)

    def add(self, path: Path, named: bool) -> None:
        format, looks = recognise(path, self.hints)
        if format is None and named:
            raise ImportFormatError(f"{path}: {looks}; allowed is {ALLOWED}")
        if format is None:
            self.ignored.append(f"{path.name}: {looks}")
        elif not any(source.holds(path) for source in self.sources):
            for number, source in enumerate(self.sources):
                if format.several and source.format is format and source.paths[0].parent == path.parent:
                    self.sources[number] = Source(format, (*source.paths, path))
                    return
            self.sources.append(Source(format, (path,)))

    def add_store(self, folder: Path) -> bool:
        """Add the run that is meant in a folder which is a log as a whole; return whether it is one."""
        store = folder_format(folder, self.hints)
        if store is not None:
            self.sources.append(Source(*store))
            if store[0].runs is not None and self.hints.run is None:
                self.ignored += [f"{folder.name}: {text}" for text in deleted_runs(store[0].runs(folder))]
        return store is not None

    def of_kind(self, kind: Kind) -> list[Source]:
        return [source for source in self.sources if kind in source.format.kinds]


def choose_sources(
    paths: list[Path], training: Path | None, telemetry: Path | None, hints: Hints = NO_HINTS
) -> tuple[dict[Kind, Source], list[str]]:
    """Return the log of each kind (one may be both), and what was ignored with the reason.

    ImportFormatError if a named file is of no use, there is nothing to import, or several logs of one kind.
    """
    found = _Found(hints)
    for path in paths:
        if path.is_dir():
            if not found.add_store(path):
                _look_through(path, found)
        else:
            found.add(_regular(path), named=True)
    options: dict[Kind, Path | None] = {"step": training, "sample": telemetry}
    chosen: dict[Kind, Source] = {}
    for kind, option in options.items():
        source = _given(option, kind, paths, found) if option is not None else _only(kind, paths, found)
        if source is not None:
            chosen[kind] = source
    if not chosen:
        seen = "; ".join(found.ignored[:5]) or "it is empty"
        raise ImportFormatError(f"{_listed(paths)}: nothing to import ({seen}); allowed is {ALLOWED}")
    return chosen, found.ignored


def _only(kind: Kind, paths: list[Path], found: _Found) -> Source | None:
    """Return the one log of a kind; one that was only printed, or has no clock, gives way to a better one."""
    candidates = found.of_kind(kind)
    best = [source for source in candidates if _worth(source) == max(map(_worth, candidates))]
    if len(best) == 1:
        found.ignored += [
            f"{source.name}: {_lacks(source)} taken from {best[0].name}"
            for source in candidates
            if source is not best[0]
        ]
        return best[0]
    if candidates:
        names = ", ".join(source.name for source in candidates)
        raise ImportFormatError(
            f"{_listed(paths)}: {len(candidates)} {WORDS[kind]}s ({names}); a run has one of each kind, "
            f"say which with {_OPTIONS[kind]}"
        )
    return None


def _worth(source: Source) -> tuple[bool, bool, bool]:
    return not source.format.is_spare, source.format.has_clock, not source.format.is_printed


def _lacks(source: Source) -> str:
    if source.format.is_spare:
        return "metrics and no loss; the steps are"
    printed = source.format.is_printed
    return "what a program printed; the steps are" if printed else "steps without times; they are"


def _given(option: Path, kind: Kind, paths: list[Path], found: _Found) -> Source:
    """Return the log that an option names, as a path or as a name in one of the folders."""
    inside = [folder / option for folder in paths if folder.is_dir() and (folder / option).is_file()]
    path = option if option.is_file() or not inside else inside[0]
    format, looks = recognise(_regular(path), found.hints)
    if format is None or kind not in format.kinds:
        raise ImportFormatError(f"{path}: {_OPTIONS[kind]} needs a {WORDS[kind]}, but this is {looks}")
    candidates = found.of_kind(kind)
    own = next((source for source in candidates if source.holds(path)), Source(format, (path,)))
    found.ignored += [
        f"{source.name}: another {WORDS[kind]}; {_OPTIONS[kind]} names {path.name}"
        for source in candidates
        if source is not own
    ]
    return own


def _look_through(folder: Path, found: _Found) -> None:
    with readable(folder):
        entries = sorted(folder.iterdir())
    for path in entries:
        if path.is_file():
            found.add(path, named=False)
        else:
            looks = "a folder; name it to import it" if path.is_dir() else "not a regular file"
            found.ignored.append(f"{path.name}: {looks}")


def _regular(path: Path) -> Path:
    if not path.is_file():
        problem = "is not a regular file" if path.exists() else "does not exist"
        raise ImportFormatError(f"{path}: {problem}; give a file or a folder")
    return path


def _listed(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths) or "no path given"
