"""Reads the facts of the current device for `tuneonce.world`: at the first miss, never earlier.

Everything here runs in a process that is about to launch a kernel, so asking for the device does
not initialise anything that would not be initialised anyway. Facts that cannot be had are None.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import platform
import sys
from typing import Any

from ..world import World


def current_world(*, interpreted: bool) -> World:
    """The world of the current device. Raises what Triton raises where there is no device."""
    return _interpreter_world() if interpreted else _device_world(_driver().get_current_device())


def capturing() -> bool:
    """Whether the current stream is being captured into a CUDA graph."""
    torch = sys.modules.get("torch")
    try:
        return bool(torch is not None and torch.cuda.is_current_stream_capturing())
    except Exception:  # a torch without CUDA has no stream to capture
        return False


def forget() -> None:
    """Drop what was read, for a process whose devices changed (tests do this)."""
    _device_world.cache_clear()


def _driver() -> Any:
    return sys.modules["triton.runtime.driver"].driver.active


def _version() -> str:
    return str(getattr(sys.modules.get("triton"), "__version__", "unknown"))


@functools.lru_cache(maxsize=1)
def _interpreter_world() -> World:
    return World("interpreter", platform.machine(), f"triton-{_version()}")


@functools.lru_cache(maxsize=64)
def _device_world(device: int) -> World:
    driver = _driver()
    target = driver.get_current_target()
    facts = _torch_facts(device)
    facts.update(_nvml_facts(facts.pop("uuid", None)) if target.backend == "cuda" else {})
    return World(
        backend=str(target.backend),
        arch=str(target.arch),
        compiler=_compiler_build(target),
        environment=_compiler_environment(),
        **facts,
    )


def _compiler_build(target: Any) -> str:
    """Triton's version, and a digest of its installation and of the backend's own tools."""
    compiler = sys.modules["triton.compiler.compiler"]
    cache: Any = sys.modules.get("triton.runtime.cache")
    triton_key = getattr(cache, "triton_key", None) or compiler.triton_key
    text = f"{triton_key()}-{compiler.make_backend(target).hash()}"
    return f"triton-{_version()}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _compiler_environment() -> tuple[tuple[str, str], ...]:
    libtriton: Any = sys.modules["triton._C.libtriton"]
    return tuple(sorted((str(k), str(v)) for k, v in _set_variables(libtriton)))


def _set_variables(libtriton: Any) -> list[tuple[str, str]]:
    variables = libtriton.get_cache_invalidating_env_vars()
    return [(name, value) for name, value in variables.items() if value not in ("", "false", "0")]


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
        "uuid": str(getattr(properties, "uuid", "")) or None,
    }


def _nvml_facts(uuid: str | None) -> dict[str, Any]:
    """Driver, power cap and MIG slice through the driver's own management library."""
    if uuid is None:
        return {}
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return {}
    if nvml.nvmlInit_v2() != 0:
        return {}
    try:
        facts: dict[str, Any] = {}
        text = ctypes.create_string_buffer(96)
        if nvml.nvmlSystemGetDriverVersion(text, 96) == 0:
            facts["driver"] = text.value.decode(errors="replace")
        handle = _nvml_device(nvml, uuid)
        if handle is not None:
            milliwatts = ctypes.c_uint()
            if nvml.nvmlDeviceGetPowerManagementLimit(handle, ctypes.byref(milliwatts)) == 0:
                facts["power_cap_w"] = round(milliwatts.value / 1000)
            facts["mig"] = _nvml_mig(nvml, handle)
        return facts
    except AttributeError:  # a management library without one of these functions
        return {}
    finally:
        nvml.nvmlShutdown()


def _nvml_device(nvml: Any, uuid: str) -> ctypes.c_void_p | None:
    for prefix in ("", "GPU-", "MIG-"):
        handle = ctypes.c_void_p()
        name = (prefix + uuid).encode()
        if nvml.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)) == 0:
            return handle
    return None


def _nvml_mig(nvml: Any, handle: ctypes.c_void_p) -> str | None:
    """The name of the MIG slice, for example ``NVIDIA H200 MIG 1g.18gb``; None on a whole GPU."""
    with contextlib.suppress(AttributeError):
        is_slice = ctypes.c_uint()
        if nvml.nvmlDeviceIsMigDeviceHandle(handle, ctypes.byref(is_slice)) == 0 and is_slice.value:
            name = ctypes.create_string_buffer(96)
            if nvml.nvmlDeviceGetName(handle, name, 96) == 0:
                return name.value.decode(errors="replace")
    return None
