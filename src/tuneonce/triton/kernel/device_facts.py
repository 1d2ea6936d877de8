"""Reads the facts of the current device for `model.world`: at the first miss, never earlier.

Everything here runs in a process that is about to launch a kernel, so asking for the device does
not initialise anything that would not be initialised anyway. Facts that cannot be had are None.

What a device is does not change and is read once. What compiles for it does: variables that the
program sets between two kernels change the code of the second, so they are read at every cold key.
"""

from __future__ import annotations

import functools
import hashlib
import platform
import sys
from typing import Any

from ...model.world import World
from ..seams import backends, compiler_knobs, compilers, drivers
from . import nvml


def current_world(*, interpreted: bool) -> World:
    """The world of the current device. Raises what Triton raises where there is no device."""
    return _interpreter_world() if interpreted else _device_world(drivers.current_device())


def capturing() -> bool:
    """Whether the current stream is being captured into a CUDA graph."""
    torch = sys.modules.get("torch")
    try:
        return bool(torch is not None and torch.cuda.is_current_stream_capturing())
    except Exception:  # a torch without CUDA has no stream to capture
        return False


def clocks(*, interpreted: bool) -> dict[str, str]:
    """The current device's clocks and what limits them, for the record; empty where not known."""
    if interpreted:
        return {}
    try:
        device = drivers.current_device()
        return nvml.clocks(_uuid(device))
    except Exception:  # no device, or one that has no such library
        return {}


def device_id(*, interpreted: bool) -> str:
    """The current device, by its own identity where that is known; "" if there is none."""
    # Who asks Triton for its driver has it import torch, which the interpreter does without.
    if interpreted:
        return ""
    try:
        device = drivers.current_device()
        return _uuid(device) or str(device)
    except Exception:  # no device
        return ""


class Product:
    """One of several products among this process's GPUs, equal only to itself."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name

    def __deepcopy__(self, memo: object) -> Product:
        return self


@functools.lru_cache(maxsize=1)
def products() -> tuple[Product, ...]:
    """The product of each device, by its number; empty where all are of one, or it is not known."""
    torch = sys.modules.get("torch")
    if torch is None:
        return ()
    try:
        found = [_torch_facts(device) for device in range(torch.cuda.device_count())]
    except Exception:  # a torch without CUDA
        return ()
    kinds = {str(facts): Product(str(facts.get("product"))) for facts in found}
    return tuple(kinds[str(facts)] for facts in found) if len(kinds) > 1 else ()


def product() -> Product | None:
    """That of the current device."""
    device = drivers.current_device()
    return products()[device] if device < len(products()) else None


def forget() -> None:
    """Drop what was read, for a process whose devices changed (tests do this)."""
    products.cache_clear()
    _device_facts.cache_clear()
    _uuid.cache_clear()


def _version() -> str:
    return str(getattr(sys.modules.get("triton"), "__version__", "unknown"))


def _interpreter_world() -> World:
    return World("interpreter", platform.machine(), f"triton-{_version()}")


def _device_world(device: int) -> World:
    target = drivers.current_target()
    backend, arch, _ = backends.plain_target(target)
    return World(
        backend=str(backend),
        arch=str(arch),
        compiler=_compiler_build(target),
        environment=_compiler_environment(),
        **_device_facts(device, str(backend)),
    )


@functools.lru_cache(maxsize=64)
def _device_facts(device: int, backend: str) -> dict[str, Any]:
    return {**_torch_facts(device), **(nvml.facts(_uuid(device)) if backend == "cuda" else {})}


def _compiler_build(target: Any) -> str:
    """Triton's version, and a digest of its installation and of the backend's own tools."""
    backend = backends.backend_digest(backends.backend_for(target))
    text = f"{compilers.installation_digest()}-{backend}"
    return f"triton-{_version()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _compiler_environment() -> tuple[tuple[str, str], ...]:
    """Variables that make the compiler another than it is when they are unset, in this version."""
    changed = compiler_knobs.changed_switches(compilers.code_variables())
    return tuple(sorted((str(name), str(value)) for name, value in changed))


def _torch_facts(device: int) -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {}
    try:
        properties = torch.cuda.get_device_properties(device)
    except Exception:
        return {}
    memory = getattr(properties, "total_memory", None)
    return {
        "product": getattr(properties, "name", None),
        "sm_count": getattr(properties, "multi_processor_count", None),
        "memory_gib": None if memory is None else round(memory / 2**30),
    }


@functools.lru_cache(maxsize=64)
def _uuid(device: int) -> str | None:
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    try:
        return str(getattr(torch.cuda.get_device_properties(device), "uuid", "")) or None
    except Exception:
        return None
