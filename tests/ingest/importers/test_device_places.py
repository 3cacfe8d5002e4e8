"""What device logs say of a GPU's index and host is kept, where it can be believed."""

import json

import pytest
from thermograd.ingest.importers.import_logs import import_run
from thermograd.store.runs.catalogue import find_run
from thermograd.store.telling.devices import device_labels

_UUIDS = ("GPU-3f2a9c1e-77aa", "GPU-77b19c1e-77aa")


def _labels(tmp_path, name, text, **options):
    path = tmp_path / name
    path.write_text(text)
    import_run(tmp_path / "runs", [path], timezone=options.get("timezone"))
    return device_labels(find_run(tmp_path / "runs", "latest").facts["devices"])


def _smi(header, rows):
    lines = [f"timestamp, {header}, name, temperature.gpu"]
    for second in range(10):
        lines += [
            f"2026/11/01 12:00:{second:02}.000, {row}, NVIDIA H100 80GB HBM3, {60 + second}" for row in rows
        ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        ("uuid, index", [f"{_UUIDS[0]}, 3", f"{_UUIDS[1]}, 5"], ["GPU 3 (H100, 3f2a)", "GPU 5 (H100, 77b1)"]),
        ("index", ["0", "1"], ["GPU 0 (H100)", "GPU 1 (H100)"]),
        ("uuid", list(_UUIDS), ["GPU 3f2a (H100)", "GPU 77b1 (H100)"]),
        ("uuid, gpu", [f"{_UUIDS[0]}, 0", f"{_UUIDS[1]}, 0"], ["GPU 3f2a (H100)", "GPU 77b1 (H100)"]),
        (
            "uuid, index",
            [f"{_UUIDS[0]}, [N/A]", f"{_UUIDS[1]}, 1"],
            ["GPU 1 (H100, 77b1)", "GPU 3f2a (H100)"],
        ),
        (
            "hostname, uuid, index",
            [f"a, {_UUIDS[0]}, 0", f"b, {_UUIDS[1]}, 0"],
            ["GPU 0 on a (H100, 3f2a)", "GPU 0 on b (H100, 77b1)"],
        ),
        ("hostname, index", ["a, 0", "b, 0"], ["GPU 0 on a (H100)", "GPU 0 on b (H100)"]),
    ],
)
def test_nvidia_smi(tmp_path, header, rows, expected):
    labels = _labels(tmp_path, "smi.csv", _smi(header, rows), timezone="UTC")
    assert list(labels.values()) == expected


def test_dcgm_with_mig(tmp_path):
    def series(gpu, uuid, host, **more):
        labels = {
            "__name__": "DCGM_FI_DEV_GPU_TEMP",
            "gpu": gpu,
            "UUID": uuid,
            "Hostname": host,
            "modelName": "NVIDIA H100",
        }
        return {"metric": labels | more, "values": [[1793534400 + i, str(60 + i)] for i in range(10)]}

    result = [
        series("0", _UUIDS[0], "a", GPU_I_ID="1"),
        series("0", _UUIDS[0], "a", GPU_I_ID="2"),
        series("0", _UUIDS[1], "b"),
    ]
    answer = {"status": "success", "data": {"resultType": "matrix", "result": result}}
    assert list(_labels(tmp_path, "dcgm.json", json.dumps(answer)).values()) == [
        "GPU 0 MIG 1 on a (H100, 3f2a)",
        "GPU 0 MIG 2 on a (H100, 3f2a)",
        "GPU 0 on b (H100, 77b1)",
    ]
