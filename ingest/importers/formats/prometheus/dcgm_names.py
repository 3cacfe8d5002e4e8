"""What NVIDIA's DCGM exporter calls a reading, the device it is of, and an absent one.

Units are those of DCGM's field list: W, mJ (counter), degC, MHz, MiB, and nanoseconds for the violation
counters (older exporters' help texts say us; that was a mistake, dcgm-exporter pull request 589).
"""

from collections.abc import Iterable, Mapping

from thermograd.ingest.importers.text_files import LeftOutError

DCGM_METRICS: dict[str, tuple[str, float]] = {  # column, and the factor to its unit
    "GPU_UTIL": ("utilization_pct", 1),
    "POWER_USAGE": ("power_w_average", 1),
    "POWER_USAGE_INSTANT": ("power_w", 1),
    "TOTAL_ENERGY_CONSUMPTION": ("energy_j", 1e-3),
    "GPU_TEMP": ("temperature_c", 1),
    "MEMORY_TEMP": ("memory_temperature_c", 1),
    "SM_CLOCK": ("sm_clock_mhz", 1),
    "MEM_CLOCK": ("memory_clock_mhz", 1),
    "FB_USED": ("memory_used_bytes", 2**20),
    "ENFORCED_POWER_LIMIT": ("power_limit_w", 1),
    "FAN_SPEED": ("fan_pct", 1),
    "CLOCK_THROTTLE_REASONS": ("clock_event_mask", 1),
    "CLOCKS_EVENT_REASONS": ("clock_event_mask", 1),
    "POWER_VIOLATION": ("throttled_power_ns", 1),
    "THERMAL_VIOLATION": ("throttled_thermal_ns", 1),
    "CLOCKS_EVENT_REASON_HW_POWER_BRAKE_SLOWDOWN_NS": ("throttled_brake_ns", 1),
    "ECC_SBE_VOL_TOTAL": ("ecc_corrected", 1),
    "ECC_DBE_VOL_TOTAL": ("ecc_uncorrected", 1),
    "PCIE_REPLAY_COUNTER": ("pcie_replays", 1),
}
DCGM_PREFIX = "DCGM_FI_DEV_"
_INT32_BLANK, _INT64_BLANK, _FLOAT_BLANK = 0x7FFFFFF0, 0x7FFFFFFFFFFFFFF0, 140737488355328.0
_UUID_LABELS = ("uuid", "gpu_uuid")  # in lower case, the surest first
INDEX_LABELS = ("gpu", "gpu_id", "gpu_index", "minor_number", "device")
HOST_LABELS = (
    *("hostname", "host", "node", "nodename", "node_name", "kubernetes_node", "instance"),
    *("exported_hostname", "exported_instance", "pod", "pod_name"),
)


def is_blank(value: float) -> bool:
    """Whether a value is one of DCGM's stand-ins for an absent one."""
    if value >= _INT64_BLANK or value in range(_INT32_BLANK, _INT32_BLANK + 16):
        return True
    return int(value) in range(int(_FLOAT_BLANK), int(_FLOAT_BLANK) + 16)


def device_of(labels: Mapping[str, str], otherwise: str | None = None) -> str:
    """Return the device as recorded: its UUID, else its index on its host; a MIG instance with its id.

    The keys of `labels` are in lower case: who scrapes the exporter relabels at will. `otherwise` is what a
    person calls the device of labels that name none.
    """
    device = first_of(labels, _UUID_LABELS)
    if not device:
        if not first_of(labels, INDEX_LABELS):
            if otherwise is None:
                raise LeftOutError("a metric without a UUID or gpu label")
            return otherwise
        index, host = index_of(labels), first_of(labels, HOST_LABELS)
        device = f"{host}:gpu{index}" if host else f"gpu{index}"
    instance = labels.get("gpu_i_id")
    return f"{device}/{instance}" if instance else device


def index_of(labels: Mapping[str, str]) -> str:
    """Return the number of a GPU on its host, as labels have it; empty for none."""
    return first_of(labels, INDEX_LABELS).removeprefix("nvidia")


def first_of(labels: Mapping[str, str], keys: Iterable[str]) -> str:
    """Return the first of some labels that says something; empty for none."""
    return next((labels[key] for key in keys if labels.get(key)), "")
