"""Worlds as named parts."""

from __future__ import annotations

import dataclasses

import pytest

from tuneonce.model.key import KernelId, Key
from tuneonce.model.world import World

H200 = World(
    backend="cuda",
    arch="90",
    compiler="triton-3.9.0-abc",
    environment=(("DISABLE_PTXAS_OPT", "1"),),
    product="NVIDIA H200",
    sm_count=132,
    memory_gib=140,
    mig=None,
    power_cap_w=700,
    driver="580.1",
)


def test_the_parts_in_their_order() -> None:
    assert H200.parts == (
        ("backend", "cuda"),
        ("arch", "90"),
        ("compiler", "triton-3.9.0-abc"),
        ("env.DISABLE_PTXAS_OPT", "1"),
        ("product", "NVIDIA H200"),
        ("sm_count", "132"),
        ("mig", "unknown"),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("backend", "hip"),
        ("arch", "100"),
        ("compiler", "triton-3.9.1-abc"),
        ("environment", ()),
        ("product", "NVIDIA H20"),
        ("product", None),
        ("sm_count", 78),
        ("sm_count", None),
        ("mig", "NVIDIA H200 MIG 1g.18gb"),
    ],
)
def test_every_fact_is_part_of_it(field: str, value: object) -> None:
    other = dataclasses.replace(H200, **{field: value})  # type: ignore[arg-type]
    assert other.parts != H200.parts


@pytest.mark.parametrize(
    ("field", "value"), [("driver", "590.2"), ("memory_gib", 139), ("power_cap_w", 350)]
)
def test_what_changes_from_host_to_host_is_told_and_never_compared(
    field: str, value: object
) -> None:
    told = {"driver": "580.1", "memory_gib": "140", "power_cap_w": "700"}
    assert H200.about == told
    other = dataclasses.replace(H200, **{field: value})  # type: ignore[arg-type]
    assert other.parts == H200.parts
    assert other.about == {**told, field: str(value)}
    unknown = dataclasses.replace(H200, **{field: None})  # type: ignore[arg-type]
    assert unknown.parts == H200.parts
    assert field not in unknown.about


def test_memory_tells_apart_what_no_product_does() -> None:
    nameless = dataclasses.replace(H200, product=None)
    assert nameless.parts != dataclasses.replace(nameless, memory_gib=96).parts


def test_the_name_is_for_people() -> None:
    assert H200.name == "NVIDIA H200-90"
    assert World("interpreter", "x86_64", "triton-3.9.0").name == "interpreter-x86_64"


def test_its_folder_is_that_of_its_keys() -> None:
    key = Key(KernelId("add", "m", ()), (), H200.parts, H200.name)
    assert key.directory.split("/")[2] == H200.folder
    assert H200.folder.startswith("NVIDIA-H200-90~")
