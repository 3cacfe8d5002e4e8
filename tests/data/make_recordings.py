"""Write the small recordings beside this file: invented values, with the quirks of real recordings.

Run it from anywhere: ``python tests/data/make_recordings.py``. The same files come out every time.
"""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

HERE = Path(__file__).parent
START = datetime(2025, 3, 1, 12, 0, 0, tzinfo=UTC)
PAIR_COLUMNS = (
    "timestamp,device,rle_smoothed,rle_raw,temp_c,power_w,util_pct,a_load,collapse,"
    "cpu_freq_mhz,gpu_memory_used_gb,gpu_fan_pct,gpu_clock_mhz,workload_state"
)
MONITOR_COLUMNS = "timestamp,device,rle_smoothed,rle_raw,temp_c,vram_temp_c,power_w,util_pct,fan_pct,collapse"


def device_log() -> str:
    """70 s at 1 Hz, naive UTC; the CPU's temperature and power are constants, its cells of the GPU empty."""
    lines = [PAIR_COLUMNS]
    for second in range(70):
        time = (START + timedelta(seconds=second, microseconds=250_000)).strftime("%Y-%m-%dT%H:%M:%S.%f")
        rle = round(0.2 + 0.1 * math.sin(second / 7), 6)
        lines.append(f"{time},cpu,{rle},{rle},50.0,125.0,{second % 13}.5,0.8,{second % 2},2496.0,,,,idle")
        heat, power = 50 + second // 7, 25 + round(5 * math.sin(second / 5), 3)
        lines.append(
            f"{time},gpu,{rle / 2},{rle},{heat},{power},{30 + second % 9},0.8,{second % 2}.0,,2.5,0,615,idle"
        )
    return "\n".join(lines) + "\n"


def step_log() -> list[dict[str, object]]:
    """40 steps, two a second, in epoch time and in naive local time 5 h behind; then the summary row."""
    entries: list[dict[str, object]] = []
    for step in range(1, 41):
        entries.append(entry(step, step, 6.0 / step, 25.0 / math.sqrt(step), 5e-05 * (1 - step / 40)))
    return [*entries, entry(40, 41, None, None, None)]


def entry(
    step: int, counter: int, loss: float | None, norm: float | None, rate: float | None
) -> dict[str, object]:
    """Lay out one step as the source does."""
    time = START + timedelta(seconds=20 + counter / 2)
    local = (time - timedelta(hours=5)).replace(tzinfo=None)
    return {
        "step": step,
        "step_counter": counter,
        "timestamp_shared": time.timestamp(),
        "timestamp_iso": local.isoformat(),
        "loss": loss,
        "grad_norm": norm,
        "learning_rate": rate,
        "epoch": round(step / 10, 2),
    }


def monitor_log() -> str:
    """One device, times with Z, and everything that several writers and a full disk do to a file."""

    def row(second: int, cells: str = "60.00,,22.5,38.00,0,0") -> str:
        return f"2025-03-01T12:00:{second:02}.500Z,gpu,0.5,0.6,{cells}"

    lines = [MONITOR_COLUMNS, row(1), row(2), ",0,", row(3), MONITOR_COLUMNS, "", row(5), row(4), row(5)]
    lines += [row(6, ",,,,,"), row(7, "60.0,,nan,38.00,0,0"), row(8, "60.0,,22.5,250.0,0,0")]
    lines += [row(9, "60.0,,22.5,38.0,0,0,0.1"), row(10, "900,,22.5,38.0,0,0"), row(11, "60,,-3,38,0,1")]
    return "\n".join([*lines, row(12, "60,,2")])


def main() -> None:
    """Write every file."""
    pair = HERE / "pair"
    pair.mkdir(exist_ok=True)
    (pair / "device_log.csv").write_text(device_log(), encoding="utf-8", newline="\n")
    (pair / "step_log.json").write_text(
        json.dumps(step_log(), indent=1) + "\n", encoding="utf-8", newline="\n"
    )
    (pair / "analysis_1.json").write_text('{"correlations": {}}\n', encoding="utf-8", newline="\n")
    (HERE / "torn_monitor.csv").write_text(monitor_log(), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
