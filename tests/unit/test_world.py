"""Worlds as named parts."""

from __future__ import annotations

import dataclasses

import pytest

from tuneonce.world import World

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
        ("memory_gib", "140"),
        ("mig", "unknown"),
        ("power_cap_w", "700"),
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
        ("memory_gib", 96),
        ("mig", "NVIDIA H200 MIG 1g.18gb"),
        ("power_cap_w", 350),
        ("power_cap_w", None),
    ],
)
def test_every_fact_is_part_of_it(field: str, value: object) -> None:
    other = dataclasses.replace(H200, **{field: value})  # type: ignore[arg-type]
    assert other.parts != H200.parts


def test_the_driver_is_told_and_never_compared() -> None:
    other = dataclasses.replace(H200, driver="590.2")
    assert other.parts == H200.parts
    assert other.about == {"driver": "590.2"}
    assert dataclasses.replace(H200, driver=None).about == {}


def test_the_name_is_for_people() -> None:
    assert H200.name == "NVIDIA H200-90"
    assert World("interpreter", "x86_64", "triton-3.9.0").name == "interpreter-x86_64"
