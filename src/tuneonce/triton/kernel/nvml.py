"""What NVIDIA's management library says about a device; nothing where there is no such library."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from typing import Any

_SM, _MEMORY = 1, 2
# Why clocks are lower than they could be, by the bits of nvmlClocksEventReasons. Idle is no reason.
_REASONS = {
    0x002: "application setting",
    0x004: "power cap",
    0x008: "hardware slowdown",
    0x010: "sync boost",
    0x020: "thermal (software)",
    0x040: "thermal (hardware)",
    0x080: "power brake",
    0x100: "display setting",
}


def facts(uuid: str | None) -> dict[str, Any]:
    """Driver, power cap in watts and MIG slice of a device."""
    library, handle = _device(uuid)
    if library is None:
        return {}
    found: dict[str, Any] = {}
    with contextlib.suppress(AttributeError):  # a library without one of these functions
        text = ctypes.create_string_buffer(96)
        if library.nvmlSystemGetDriverVersion(text, 96) == 0:
            found["driver"] = text.value.decode(errors="replace")
        if handle is not None:
            milliwatts = ctypes.c_uint()
            if library.nvmlDeviceGetPowerManagementLimit(handle, ctypes.byref(milliwatts)) == 0:
                found["power_cap_w"] = round(milliwatts.value / 1000)
            found["mig"] = _mig(library, handle)
    return found


def clocks(uuid: str | None) -> dict[str, str]:
    """The clocks of a device at the moment, in MHz, and what limits them."""
    library, handle = _device(uuid)
    if library is None or handle is None:
        return {}
    found: dict[str, str] = {}
    for name, kind in (("clock.sm_mhz", _SM), ("clock.memory_mhz", _MEMORY)):
        mhz = ctypes.c_uint()
        with contextlib.suppress(AttributeError):
            if library.nvmlDeviceGetClockInfo(handle, kind, ctypes.byref(mhz)) == 0:
                found[name] = str(mhz.value)
    bits = ctypes.c_ulonglong()
    for function in (
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetCurrentClocksThrottleReasons",  # its older name
    ):
        ask = getattr(library, function, None)
        if ask is not None and ask(handle, ctypes.byref(bits)) == 0:
            reasons = [name for bit, name in _REASONS.items() if bits.value & bit]
            found["clock.limited_by"] = ", ".join(reasons) or "nothing"
            break
    return found


def is_confidential() -> bool:
    """Whether the GPUs of this machine compute confidentially, where events tell wrong times."""
    library = _library(os.getpid())
    state = (ctypes.c_uint * 3)()  # environment, feature, developers' tools
    with contextlib.suppress(AttributeError):  # no library, or one without this function
        return library.nvmlSystemGetConfComputeState(ctypes.byref(state)) == 0 and state[1] != 0
    return False


@functools.lru_cache(maxsize=1)
def _library(process: int) -> Any:
    """The library, ready to be asked for as long as `process` lives; None where there is none."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
        return library if library.nvmlInit_v2() == 0 else None
    except (OSError, AttributeError):
        return None


def _device(uuid: str | None) -> tuple[Any, ctypes.c_void_p | None]:
    """The library and a handle of the device. A handle costs microseconds and is not kept."""
    library = None if uuid is None else _library(os.getpid())
    if library is None:
        return None, None
    for prefix in ("", "GPU-", "MIG-"):
        handle = ctypes.c_void_p()
        name = f"{prefix}{uuid}".encode()
        if library.nvmlDeviceGetHandleByUUID(name, ctypes.byref(handle)) == 0:
            return library, handle
    return library, None


def _mig(library: Any, handle: ctypes.c_void_p) -> str | None:
    """The name of the MIG slice, for example ``NVIDIA H200 MIG 1g.18gb``; None on a whole GPU."""
    is_slice = ctypes.c_uint()
    if library.nvmlDeviceIsMigDeviceHandle(handle, ctypes.byref(is_slice)) == 0 and is_slice.value:
        name = ctypes.create_string_buffer(96)
        if library.nvmlDeviceGetName(handle, name, 96) == 0:
            return name.value.decode(errors="replace")
    return None
