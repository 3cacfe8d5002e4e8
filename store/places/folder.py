"""A local folder as a place."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from thermograd.store.errors import NotThereError, PlaceError, os_errors_as
from thermograd.store.files import is_folder, open_file, whole_file
from thermograd.store.places.interface import Entry, Place, checked_name


class Folder(Place):
    """The files below a folder of this machine; links are not followed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = str(path)

    def list(self, prefix: str = "", after: str = "") -> Iterator[Entry]:
        """Iterate over the files below a folder, but for half-written ones."""
        top = self._path(prefix) if prefix else self.path
        for folder, names, files in os.walk(top, onerror=self._refused):
            names.sort()
            for name in sorted(files):
                if not (name.startswith(".") and name.endswith(".tmp")):
                    yield from self._entry(Path(folder, name), after)

    def _entry(self, path: Path, after: str) -> Iterator[Entry]:
        name = path.relative_to(self.path).as_posix()
        with suppress(FileNotFoundError):  # gone since it was seen
            if name > after and path.is_file() and not path.is_symlink():
                stat = path.stat()
                etag = f"{stat.st_ino:x}-{stat.st_mtime_ns:x}-{stat.st_size:x}"
                yield Entry(name, stat.st_size, etag, stat.st_mtime_ns)

    def _refused(self, error: OSError) -> None:
        if not isinstance(error, FileNotFoundError | NotADirectoryError):
            raise PlaceError(f"cannot read {self.url}: {error.strerror or error}") from error

    def folders(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names of the folders directly below a folder, sorted."""
        top = self._path(prefix) if prefix else self.path
        with os_errors_as(PlaceError, f"cannot read {self.url}"), suppress(FileNotFoundError):
            return tuple(sorted(name for name in os.listdir(top) if is_folder(top / name)))
        return ()

    def get(self, name: str) -> bytes:
        """Return the content of a file."""
        path = self._path(name)
        try:
            with os_errors_as(PlaceError, f"cannot read {path}"), open_file(path) as file:
                return file.read()
        except PlaceError as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                raise NotThereError(str(error)) from error
            raise

    def put(self, name: str, data: bytes, create_only: bool = False) -> bool:
        """Write a file, synced to the disk, whole or not at all."""
        path = self._path(name)
        with os_errors_as(PlaceError, f"cannot write {path}"):
            path.parent.mkdir(parents=True, exist_ok=True)
            if not create_only:
                with whole_file(path, sync=True) as file:
                    file.write(data)
                return True
            return _created(path, data)

    def delete(self, name: str) -> None:
        """Remove a file, and the folders that it leaves empty."""
        path = self._path(name)
        with os_errors_as(PlaceError, f"cannot delete {path}"), suppress(FileNotFoundError):
            path.unlink()
        with suppress(OSError):
            for parent in path.parents:
                if parent == self.path:
                    break
                parent.rmdir()

    def _path(self, name: str) -> Path:
        return self.path / checked_name(name)


def _created(path: Path, data: bytes) -> bool:
    """Write a file that is not there yet: written beside it, then linked, which fails where there is one."""
    hidden = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.tmp")
    try:
        with open(hidden, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(hidden, path)
    except FileExistsError:
        return False
    finally:
        with suppress(OSError):
            hidden.unlink()
    return True
