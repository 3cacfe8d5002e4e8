"""Against psutil itself, which reads the same made-up /proc."""

import os
import random

import psutil
import pytest
from thermograd.ingest.devices.kernel.kept_file import KeptFile
from thermograd.ingest.devices.kernel.processor import frequency_mhz, memory_used, processor_load

pytestmark = pytest.mark.skipif(not psutil.LINUX, reason="files of Linux")
MEMORY = "MemTotal:       {} kB\nMemFree:        {} kB\nMemAvailable:   {} kB\nBuffers: 7 kB\nCached: 9 kB\n"
MEMORY += "Inactive(file): 3 kB\nActive(file): 2 kB\nSReclaimable: 1 kB\nShmem: 4 kB\n"
MEMORY += "Active: 2 kB\nInactive: 3 kB\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    (tmp_path / "proc").mkdir()
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "proc"))
    return tmp_path


def stat(root, counts):
    (root / "proc" / "stat").write_text(
        f"cpu  {' '.join(map(str, counts))}\ncpu0 1 2 3 4 5 6 7 8 9 10\nintr 5\n"
    )


def test_the_load_is_psutils_to_the_bit(root):
    draw, counts = random.Random(3), list(range(1000, 1010))
    stat(root, counts)
    load = processor_load(root)
    psutil.cpu_percent()
    for _ in range(300):
        counts = [count + draw.choice([0, 0, 1, 7, 40, -3]) for count in counts]
        stat(root, counts)
        assert load() == psutil.cpu_percent()


def test_another_systems_file_is_left_to_psutil(root):
    stat(root, range(4))
    assert processor_load(root) is psutil.cpu_percent


@pytest.mark.parametrize(
    ("total", "free", "available"), [(8000, 100, 5000), (8000, 100, 0), (8000, 100, 9000)]
)
def test_memory_in_use_is_psutils(root, total, free, available):
    text = MEMORY.format(total, free, available)
    (root / "proc" / "meminfo").write_text(text)
    (root / "proc" / "zoneinfo").write_text("Node 0, zone DMA\n        low      5\n")
    used = memory_used(root)()
    assert used == ((total - available) * 1024 if available == 5000 else psutil.virtual_memory().used)


def test_the_frequency_is_the_mean_of_the_cores_by_what_tells_of_each(root):
    for core, khz in enumerate((1_200_000, 2_000_500, 3_100_000)):
        policy = root / f"sys/devices/system/cpu/cpufreq/policy{core}"
        policy.mkdir(parents=True)
        (policy / "scaling_cur_freq").write_text(f"{khz}\n")
    cpuinfo = root / "proc" / "cpuinfo"
    cpuinfo.write_text("processor: 0\ncpu MHz\t\t: 1000.5\n")
    frequency = frequency_mhz(root)
    assert frequency() == pytest.approx((1200 + 2000.5 + 3100) / 3), "of other cores than there are"
    cpuinfo.write_text("".join(f"cpu MHz\t\t: {mhz}\n" for mhz in (1000.5, 1500.25, 900)))
    assert frequency() == pytest.approx((1000.5 + 1500.25 + 900) / 3)


def test_without_the_kernels_files_psutil_is_asked_for_the_frequency(root, monkeypatch):
    monkeypatch.setattr(psutil, "cpu_freq", lambda: None)
    assert frequency_mhz(root)() is None


@pytest.mark.skipif(not hasattr(os, "pread"), reason="read anew each time")
def test_a_file_is_opened_once_and_anew_after_a_failure(tmp_path, monkeypatch):
    path, opened, real = tmp_path / "energy_uj", [], os.open
    path.write_text("5\n")
    monkeypatch.setattr(os, "open", lambda *how: ((how[0] == path and opened.append(how)), real(*how))[1])
    file = KeptFile(path)
    assert file.integer() == 5
    path.write_text("7\n")
    assert file.integer() == 7
    assert len(opened) == 1
    tries = []

    def gone(handle, *where):
        tries.append(handle)
        if len(tries) in failing:
            raise OSError(19, "No such device")
        return pread(handle, *where)

    pread, failing = os.pread, (1,)
    monkeypatch.setattr(os, "pread", gone)
    assert file.integer() == 7, "it is another device's now"
    assert len(opened) == 2
    failing = (3, 4)
    with pytest.raises(OSError, match="No such device"):
        file.read()
    assert file.integer() == 7
    assert len(opened) == 4
    path.unlink()
    failing = (6,)
    with pytest.raises(FileNotFoundError):
        file.read()


@pytest.mark.skipif(not hasattr(os, "pread"), reason="read at once")
def test_cores_are_counted_also_where_the_kernel_gives_a_page_at_a_time(root, monkeypatch):
    pread = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, most, at: pread(handle, min(most, 30), at))
    cpuinfo = "".join(f"processor: {core}\ncpu MHz\t\t: {1000 + core}\n" for core in range(9))
    (root / "proc" / "cpuinfo").write_text(cpuinfo)
    for core in range(9):
        policy = root / f"sys/devices/system/cpu/cpufreq/policy{core}"
        policy.mkdir(parents=True)
        (policy / "scaling_cur_freq").write_text("700000\n")
    assert frequency_mhz(root)() == 1004
