"""Keys that have been there before, beyond those that are held in a set."""

import random

import pytest
from thermograd.ingest.importers.rows import seen


def test_a_key_is_new_once_however_many_have_come_since(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "_RECENT", 64)
    monkeypatch.setattr(seen, "_FILTER_BYTES", 128)  # so small that most bits are those of several
    monkeypatch.setattr(seen, "_FILTER_BITS", 1024)
    rng = random.Random(0)
    keys = [rng.choice((rng.getrandbits(63), -rng.getrandbits(63), rng.randrange(900))) for _ in range(4000)]
    found, known = seen.SeenKeys(), set[int]()
    for key in keys:
        assert found.is_new(key) is (key not in known)
        known.add(key)
