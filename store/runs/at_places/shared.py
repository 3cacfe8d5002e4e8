"""What is done for a run at a URL beyond reading it: checking what was shipped, and sharing its tags."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from thermograd.store.log.seal import verify_run
from thermograd.store.places.catalogue import decoded_entry, encoded_entry, entry_name
from thermograd.store.places.known import known_runs
from thermograd.store.places.mirror import mirror_at
from thermograd.store.places.shipped import is_mirrored, shipped_s_ago, wrong_files
from thermograd.store.runs.catalogue import Run, fetched_runs
from thermograd.store.runs.tags import FILE, Tags


def verified(run: Run) -> dict[str, Any]:
    """Check a run as `verify_run` does; one at a URL also against what its shippers say they have brought.

    What is wrong in the mirror is fetched again first: the copy may be damaged, not the run.
    """
    result = verify_run(run.path)
    if not is_mirrored(run.path):
        return result
    result = _with_shipped(run.path, result)
    if result["ok"]:
        return result
    for file in result["files"]:
        if "reason" in file and file["path"].startswith("sealed/"):
            with suppress(OSError):
                (run.path / file["path"]).unlink()
    fetched_runs([run])
    return _with_shipped(run.path, verify_run(run.path))


def _with_shipped(run_dir: Path, result: dict[str, Any]) -> dict[str, Any]:
    wrong = wrong_files(run_dir)
    named = {file["path"] for file in wrong}
    files = [file for file in result["files"] if file["path"] not in named or "reason" in file]
    known = {file["path"] for file in files}
    files += [file for file in wrong if file["path"] not in known]
    ok = result["ok"] and not wrong
    return result | {"ok": ok, "files": files, "shipped_s_ago": shipped_s_ago(run_dir)}


def share_tags(run: Run, tags: Tags) -> None:
    """Write a run's tags to the URL that its folder mirrors, and to its row there; else do nothing."""
    mirror = mirror_at(run.path.parent)
    if mirror is None:
        return
    name = run.path.name
    mirror.place.put(f"{name}/{FILE}", (run.path / FILE).read_bytes())
    known = known_runs(mirror.root).get(name)
    (content,) = mirror.contents([entry_name(name)])
    entry = decoded_entry(content) or (dict(known.entry) if known is not None else {})
    if entry:
        told = {"tags": tags.tags, "notes": [note["text"] for note in tags.notes]}
        mirror.place.put(entry_name(name), encoded_entry(entry | told))
