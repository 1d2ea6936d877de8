"""``triton.runtime.driver``: the active driver, what it launches on, and what it times with.

Nothing here asks for a device unless it says so: the active driver is made when it is first asked.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from .seam import Feature, Finding, Seam, as_read, follow, takes

MODULE = "triton.runtime.driver"


def active() -> Any:
    """The active driver; raises what Triton raises where there is no device."""
    return sys.modules[MODULE].driver.active


def current_device() -> Any:
    """The number of the current device, which may come to be initialised."""
    return sys.modules[MODULE].driver.active.get_current_device()


def current_stream(device: Any) -> Any:
    """What launches on this device go to now, as a number."""
    return sys.modules[MODULE].driver.active.get_current_stream(device)


def use_device(device: Any) -> None:
    """Make this the current device of this thread."""
    if current_device() != device:
        active().set_current_device(device)


def current_target() -> Any:
    """What is compiled for: backend, architecture and width of a warp."""
    return active().get_current_target()


def benchmarker(driver: Any) -> Any:
    """The driver's benchmark function."""
    return driver.get_benchmarker()


def device_interface(driver: Any) -> Any:
    """Torch's module for the devices of this driver: events, synchronisation, memory."""
    return driver.get_device_interface()


def flush_buffer(driver: Any) -> Any:
    """What `flush` overwrites between launches; raises RuntimeError where memory is short."""
    return driver.get_empty_cache_for_benchmark()


def flush(driver: Any, buffer: Any) -> None:
    """Overwrite the buffer, on the device."""
    driver.clear_cache(buffer)


def torch_device(driver: Any) -> Any:
    """The current device as torch names it."""
    return driver.get_active_torch_device()


# -- probes ----------------------------------------------------------------------------------


def _kinds() -> list[Any]:
    """Triton's drivers here: the active one, if it was made, else the classes that Triton brings.

    A program's own driver is not looked at: what it lacks, Triton does not.
    """
    slot = vars(follow(MODULE, "driver"))
    made = slot.get("_active") or slot.get("active")
    held = getattr(made, "__dict__", {})
    if "_init_fn" in held:  # a proxy of it, in 3.4
        made = held.get("_obj")
    if made is not None:
        return [made] if _is_tritons(type(made)) else []
    backends = sys.modules["triton.backends"].backends.values()
    return [one.driver for one in backends if _is_tritons(one.driver)]


def _is_tritons(kind: type) -> bool:
    return kind.__module__.startswith("triton.backends.")


def _have(*methods: str, arguments: int = 0) -> Callable[[], Finding]:
    def probe() -> Finding:
        for kind in _kinds():
            for name in methods:
                method = getattr(kind, name, None)
                if method is None:
                    return Finding.ABSENT
                given = ["self"] * isinstance(kind, type) + ["x"] * arguments
                if not takes(method, *given):
                    return Finding.OTHER
        return Finding.AS_READ

    return probe


def _have_made(method: str) -> Callable[[], Finding]:
    """Set by a driver as it is made: its class does not show it."""

    def probe() -> Finding:
        made = [one for one in _kinds() if not isinstance(one, type)]
        return as_read(all(callable(getattr(one, method, None)) for one in made))

    return probe


_EVERYTHING = (
    Feature.RESULTS,
    Feature.COMPILE_POOL,
    Feature.COMPILE_AHEAD,
    Feature.BENCHMARKS,
    Feature.DEVICE_TIMER,
)

SEAMS = (
    Seam(
        "driver.active",
        MODULE,
        _EVERYTHING,
        "the driver of the devices that kernels are launched on",
        # Not asked for: it would be made.
        lambda: as_read(
            "active" in vars(follow(MODULE, "driver")) or "active" in dir(follow(MODULE, "driver"))
        ),
        words=("active",),
    ),
    Seam(
        "driver.get_current_device",
        MODULE,
        (Feature.RESULTS, Feature.COMPILE_POOL),
        "which device a launch goes to",
        _have_made("get_current_device"),
        names=("get_current_device",),
    ),
    Seam(
        "driver.get_current_stream",
        MODULE,
        (Feature.DEVICE_TIMER,),
        "which stream a launch goes to, for the events around it",
        _have_made("get_current_stream"),
        names=("get_current_stream",),
    ),
    Seam(
        "driver.get_current_target",
        MODULE,
        (Feature.RESULTS, Feature.COMPILE_AHEAD),
        "what is compiled for: backend, architecture, width of a warp",
        _have("get_current_target"),
        names=("get_current_target",),
    ),
    Seam(
        "driver.get_benchmarker",
        MODULE,
        (Feature.BENCHMARKS, Feature.DEVICE_TIMER, Feature.RESULTS),
        "the benchmark function where the kernel's author gave none",
        _have("get_benchmarker"),
        names=("get_benchmarker",),
    ),
    Seam(
        "driver.get_device_interface, get_empty_cache_for_benchmark, get_active_torch_device",
        MODULE,
        (Feature.DEVICE_TIMER,),
        "events, and the buffer that is overwritten against a warm cache",
        _have("get_device_interface", "get_empty_cache_for_benchmark", "get_active_torch_device"),
        names=("get_device_interface", "get_empty_cache_for_benchmark", "get_active_torch_device"),
    ),
    Seam(
        "driver.clear_cache",
        MODULE,
        (Feature.DEVICE_TIMER,),
        "overwrites that buffer",
        _have("clear_cache", arguments=1),
        names=("clear_cache",),
    ),
)
