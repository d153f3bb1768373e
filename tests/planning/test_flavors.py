from __future__ import annotations

import json
from dataclasses import fields, replace
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest
from huggingface_hub import JobHardwareInfo

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts, HardwareFacts
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, parse_live, snapshot, suggest_flavors
from hfjobs_trainer.planning.hardware.gpus import USABLE_PER_NOMINAL, Gpu
from hfjobs_trainer.planning.hardware.table import HardwareTable, hardware_table
from tests.planning.known_models import QWEN_05B


def data() -> Any:
    """What the snapshot is made from."""
    return json.loads(files("hfjobs_trainer.data").joinpath("flavors.json").read_text(encoding="utf-8"))


def test_the_snapshot_is_dated_complete_and_ordered() -> None:
    hardware = snapshot()
    assert hardware.source == f"snapshot {data()['date']}" == "snapshot 2026-08-22"
    assert sorted({flavor.name for flavor in hardware.flavors}) == sorted(row["name"] for row in data()["flavors"])
    prices = [flavor.usd_per_hour for flavor in hardware.flavors]
    assert prices == sorted(prices)
    assert snapshot() is hardware


def test_a_row_has_the_figures_of_the_machine_and_leaves_those_of_its_gpu_to_the_gpu() -> None:
    assert data()["source"].startswith("huggingface/hub-docs")
    of_a_gpu = {item.name for item in fields(Gpu)} - {"name"}
    for row in data()["flavors"]:
        assert (row["num_gpus"] > 0) is (row["gpu"] is not None)
        assert of_a_gpu.isdisjoint(row)
    for flavor in snapshot().flavors:
        known = (flavor.gpu_memory_gb, flavor.usable_gpu_memory_gib, flavor.compute_capability)
        assert all(figure is not None for figure in known) is (flavor.gpu is not None)


def test_what_machines_are_called_is_no_machine_and_leads_to_some() -> None:
    offered = {flavor.name for flavor in snapshot().flavors}
    assert offered.isdisjoint(data()["called"])
    for called, meant in data()["called"].items():
        assert suggest_flavors(called, snapshot())[: len(meant)] == meant


@pytest.mark.parametrize(
    ("name", "suggested"),
    [
        ("a100", ["a100-large"]),
        ("A100-80GB", ["a100-large"]),
        ("4xa100", ["a100-large"]),
        ("h100", ["h200", "a100-large"]),
        ("h100x8", ["h200x8", "h200", "a100-large"]),
        ("b200x4", ["h200x4", "h200"]),
        ("h200-sxm", ["h200"]),
        ("A100-SXM4-80GB", ["a100-large"]),
        ("gpu-t4-small", ["t4-small"]),
        ("A10G_LARGE", ["a10g-large"]),
        ("a10g", ["a10g-small", "a10g-large"]),
        ("l4", ["l4x1"]),
        ("l40s", ["l40sx1"]),
        ("a10g-lrage", ["a10g-large"]),
        ("NVIDIA L4", ["l4x1"]),
        ("rtx_pro_6000", ["rtx-pro-6000"]),
        ("cpu", ["cpu-basic", "cpu-upgrade"]),
    ],
)
def test_a_wrong_name_brings_the_right_one_first(name: str, suggested: list[str]) -> None:
    assert find_flavor(name, snapshot()) is None
    found = suggest_flavors(name, snapshot())
    assert found[: len(suggested)] == suggested
    assert len(found) <= 3


@pytest.mark.parametrize("name", ["", "quantum", "???", "my-own-machine"])
def test_a_name_like_no_other_brings_nothing(name: str) -> None:
    assert suggest_flavors(name, snapshot()) == []


def test_only_what_is_on_offer_is_suggested() -> None:
    few = HardwareFacts(tuple(flavor for flavor in snapshot().flavors if flavor.name == "h200"), "live")
    assert suggest_flavors("h100", few) == ["h200"]
    assert suggest_flavors("a100", few) == []


def test_table_text() -> None:
    lines = str(hardware_table()).splitlines()
    assert lines[0].split() == ["flavor", "GPU", "GPUs", "GPU", "memory", "vCPU", "RAM", "disk", "$/h"]
    assert len(lines) == len(snapshot().flavors) + 2
    assert len({len(line) for line in lines[:-1]}) == 1
    row = next(line for line in lines if line.startswith("l4x4 "))
    assert row.split() == ["l4x4", "NVIDIA", "L4", "4", "24", "GB", "48", "186", "GB", "3200", "GB", "3.80"]
    assert lines[-1] == "prices: snapshot 2026-08-22; GPU memory is per GPU"


def test_table_access() -> None:
    table = hardware_table()
    assert table["h200"].usd_per_hour == 5.0
    assert len(table) == len(snapshot().flavors)
    assert [flavor.name for flavor in table] == [flavor.name for flavor in table.rows]
    assert table.source == "snapshot 2026-08-22"
    with pytest.raises(KeyError, match="did you mean h200 or a100-large"):
        table["h100"]
    with pytest.raises(KeyError, match="no flavor 'quantum'"):
        table["quantum"]


class Cells(HTMLParser):
    """The text of each cell, and the tags that were met."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


def test_table_in_a_notebook_escapes_what_the_server_sent() -> None:
    hostile = replace(snapshot().flavors[0], name="<script>alert(1)</script>", gpu="a&b")
    page = HardwareTable((hostile,), "live <b>")._repr_html_()  # pyright: ignore[reportPrivateUsage]
    parsed = Cells(page)
    assert "script" not in parsed.tags
    assert "b" not in parsed.tags
    assert "<script>alert(1)</script>" in parsed.cells
    assert "a&b" in parsed.cells


def machine(name: str = "a10g-small", gpus: tuple[str, str, str] | None = None, **changed: Any) -> JobHardwareInfo:
    """A machine as ``GET /api/jobs/hardware`` describes it."""
    accelerator = None
    if gpus is not None:
        model, quantity, vram = gpus
        accelerator = {"type": "gpu", "model": model, "quantity": quantity, "vram": vram, "manufacturer": "Nvidia"}
    entry: dict[str, Any] = {
        "name": name,
        "prettyName": name,
        "cpu": "4 vCPU",
        "ram": "15 GB",
        "ephemeralStorage": "110 GB",
        "accelerator": accelerator,
        "unitCostMicroUSD": 16_667,
        "unitCostUSD": 0.016667,
        "unitLabel": "minute",
    }
    return JobHardwareInfo(**(entry | changed))


def test_live_prices_replace_those_of_the_snapshot() -> None:
    live = parse_live(
        [
            machine("a10g-largex4", ("A10G", "4", "96 GB"), cpu="48 vCPU", ram="184 GB", ephemeralStorage="2000 GB"),
            machine("cpu-basic", cpu="2 vCPU", ram="16 GB", ephemeralStorage="50 GB", unitCostUSD=0.000167),
        ]
    )
    assert live.source == "live"
    assert [flavor.name for flavor in live.flavors] == ["cpu-basic", "a10g-largex4"]
    basic, large = live.flavors
    assert basic == find_flavor("cpu-basic", snapshot())
    known = find_flavor("a10g-largex4", snapshot())
    assert known is not None
    assert large == replace(known, usd_per_hour=1.0)


def test_a_live_table_like_the_snapshot_gives_the_snapshot() -> None:
    machines = [
        machine(
            flavor.name,
            gpus=None
            if flavor.gpu is None or flavor.gpu_memory_gb is None
            else (
                flavor.gpu.removeprefix("NVIDIA ").removesuffix(" 80GB"),
                str(flavor.num_gpus),
                f"{flavor.gpu_memory_gb * flavor.num_gpus:g} GB",
            ),
            cpu=f"{flavor.vcpu} vCPU",
            ram=f"{flavor.ram_gb} GB",
            ephemeralStorage=f"{flavor.disk_gb} GB",
            unitCostUSD=round(flavor.usd_per_hour / 60, 6),
        )
        for flavor in snapshot().flavors
    ]
    assert parse_live(machines).flavors == snapshot().flavors


def test_a_new_machine_with_a_known_gpu_has_its_facts() -> None:
    (flavor,) = parse_live([machine("l40sx2", ("L40S", "2", "96 GB"))]).flavors
    assert (flavor.gpu, flavor.num_gpus, flavor.usable_gpu_memory_gib) == ("NVIDIA L40S", 2, 44.4)
    assert (flavor.compute_capability, flavor.bf16) == ("8.9", True)


@pytest.mark.parametrize(
    ("model", "bf16"),
    [("B300", True), ("H100", True), ("RTX 6000 Ada", True), ("V100", False), ("RTX 2080 Ti", False), ("P100", False)],
)
def test_a_machine_with_an_unknown_gpu_can_be_used(model: str, bf16: bool) -> None:
    live = parse_live([machine("new-flavor", (model, "2", "160 GB"), ram="1.5 TB")])
    (flavor,) = live.flavors
    assert flavor.gpu == f"Nvidia {model}"
    assert flavor.gpu_memory_gb == 80
    assert flavor.usable_gpu_memory_gib == 80 * USABLE_PER_NOMINAL
    assert flavor.bf16 is bf16
    assert flavor.ram_gb == 1500
    spec = hft.SFT(model="me/model", dataset="me/data")
    assert (hft.pick_flavor(spec, facts=Facts(model=QWEN_05B, hardware=live)).flavor is not None) is bf16


def test_a_gpu_with_other_memory_is_another_gpu() -> None:
    (flavor,) = parse_live([machine("a100-small", ("A100", "1", "40 GB"))]).flavors
    assert flavor.gpu_memory_gb == 40
    assert flavor.usable_gpu_memory_gib == 40 * USABLE_PER_NOMINAL


def test_accelerators_without_cuda_are_not_chosen() -> None:
    neuron = {"type": "neuron", "model": "Inferentia 2", "quantity": "6", "vram": "192 GB", "manufacturer": "AWS"}
    live = parse_live([machine("inf2x6", accelerator=neuron)])
    spec = hft.SFT(model="me/model", dataset="me/data")
    choice = hft.pick_flavor(spec, facts=Facts(model=QWEN_05B, hardware=live))
    assert choice.rejected == (("inf2x6", "AWS Inferentia 2 is not a CUDA GPU"),)


def test_what_cannot_be_read_comes_from_the_snapshot() -> None:
    (flavor,) = parse_live(
        [machine("t4-small", ("T4", "1", "?"), cpu="", ram="plenty", ephemeralStorage="...", unitLabel="fortnight")]
    ).flavors
    assert flavor == find_flavor("t4-small", snapshot())
    assert parse_live([machine("new", unitLabel="fortnight")]).flavors == ()


def test_the_table_is_returned_and_not_printed(capsys: pytest.CaptureFixture[str]) -> None:
    table = hft.hardware_table(offline=True)

    assert capsys.readouterr().out == ""
    assert table["a10g-large"].usd_per_hour == 1.5
