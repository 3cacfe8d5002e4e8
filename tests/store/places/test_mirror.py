import hashlib
import json
import threading
import time
from pathlib import Path

import pytest
from mirrored_runs import ODD_IDS, write_run
from thermograd.store.errors import PlaceError
from thermograd.store.places.cache import cache_shown, clear, sweep
from thermograd.store.places.folder import Folder
from thermograd.store.places.mirror import Mirror
from thermograd.store.places.shipped import shipped_s_ago
from thermograd.store.runs.at_places.shared import verified
from thermograd.store.runs.catalogue import Run
from thermograd.store.runs.describe import describe_run, run_facts_shown
from thermograd.store.shipping.spool import shipping_of


@pytest.fixture
def mirror(local: Path, cache: Path) -> Mirror:
    return Mirror(Folder(local))


def sealed(run_dir: Path, kind: str) -> list[Path]:
    return sorted((run_dir / "sealed" / kind).glob("*.parquet"))


def manifest(run_dir: Path, ended: bool, **changes: object) -> Path:
    """Write what a shipper would say of a run."""
    (writer,) = {path.stem for path in (run_dir / "writers").glob("*.json")}
    files = [
        {
            "name": path.relative_to(run_dir).as_posix(),
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "rows": 1,
        }
        | changes
        for path in sorted((run_dir / "sealed").rglob("*.parquet"))
    ]
    told = {"writer": writer, "files": files, "shipped_until_ns": time.time_ns() - 8 * 10**9, "ended": ended}
    path = run_dir / "shipped" / f"{writer}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(told))
    return path


def unclose(run_dir: Path) -> None:
    """Make a run's writer one that has not ended."""
    for path in (run_dir / "writers").glob("*.json"):
        facts = json.loads(path.read_text())
        facts.pop("closed_time_ns"), facts.pop("ended", None)
        path.write_text(json.dumps(facts))


def test_only_the_kinds_that_are_asked_for_come_and_come_once(mirror: Mirror):
    paths = mirror.fetch(ODD_IDS, {"step"})
    assert [path.name for path in paths] == list(ODD_IDS)
    assert all(sealed(path, "step") and not sealed(path, "sample") for path in paths)
    before = {file: file.stat().st_ino for path in paths for file in sealed(path, "step")}
    mirror.fetch(ODD_IDS)
    assert all(sealed(path, "sample") for path in paths)
    assert {file: file.stat().st_ino for file in before} == before


def test_a_mirrored_run_tells_what_the_run_itself_tells(mirror: Mirror, local: Path):
    for path in mirror.fetch(ODD_IDS):
        assert Run(path).summary() == Run(local / path.name).summary()


def test_facts_come_again_when_they_changed_and_go_when_they_are_gone(mirror: Mirror, local: Path):
    tags = local / ODD_IDS[0] / "tags.json"
    tags.write_text('{"tags": ["one"], "notes": []}')
    (path,) = mirror.fetch(ODD_IDS[:1])
    tags.write_text('{"tags": ["two"], "notes": []}')
    mirror.fetch(ODD_IDS[:1])
    assert "two" in (path / "tags.json").read_text()
    tags.unlink()
    time.sleep(0.01)  # the listing is later than what was fetched
    mirror.fetch(ODD_IDS[:1])
    assert not (path / "tags.json").exists()


def test_a_run_that_is_deleted_goes_from_the_mirror(mirror: Mirror, local: Path):
    (path,) = mirror.fetch(ODD_IDS[:1])
    (local / ODD_IDS[0]).rename(local / "another")
    assert mirror.fetch(ODD_IDS[:1]) == []
    assert not path.exists()


@pytest.mark.parametrize("name", ["..", ".hidden", "_catalogue", "a/b", "a\\b", "", "C:", "x\0"])
def test_a_name_that_leads_elsewhere_is_no_run(mirror: Mirror, name: str):
    assert mirror.fetch([name]) == []


def test_a_file_that_is_cut_is_fetched_again(mirror: Mirror):
    (path,) = mirror.fetch(ODD_IDS[:1])
    (file,) = sealed(path, "step")
    whole = file.read_bytes()
    file.write_bytes(whole[:100])
    mirror.fetch(ODD_IDS[:1])
    assert file.read_bytes() == whole


def test_what_is_on_its_way_is_neither_damage_nor_a_crash(tmp_path: Path, cache: Path):
    run = write_run(tmp_path / "runs", "live", 3)
    later = run / "sealed" / "step" / sealed(run, "step")[0].name.replace("0000000-00", "0000005-00")
    later = later.with_name(later.name.replace("000000000002.parquet", "000000000007.parquet"))
    unclose(run)
    manifest(run, ended=False)
    later.write_bytes(b"of what comes after what is still on its way")
    (path,) = Mirror(Folder(tmp_path / "runs")).fetch(["live"])
    assert len(sealed(path, "step")) == 1
    assert Run(path).state() == "live"
    result = verified(Run(path))
    assert result["ok"], result
    assert 0 <= result["shipped_s_ago"] < 60


def test_how_far_a_run_is_shipped_is_told_by_its_newest_event(tmp_path: Path, cache: Path):
    run = write_run(tmp_path / "runs", "live", 3)
    unclose(run)
    path = manifest(run, ended=False)
    told = json.loads(path.read_text()) | {"shipped_until_ns": time.time_ns() - 3600 * 10**9}
    path.write_text(json.dumps(told))
    (mirrored,) = Mirror(Folder(tmp_path / "runs")).fetch(["live"])
    shipped_s = shipped_s_ago(mirrored)
    assert shipped_s is not None
    assert shipped_s < 1800
    assert shipping_of(Run(mirrored)) is None
    assert "shipped  until" in describe_run(run_facts_shown(Run(mirrored)) | {"shipping": None})
    text = describe_run(run_facts_shown(Run(mirrored)) | {"shipping": "all but the last 2 s is at x"})
    assert "shipped  until" not in text


def test_a_writer_that_was_silent_for_a_day_has_crashed(tmp_path: Path, cache: Path):
    run = write_run(tmp_path / "runs", "lost", 3)
    unclose(run)
    path = manifest(run, ended=False)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"shipped_until_ns": 10**18}))
    (mirrored,) = Mirror(Folder(tmp_path / "runs")).fetch(["lost"])
    assert Run(mirrored).state() == "crashed"


def test_verify_tells_what_was_shipped_and_is_not_there_or_another(mirror: Mirror, local: Path):
    run = local / ODD_IDS[0]
    manifest(run, ended=True)
    assert verified(Run(mirror.fetch([run.name])[0]))["ok"]
    manifest(run, ended=True, sha256="0" * 64)
    assert "checksum" in str(verified(Run(mirror.fetch([run.name])[0])))
    manifest(run, ended=True)
    sealed(run, "sample")[0].unlink()
    lost = verified(Run(mirror.fetch([run.name])[0]))
    assert not lost["ok"]
    assert "not there any more" in str(lost)


def test_a_copy_that_is_damaged_is_fetched_again_before_the_run_is_called_so(mirror: Mirror, local: Path):
    manifest(local / ODD_IDS[0], ended=True)
    (path,) = mirror.fetch(ODD_IDS[:1])
    (file,) = sealed(path, "step")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)
    assert verified(Run(path))["ok"]


def test_a_place_that_breaks_off_leaves_nothing_half_and_the_next_goes_on(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
):
    get, asked = mirror.place.get, []

    def breaks(name: str) -> bytes:
        asked.append(name)
        if len(asked) > 4:
            raise PlaceError("the network is down")
        return get(name)

    monkeypatch.setattr(mirror.place, "get", breaks)
    with pytest.raises(PlaceError, match="down"):
        mirror.fetch(ODD_IDS)
    assert not list(mirror.root.rglob("*.tmp"))
    monkeypatch.setattr(mirror.place, "get", get)
    assert len(mirror.fetch(ODD_IDS)) == len(ODD_IDS)


def test_two_may_use_a_mirror_at_once(local: Path, cache: Path):
    failed = []

    def fetch() -> None:
        try:
            for path in Mirror(Folder(local)).fetch(ODD_IDS):
                assert verified(Run(path))["ok"]
        except Exception as error:  # noqa: BLE001 - told below
            failed.append(error)

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_what_was_used_longest_ago_goes_first(mirror: Mirror, monkeypatch: pytest.MonkeyPatch):
    import os

    paths = mirror.fetch(ODD_IDS)
    for age_s, path in zip((9000, 5000, 7000), paths, strict=True):
        os.utime(path / "mirror.json", (time.time() - age_s, time.time() - age_s))
    size = cache_shown()["size_bytes"]
    monkeypatch.setenv("THERMOGRAD_CACHE_GB", str((size - 100) / 1e9))
    sweep(now=True)
    assert [path.exists() for path in paths] == [False, True, True]
    monkeypatch.setenv("THERMOGRAD_CACHE_GB", "1e-9")
    os.utime(paths[1] / "mirror.json")  # another process has just used it
    sweep(now=True)
    assert [path.exists() for path in paths] == [False, True, False]
    assert clear() > 0
    assert cache_shown()["mirrors"] == []
