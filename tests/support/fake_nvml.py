"""Drives the stand-in for NVIDIA's management library: build it once, then edit two GPUs while it runs.

pynvml itself is not touched: in this process its library handle is set to the stand-in, in a child it
finds the stand-in by LD_LIBRARY_PATH.
"""

import ctypes
import mmap
import shutil
import subprocess
from ctypes import c_char, c_double, c_int32, c_uint32, c_uint64
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")
CALLS = [
    "utilization",
    "clock",
    "memory",
    "enforced_limit",
    "reasons",
    "margin",
    "temperature",
    "power_usage",
    "energy",
    "fan",
    "ecc",
    "replays",
    "field_values",
    "threshold",
    "max_clock",
    "default_limit",
    "constraints",
    "capability",
    "mig",
    "event_register",
    "limit",
    "set_limit",
]
TEXT, MANY = c_char * 96, 24
DOUBLE, UINT, ULONG_LONG = 0, 1, 3
UUIDS = ("GPU-11111111-2222-3333-4444-555555555555", "GPU-22222222-3333-4444-5555-666666666666")
MOST = 8


class Field(ctypes.Structure):
    _fields_ = [
        ("id", c_uint32),
        ("type", c_uint32),
        ("result", c_uint32),
        ("unused", c_uint32),
        ("number", c_double),
        ("whole", c_uint64),
    ]


class Gpu(ctypes.Structure):
    _fields_ = [
        *((name, TEXT) for name in ("uuid", "name", "mig_uuid")),
        *(
            (name, c_uint32)
            for name in [
                "lost",
                "delay_us",
                "utilization",
                "sm_clock",
                "memory_clock",
                "enforced_limit_mw",
                "temperature",
                "power_usage_mw",
                "fan",
                "replays",
                "default_limit_mw",
                "capability_major",
                "capability_minor",
                "mig",
                "max_clock",
                "limit_mw",
            ]
        ),
        ("margin", c_int32),
        ("padding", c_int32),
        *((name, c_uint64) for name in ("memory_used", "reasons", "energy_mj")),
        ("ecc", c_uint64 * 2),
        ("thresholds", c_uint32 * 4),
        ("results", c_uint32 * MANY),
        ("counts", c_uint32 * MANY),
        ("fields", Field * MANY),
    ]

    def set_field(self, number, value, result=0, kind=None):
        """Let a field answer with a value, or with an error."""
        slot = next(field for field in self.fields if field.id in (0, number))
        is_double = isinstance(value, float)
        slot.id, slot.result = number, result
        slot.type = kind if kind is not None else DOUBLE if is_double else ULONG_LONG
        slot.number, slot.whole = (value, 0) if is_double else (0.0, value)

    def remove_field(self, number):
        """Let the GPU not support a field."""
        self.set_field(number, 0, result=3)

    def fail(self, call, result):
        """Let a call answer with an error code; 0 makes it work again."""
        self.results[CALLS.index(call)] = result

    def count(self, call):
        """Return how often a call was made."""
        return self.counts[CALLS.index(call)]


class Event(ctypes.Structure):
    _fields_ = [("gpu", c_uint32), ("unused", c_uint32), ("xid", c_uint64)]


class State(ctypes.Structure):
    _fields_ = [
        ("init_result", c_uint32),
        ("count", c_uint32),
        ("events_written", c_uint64),
        ("events", Event * 8),
        ("driver", TEXT),
        ("nvml", TEXT),
        ("gpus", Gpu * MOST),
    ]


class FakeNvml:
    """Two data-centre GPUs, or up to eight, and the library that answers for them."""

    def __init__(self, library, path, count=2):
        self.library, self.path = library, path
        path.write_bytes(bytes(ctypes.sizeof(State)))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self.state = State.from_buffer(self._map)
        self.state.count = count
        self.state.driver, self.state.nvml = b"590.44.01", b"13.590.44.01"
        for i, gpu in enumerate(self.gpus):
            self._furnish(gpu, i)

    @property
    def gpus(self):
        return self.state.gpus[: self.state.count]

    @staticmethod
    def _furnish(gpu, i):
        uuid = UUIDS[i] if i < len(UUIDS) else f"GPU-{str(i + 1) * 8}-0000-0000-0000-{str(i + 1) * 12}"
        gpu.uuid, gpu.name = uuid.encode(), b"NVIDIA Test 9000"
        gpu.mig_uuid = f"MIG-{i}{i}{i}".encode()
        gpu.utilization, gpu.sm_clock, gpu.memory_clock, gpu.max_clock = 87, 1725, 2619, 1980
        gpu.enforced_limit_mw, gpu.default_limit_mw, gpu.power_usage_mw = 350_000, 400_000, 299_000
        gpu.limit_mw = gpu.enforced_limit_mw
        gpu.temperature, gpu.margin, gpu.memory_used, gpu.reasons = 66, 17, 2**33, 0x464
        gpu.capability_major, gpu.capability_minor = 9, 0
        gpu.energy_mj, gpu.replays, gpu.fan = 5_000_500, 1, 55
        gpu.ecc[0], gpu.ecc[1] = 2, 0
        gpu.thresholds[:] = (95, 90, 95, 87)
        fields = {185: 300_000, 186: 301_500, 83: 5_000_500, 82: 71, 74: 10, 269: 20, 270: 30, 271: 0}
        for number, value in (fields | {3: 2, 4: 0, 94: 1}).items():
            gpu.set_field(number, value)
        gpu.set_field(186, 301_500, kind=UINT)

    def raise_xid(self, gpu, xid):
        """Let a GPU report an XID error."""
        slot = self.state.events[self.state.events_written % 8]
        slot.gpu, slot.xid = gpu, xid
        self.state.events_written += 1

    def environment(self):
        """Return the variables with which a child process finds this library and these GPUs."""
        return {
            "LD_LIBRARY_PATH": str(self.library.parent),
            "THERMOGRAD_FAKE_NVML": str(self.path),
        }


def build(directory, *options):
    """Compile the stand-in, or skip the test that needs it."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("needs gcc, to build the stand-in for NVIDIA's library")
    directory.mkdir(exist_ok=True)
    library = directory / "libnvidia-ml.so.1"
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", *options, "-o", str(library), str(SOURCE)]
    subprocess.run(command, check=True, capture_output=True)
    size = ctypes.CDLL(str(library)).fake_state_size
    size.restype = ctypes.c_ulonglong
    assert size() == ctypes.sizeof(State), "fake_nvml.c and fake_nvml.py have come apart"
    return library


def use_in_this_process(monkeypatch, fake):
    """Let unmodified pynvml talk to the stand-in until the test ends."""
    import pynvml

    monkeypatch.setattr(pynvml, "nvmlLib", ctypes.CDLL(str(fake.library)))
    monkeypatch.setattr(pynvml, "_nvmlGetFunctionPointer_cache", {})
    monkeypatch.setenv("THERMOGRAD_FAKE_NVML", str(fake.path))
