"""Worlds: where a measurement holds, as named parts.

The hard part (backend, architecture, compiler build, compiler environment) decides what code runs;
the soft part (product, multiprocessors, MIG slice) decides how fast. Both are part of every key:
H100, H200 and H20 share an architecture and differ in winners. What changes from host to host of
one product is recorded beside a verdict and is not part of the key: the driver, because the machine
code comes from the compiler build; the memory, of which two drivers report a little more or less,
unless nothing else names the product; the power cap, which daemons move by day (docs/decisions).

Reading the facts is the triton layer's work (`triton.kernel.device_facts`); this file only names
them.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..system.forks import lazy
from .key import Parts
from .record_names import named_folder


@dataclass(frozen=True)
class World:
    """`memory_gib` is rounded, `power_cap_w` in watts; a fact that is not known is None."""

    backend: str
    arch: str
    compiler: str
    environment: Parts = ()
    product: str | None = None
    sm_count: int | None = None
    memory_gib: int | None = None
    mig: str | None = None
    power_cap_w: int | None = None
    driver: str | None = None

    @lazy
    def parts(self) -> Parts:
        """The parts of a key. A fact that is not known is "unknown": known and unknown differ."""
        soft = {"product": self.product, "sm_count": self.sm_count, "mig": self.mig}
        if self.product is None:
            soft["memory_gib"] = self.memory_gib
        return (
            ("backend", self.backend),
            ("arch", self.arch),
            ("compiler", self.compiler),
            *((f"env.{name}", value) for name, value in self.environment),
            *((name, "unknown" if value is None else str(value)) for name, value in soft.items()),
        )

    @lazy
    def name(self) -> str:
        return f"{self.product or self.backend}-{self.arch}"

    @lazy
    def folder(self) -> str:
        """Its folder in the names of records."""
        return named_folder(self.name, self.parts)

    @lazy
    def about(self) -> dict[str, str]:
        """What is recorded beside a verdict and never compared."""
        facts = {
            "driver": self.driver,
            "memory_gib": self.memory_gib,
            "power_cap_w": self.power_cap_w,
        }
        return {name: str(fact) for name, fact in facts.items() if fact is not None}
