"""What devices are called for people: each another name, what is simulated always so."""

import pytest
from thermograd.store.telling.devices import (
    device_label,
    device_labels,
    device_order,
    devices_label,
    short_model,
)

_H100 = {"model": "NVIDIA H100 80GB HBM3"}


def test_a_gpu_is_told_by_index_model_and_the_beginning_of_its_uuid():
    assert device_label("GPU-3f2a9c1e-77", {"GPU-3f2a9c1e-77": _H100 | {"index": 3}}) == "GPU 3 (H100, 3f2a)"


@pytest.mark.parametrize(
    ("name", "facts", "label"),
    [
        ("GPU-3f2a9c1e-77", {}, "GPU 3f2a"),
        ("GPU-3f2a9c1e-77", {"index": 3}, "GPU 3 (3f2a)"),
        ("GPU-3f2a9c1e-77", {"index": None, "model": None}, "GPU 3f2a"),
        ("GPU-3f2a9c1e-77", {"index": True, "model": " "}, "GPU 3f2a"),
        ("GPU-3f2a9c1e-77", _H100, "GPU 3f2a (H100)"),
        ("gpu0", {}, "GPU 0"),
        ("gpu12", _H100, "GPU 12 (H100)"),
        ("node7:gpu0", _H100, "GPU 0 (H100)"),
        ("10.0.0.3:9400:gpu0", {}, "GPU 0"),
        ("gpu", {"model": "NVIDIA GeForce RTX 3060 Ti"}, "gpu (RTX 3060 Ti)"),
        ("00000000:3B:00.0", _H100, "00000000:3B:00.0 (H100)"),
        ("GPU-3f2a9c1e-77/2", _H100 | {"index": 1}, "GPU 1 MIG 2 (H100, 3f2a)"),
        ("gpu1/2", {}, "GPU 1 MIG 2"),
        ("MIG-3f2a9c1e-77", _H100, "GPU MIG 3f2a (H100)"),
        ("cpu", {"model": "Intel(R) Xeon(R) Platinum 8480C @ 2.00GHz"}, "cpu (Xeon Platinum 8480C)"),
        ("cpu", {}, "cpu"),
        ("simulated:dc", {"model": "simulated data-centre GPU, 700 W", "simulated": True}, "simulated:dc"),
        ("GPU-3f2a9c1e-77", {"simulated": True, "index": 0}, "GPU 0 (3f2a, simulated)"),
        ("gpu0", {"simulated": True}, "GPU 0 (simulated)"),
    ],
)
def test_what_is_not_known_is_left_out(name, facts, label):
    assert device_label(name, {name: facts}) == label


def test_a_device_that_the_facts_do_not_name_has_a_label_too():
    assert device_label("GPU-3f2a9c1e-77", {}) == "GPU 3f2a"
    assert device_label("gpu1", {"gpu0": _H100}) == "GPU 1"


def test_the_uuid_is_as_long_as_it_takes_to_tell_gpus_apart():
    names = ["GPU-3f2a9c1e-77", "GPU-3f2a9c1e-78", "GPU-3f2b"]
    labels = device_labels(dict.fromkeys(names, _H100))
    assert list(labels.values()) == ["GPU 3f2a9c1e-77 (H100)", "GPU 3f2a9c1e-78 (H100)", "GPU 3f2b (H100)"]


def test_hosts_are_named_where_there_are_several():
    two = {f"GPU-{host}{i}aaa": _H100 | {"index": i, "host": f"node{host}"} for host in "12" for i in (0, 1)}
    assert list(device_labels(two).values()) == [
        "GPU 0 on node1 (H100, 10aa)",
        "GPU 1 on node1 (H100, 11aa)",
        "GPU 0 on node2 (H100, 20aa)",
        "GPU 1 on node2 (H100, 21aa)",
    ]
    assert list(device_labels({"a:gpu0": {}, "b:gpu0": {}}).values()) == ["GPU 0 on a", "GPU 0 on b"]


def test_models_that_are_the_same_in_short_are_told_whole():
    gpus = {"gpu0": {"model": "NVIDIA A100-SXM4-40GB"}, "gpu1": {"model": "NVIDIA A100-SXM4-80GB"}}
    assert list(device_labels(gpus).values()) == [
        "GPU 0 (NVIDIA A100-SXM4-40GB)",
        "GPU 1 (NVIDIA A100-SXM4-80GB)",
    ]


@pytest.mark.parametrize(
    ("model", "short"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA GH200 480GB", "GH200"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA H100 PCIe", "H100"),
        ("NVIDIA H100 NVL", "H100"),
        ("NVIDIA GeForce RTX 3070 Laptop GPU", "RTX 3070 Laptop"),
        ("AMD Instinct MI300X OAM", "MI300X"),
        ("11th Gen Intel(R) Core(TM) i7-11800H @ 2.30GHz", "Core i7-11800H"),
        ("AMD Ryzen 7 5800X 8-Core Processor", "Ryzen 7 5800X"),
        ("Apple, gpu", "Apple, gpu"),
        ("AMD GPU", "AMD GPU"),
        ("NVIDIA", "NVIDIA"),
        ("a model \x1b[31m<b>", "a model \ufffd[31m<b>"),
    ],
)
def test_models_are_told_without_maker_memory_and_form(model, short):
    assert short_model(model) == short


_HOSTILE = (
    "a\x1b[2J",
    "a\x9b[2J",
    "a\ufffd[2J",
    "x" * 500,
    "x" * 501,
    "<script>alert(1)</script>",
    "\u202egpu0",
    "",
    "GPU 0",
)


def test_labels_of_strangers_are_one_printable_line_and_tell_devices_apart():
    facts = {name: {"model": name, "host": name, "index": "0"} for name in _HOSTILE} | {"gpu0": {}}
    labels = device_labels(facts)
    assert set(labels) == set(facts)
    assert len(set(labels.values())) == len(facts)
    assert all(label.isprintable() and len(label) < 200 for label in labels.values())


def test_order_is_by_host_and_index_then_what_is_no_gpu():
    gpus = {f"GPU-{9 - i}": {"index": i} for i in range(3)}
    assert device_order({"cpu": {}, "simulated:b": {}, **dict(reversed(gpus.items()))}) == [
        "GPU-9",
        "GPU-8",
        "GPU-7",
        "simulated:b",
        "cpu",
    ]
    assert device_order(["cpu", "gpu10", "gpu9"]) == ["gpu9", "gpu10", "cpu"]


def test_a_list_tells_gpus_of_one_model_together():
    node = {f"GPU-3f{i}": _H100 | {"index": i} for i in range(8)}
    assert devices_label(node) == "8 x H100 (GPU-3f..)"
    assert (
        devices_label(node | {"GPU-a1": {"model": "NVIDIA L4"}, "cpu": {}})
        == "8 x H100 (GPU-3f..), GPU a1 (L4), cpu"
    )
    assert devices_label({"cpu": {"model": "AMD EPYC 7763"}}) == "cpu"
    assert devices_label({f"n{i % 2}:gpu{i // 2}": _H100 for i in range(16)}) == "16 x H100 on 2 hosts"
    assert devices_label({f"simulated:{i}": {"simulated": True} for i in range(3)}) == "3 x simulated GPU"
    assert devices_label({"simulated:dc": {}, "cpu": {}}) == "simulated:dc, cpu"
