import pytest
from thermograd.ingest.devices.visible_gpus import Gpu, select_gpus

SAME = [Gpu("GPU-aaaa1111", "X"), Gpu("GPU-aaaa2222", "X"), Gpu("GPU-BBBB3333", "X")]
MIXED = [Gpu("GPU-aaaa1111", "slow"), Gpu("GPU-aaaa2222", "fast")]
PARENTS = {"MIG-77": "GPU-aaaa2222", "MIG-78": "GPU-aaaa2222"}


def choose(gpus, **environment):
    return select_gpus(gpus, environment, PARENTS.get)


@pytest.mark.parametrize(
    ("value", "indices"),
    [
        ("0", (0,)),
        ("2,0", (2, 0)),
        (" 1 , 2 ", (1, 2)),
        ("GPU-aaaa2222", (1,)),
        ("GPU-bbbb", (2,)),
        ("GPU-aaaa", ()),
        ("GPU-cccc", ()),
        ("1,7,0", (1,)),
        ("1,-1,0", (1,)),
        ("-1", ()),
        ("", ()),
        ("NoDevFiles", ()),
        ("MIG-77", (1,)),
        ("MIG-77,MIG-78", (1,)),
        ("MIG-99", ()),
        ("MIG-GPU-aaaa1111/7/0", (0,)),
        ("1,1", (1,)),
    ],
)
def test_an_entry_is_an_index_a_uuid_a_unique_prefix_or_a_part_and_the_list_ends_at_nonsense(value, indices):
    chosen = choose(SAME, CUDA_VISIBLE_DEVICES=value)
    assert chosen.indices == indices
    assert (chosen.note is None) == bool(indices)


def test_without_the_variable_all_are_chosen():
    assert choose(MIXED) == ((0, 1), None)


def test_an_index_counts_in_cudas_order_and_is_not_guessed_among_different_models():
    chosen = choose(MIXED, CUDA_VISIBLE_DEVICES="0")
    assert chosen.indices == (0, 1)
    assert "CUDA_DEVICE_ORDER=PCI_BUS_ID" in chosen.note
    assert choose(MIXED, CUDA_VISIBLE_DEVICES="0", CUDA_DEVICE_ORDER="PCI_BUS_ID") == ((0,), None)
    assert choose(MIXED, CUDA_VISIBLE_DEVICES="GPU-aaaa2") == ((1,), None)


def test_a_variable_that_a_launcher_set_for_one_rank_does_not_blind_the_node():
    chosen = choose(SAME, CUDA_VISIBLE_DEVICES="0", LOCAL_WORLD_SIZE="3")
    assert chosen.indices == (0, 1, 2)
    assert "one rank's own" in chosen.note
    assert choose(SAME, CUDA_VISIBLE_DEVICES="0,1", LOCAL_WORLD_SIZE="2") == ((0, 1), None)


@pytest.mark.parametrize(
    ("value", "indices"),
    [("all", (0, 1, 2)), ("void", (0, 1, 2)), ("5", (0, 1, 2)), ("none", ()), ("GPU-BBBB3333", (2,))],
)
def test_of_the_containers_variable_only_none_and_uuids_count(value, indices):
    assert choose(SAME, NVIDIA_VISIBLE_DEVICES=value).indices == indices


def test_an_index_counts_what_the_container_shows():
    both = {"NVIDIA_VISIBLE_DEVICES": "GPU-aaaa2222,GPU-BBBB3333", "CUDA_VISIBLE_DEVICES": "1"}
    assert select_gpus(SAME, both, PARENTS.get).indices == (2,)
