"""Several devices under one name are never merged: the import is refused, or says what is in doubt."""

from pathlib import Path

import pytest
from importing import device_rows, exposition, imported, refused, written

_SMI = "timestamp, power.draw [W], utilization.gpu [%]\n"


def _turns(count: int, apart_ms: int, instants: int = 10) -> str:
    """Return rows of `count` GPUs that are read one after another, once a second."""
    rows = [
        f"2026/01/01 12:00:{second:02}.{place * apart_ms:03}, {300 - 100 * (place % 2)} W, {9 * place} %\n"
        for second in range(instants)
        for place in range(count)
    ]
    return _SMI + "".join(rows)


@pytest.mark.parametrize(
    ("count", "apart_ms"), [(2, 0), (2, 2), (2, 40), (3, 7), (4, 2), (8, 3), (8, 0), (16, 5)]
)
def test_gpus_that_the_log_does_not_name_are_refused_not_merged(
    tmp_path: Path, count: int, apart_ms: int
) -> None:
    path = written(tmp_path / "a.csv", _turns(count, apart_ms))
    message = refused(tmp_path, path, timezone="UTC")
    assert "several rows of device gpu at one time" in message
    assert "query uuid" in message


def test_one_gpu_that_the_log_does_not_name_is_imported_with_a_warning(tmp_path: Path) -> None:
    """Its rows are a second apart, with a pause of an hour and rows that came late."""
    text = _turns(1, 0) + _turns(1, 0).replace(" 12:", " 13:").removeprefix(_SMI).replace(
        ":05.000", ":05.900"
    )
    found = imported(tmp_path, written(tmp_path / "a.csv", text), timezone="UTC")
    assert found.result["rows"]["sample"] == 20
    assert found.result["warnings"] == [
        "the log names no GPU (no uuid or index): all its rows are taken as one device"
    ]


def test_an_index_that_is_the_same_for_all_is_refused(tmp_path: Path) -> None:
    rows = [f"2026-01-01T12:00:0{s}+08:00, {gpu}, 0, 7{gpu}.00\n" for s in range(3) for gpu in range(4)]
    path = written(tmp_path / "a.csv", "timestamp, gpu, index, power.draw\n" + "".join(rows))
    assert "several rows of device gpu0 at one time in 100% of its instants (line 2 and 3" in refused(
        tmp_path, path
    )


def test_a_script_that_names_gpus_in_columns_of_its_own_keeps_them_apart(tmp_path: Path) -> None:
    rows = [
        f"2026-01-01T12:00:0{s}Z, node-{n}, {gpu}, 7{gpu}\n"
        for s in range(3)
        for n in (1, 2)
        for gpu in (0, 1)
    ]
    path = written(tmp_path / "a.csv", "timestamp, hostname, gpu, power.draw\n" + "".join(rows))
    devices = {row["device"] for row in imported(tmp_path, path).rows("sample")}
    assert devices == {"node-1:gpu0", "node-1:gpu1", "node-2:gpu0", "node-2:gpu1"}


@pytest.mark.parametrize(
    "label", ["hostname", "Hostname", "host", "instance", "node", "kubernetes_node", "pod"]
)
def test_a_host_is_known_by_any_label_that_is_usual(tmp_path: Path, label: str) -> None:
    lines = [
        f'DCGM_FI_DEV_GPU_TEMP{{gpu="0",{label}="n{host}"}} {45 + host} {1767225600000 + 15000 * scrape}\n'
        for scrape in range(2)
        for host in (1, 2)
    ]
    found = imported(tmp_path, written(tmp_path / "a", "".join(lines)))
    assert {(row["device"], row["temperature_c"]) for row in found.rows("sample")} == {
        ("n1:gpu0", 46.0),
        ("n2:gpu0", 47.0),
    }
    assert found.result["account"] == {"read": 4, "kept": 4, "merged": 0, "left_out": 0}


def test_hosts_that_no_label_names_are_refused(tmp_path: Path) -> None:
    text = "".join(
        f'DCGM_FI_DEV_GPU_TEMP{{gpu="0",cluster="{c}"}} {temp} {1767225600000 + 15000 * scrape}\n'
        for scrape in range(2)
        for c, temp in (("a", 45), ("b", 46))
    )
    assert "several rows of device gpu0 at one time" in refused(tmp_path, written(tmp_path / "a", text))


def test_an_rle_log_of_two_gpus_of_one_name_is_refused(tmp_path: Path) -> None:
    rows = [f"2025-07-01T00:00:0{s}Z,gpu,0.1,5{gpu},20,30,0" for s in range(4) for gpu in range(2)]
    assert "several rows of device gpu at one time" in refused(
        tmp_path, written(tmp_path / "a", device_rows(*rows))
    )


def test_logs_of_two_machines_one_behind_the_other_are_refused(tmp_path: Path) -> None:
    rows = [
        f"2026/01/01 12:00:{s:02}.{ms}, 0, {power} W\n"
        for ms, power in ((123, 300), (687, 80))
        for s in range(30)
    ]
    path = written(tmp_path / "a.csv", "timestamp, index, power.draw [W]\n" + "".join(rows))
    message = refused(tmp_path, path, timezone="UTC")
    assert "several rows of device gpu0 in two stretches of the file" in message


def test_a_log_whose_latest_row_is_the_first_and_one_in_the_wrong_order_are_imported(tmp_path: Path) -> None:
    rows = [f"2026/01/01 12:00:{s:02}.123, 0, {300 + s} W\n" for s in range(40)]
    for order in (rows[::-1], rows[20:] + rows[:20]):
        path = written(tmp_path / "a.csv", "timestamp, index, power.draw [W]\n" + "".join(order))
        found = imported(tmp_path, path, timezone="UTC")
        assert [row["power_w"] for row in found.rows("sample")] == [300.0 + s for s in range(40)]
        assert found.result["warnings"] == []


def test_gpus_that_are_read_at_nearly_one_time_are_refused_though_some_times_are_equal(
    tmp_path: Path,
) -> None:
    rows = [
        f"2026/01/01 12:00:{s:02}.{(gpu * 2 if (s + gpu) % 9 else 2):03}, {100 + gpu} W\n"
        for s in range(40)
        for gpu in range(4)
    ]
    path = written(tmp_path / "a.csv", "timestamp, power.draw [W]\n" + "".join(rows))
    assert "several rows of device gpu" in refused(tmp_path, path, timezone="UTC")


def test_a_few_instants_with_two_rows_are_kept_and_said(tmp_path: Path) -> None:
    """A logger that writes whole seconds has two rows in some."""
    rows = [f"2025-07-01T00:00:{s:02}Z,gpu,0.1,50,2{s},30,0" for s in range(30)]
    rows.insert(5, "2025-07-01T00:00:05Z,gpu,0.1,51,25,30,0")
    found = imported(tmp_path, written(tmp_path / "a", device_rows(*rows)))
    assert found.result["rows"]["sample"] == 31
    assert found.result["warnings"] == [
        "gpu has more than one row at 3.3% of its instants, e.g. line 7 and 8, 2025-07-01T00:00:05 UTC"
    ]


def test_metrics_of_one_gpu_are_one_row_at_one_time(tmp_path: Path) -> None:
    found = imported(tmp_path, written(tmp_path / "a", exposition(1_700_000_000_250, 1_700_000_001_250)))
    assert found.result["warnings"] == []
    assert found.result["account"] == {"read": 16, "kept": 2, "merged": 12, "left_out": 2}
