"""How long one call takes on the device, and which candidates it ran."""

from __future__ import annotations

import functools
import gc
import statistics
import time
from collections.abc import Callable
from typing import Any

# Arbitrary: blocks of replays, and how long one takes at least, beside which what starts it is
# little. The device is idle before a block.
BLOCKS = 7
BLOCK_MS = 3.0
MOST_REPLAYS = 200
# Another thread's call to the device can spoil a capture, and then not the next one.
CAPTURES = 2


def tuners() -> list[Any]:
    """Every live autotuner."""
    from triton.runtime.autotuner import Autotuner

    # Not isinstance, which would wake lazy proxies.
    return [found for found in gc.get_objects() if issubclass(type(found), Autotuner)]


def forget_winners() -> None:
    """Let every autotuner tune each of its keys again; binaries stay loaded."""
    for tuner in tuners():
        tuner.cache.clear()


def winners_of(call: Callable[[], Any]) -> dict[str, str]:
    """What each kernel of a call ran, the last time if it ran more than once."""
    known = tuners()
    for tuner in known:
        vars(tuner).pop("best_config", None)
    call()
    found: dict[str, str] = {}
    for tuner in known:
        config = vars(tuner).get("best_config")
        if config is None or len(tuner.configs) < 2:
            continue
        name = tuner.base_fn.__name__
        number = 1 + sum(known.partition(" ")[0] == name for known in found)
        found[name if number == 1 else f"{name} ({number})"] = str(config)
    return dict(sorted(found.items()))


def elapsed_ms(call: Callable[[], Any]) -> float:
    """Milliseconds of this machine's clock until the device has done a call."""
    import torch

    torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) * 1e3


def measure(call: Callable[[], Any], *, plain_calls: int) -> dict[str, Any]:
    """What a call takes: first as it comes, then as a graph whose replays the device times.

    ``ms`` is the median over blocks of replays; ``plain_ms`` that of calls that are waited for. A
    call that cannot be captured is measured by Triton's `do_bench`, and ``uncaptured`` says why.
    """
    import torch
    from triton.testing import do_bench

    found: dict[str, Any] = {
        "first_ms": elapsed_ms(call),
        "plain_ms": statistics.median([elapsed_ms(call) for _ in range(plain_calls)]),
    }
    for _ in range(CAPTURES):
        graph = torch.cuda.CUDAGraph()
        try:
            found["winners"] = winners_of(functools.partial(_capture, graph, call))
            found["ms"] = _replays_ms(graph)
            return {**found, "how": "graph"}
        except Exception as error:
            found["uncaptured"] = repr(error)[:300]
        finally:
            graph.reset()
    found["winners"] = winners_of(call)
    found["ms"] = do_bench(call, rep=100, return_mode="median")
    return {**found, "how": "do_bench"}


def _capture(graph: Any, call: Callable[[], Any]) -> None:
    import torch

    with torch.cuda.graph(graph):
        call()


def _replays_ms(graph: Any) -> float:
    """The median over blocks of the device's milliseconds of a replay."""
    graph.replay()
    once = _block_ms(graph, 1)
    replays = max(1, min(MOST_REPLAYS, round(BLOCK_MS / once))) if once else 1
    return statistics.median(_block_ms(graph, replays) / replays for _ in range(BLOCKS))


def _block_ms(graph: Any, replays: int) -> float:
    import torch

    before, after = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    before.record()
    for _ in range(replays):
        graph.replay()
    after.record()
    torch.cuda.synchronize()
    return float(before.elapsed_time(after))
