"""Figures of GPUs, and the names by which they are found."""

from __future__ import annotations

import pytest

from hfjobs_trainer.facts import Flavor
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.planning.hardware.gpus import (
    BORROWED_HIGH,
    BORROWED_LOW,
    USABLE_PER_NOMINAL,
    Gpu,
    all_gpus,
    find_gpu,
    suggest_gpus,
)

FLAVORS = [flavor for flavor in snapshot().flavors if flavor.gpu]


@pytest.mark.parametrize(
    ("typed", "name"),
    [
        ("RTX 4090", "NVIDIA RTX 4090"),
        ("4090", "NVIDIA RTX 4090"),
        ("2x 4090", "NVIDIA RTX 4090"),
        ("NVIDIA GeForce RTX 3090 Ti", "NVIDIA RTX 3090 Ti"),
        ("3090", "NVIDIA RTX 3090"),
        ("rtx5090", "NVIDIA RTX 5090"),
        ("A6000", "NVIDIA RTX A6000"),
        ("6000 Ada", "NVIDIA RTX 6000 Ada"),
        ("A100", "NVIDIA A100 80GB"),
        ("A100 80GB", "NVIDIA A100 80GB"),
        ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 80GB"),
        ("A100-40", "NVIDIA A100 40GB"),
        ("a100_40gb", "NVIDIA A100 40GB"),
        ("4x H100", "NVIDIA H100"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100"),
        ("H100 PCIe", "NVIDIA H100 PCIe"),
        ("h200", "NVIDIA H200"),
        ("L4", "NVIDIA L4"),
        ("L40S", "NVIDIA L40S"),
        ("A10", "NVIDIA A10"),
        ("A10G", "NVIDIA A10G"),
        ("Tesla T4", "NVIDIA T4"),
        ("T4 x2", "NVIDIA T4"),
        ("V100", "NVIDIA V100 16GB"),
        ("Tesla V100-SXM2-32GB", "NVIDIA V100 32GB"),
        ("RTX PRO 6000", "NVIDIA RTX PRO 6000"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "NVIDIA RTX PRO 6000"),
    ],
)
def test_a_gpu_is_found_by_what_people_type(typed: str, name: str) -> None:
    found = find_gpu(typed)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    ("typed", "names"),
    [
        ("", []),
        ("Radeon", []),
        ("H300", ["NVIDIA H100", "NVIDIA H200"]),
        ("A100-20GB", ["NVIDIA A100 80GB", "NVIDIA A100 40GB"]),
        ("RTX 6000", ["NVIDIA RTX 6000 Ada", "NVIDIA RTX PRO 6000", "NVIDIA RTX A6000"]),
        ("RTX 4090 Laptop", ["NVIDIA RTX 4090"]),
        ("4080 super", ["NVIDIA RTX 4080"]),
    ],
)
def test_what_is_no_gpu_is_not_taken_for_one_but_names_come_close(typed: str, names: list[str]) -> None:
    assert find_gpu(typed) is None
    suggested = suggest_gpus(typed)
    assert set(names) <= set(suggested)
    assert len(suggested) <= 3
    assert suggested or not names


@pytest.mark.parametrize("flavor", FLAVORS, ids=[flavor.name for flavor in FLAVORS])
def test_every_gpu_on_offer_is_found_by_the_name_that_its_flavor_gives_it(flavor: Flavor) -> None:
    assert flavor.gpu is not None
    found = find_gpu(flavor.gpu)
    assert found is not None
    assert (found.name, found.gpu_memory_gb) == (flavor.gpu, flavor.gpu_memory_gb)
    assert found.usable_gpu_memory_gib == flavor.usable_gpu_memory_gib
    assert (found.bf16, found.compute_capability) == (flavor.bf16, flavor.compute_capability)


@pytest.mark.parametrize("gpu", all_gpus(), ids=[gpu.name for gpu in all_gpus()])
def test_figures_are_plausible_and_have_a_source(gpu: Gpu) -> None:
    assert find_gpu(gpu.name) is gpu
    assert all(find_gpu(alias) is gpu for alias in gpu.aliases)
    usable = gpu.usable_gpu_memory_gib / gpu.gpu_memory_gb
    # the share that is assumed is the lowest known
    assert usable == pytest.approx(USABLE_PER_NOMINAL) or USABLE_PER_NOMINAL < usable <= 1
    # operations per byte of memory traffic
    assert 20 <= gpu.tflops * 1000 / gpu.bandwidth_gb_s <= 500
    assert gpu.link_gb_s < gpu.bandwidth_gb_s
    assert gpu.source
    assert gpu.usable_gpu_memory_basis
    for share in gpu.utilisation.values():
        assert 0 < share.low <= share.expected <= share.high <= 0.9
        assert share.source
        assert share.assumed == (share.rows == 0)


def test_where_nothing_was_measured_the_closest_counts_with_wider_bounds() -> None:
    h100, h200 = find_gpu("H100"), find_gpu("H200")
    assert h100 is not None
    assert h200 is not None
    known, borrowed = h100.utilisation["qlora"], h200.utilisation["qlora"]
    assert not known.assumed
    assert borrowed.assumed
    assert "NVIDIA H100" in borrowed.source
    assert borrowed.expected == known.expected
    assert borrowed.low == known.low * BORROWED_LOW
    assert borrowed.high == pytest.approx(known.high * BORROWED_HIGH)


def test_another_tuning_on_the_same_gpu_is_closer_than_another_gpu() -> None:
    l4 = find_gpu("L4")
    assert l4 is not None
    assert not l4.utilisation["qlora"].assumed
    assert l4.utilisation["lora"].expected == l4.utilisation["qlora"].expected
    assert "NVIDIA L4 (qlora)" in l4.utilisation["lora"].source
