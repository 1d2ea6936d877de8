"""What exploring adds to a launch in Python, as one JSON document on standard output.

    python benchmarks/explore_overhead.py [--rounds 100] > benchmarks/results/explore-overhead.json
    python benchmarks/explore_overhead.py --gpu --out OUT.json

On the simulated GPU, or with ``--gpu`` on a real one, which is waited for before every batch.
Arms, one after another in every round, each a batch of launches:

plain      the JITFunction itself, with the winner's constants written out
stock      stock `Autotuner.run`, in rounds of its own, after the others
known      a key whose winner is known
exploring  a key that is being explored: half of the launches run another candidate, all are timed
           as far as that is bounded

Times are microseconds of the launching thread's processor time per launch; `added_us` compares each
arm with `known` of the same round. Kernels and summaries are those of `launch_overhead.py`.

What is counted is all that the launching thread does in Python: finding the key and the class,
choosing, comparing, waking the thread that judges. What the events do is the device's: it is
measured apart (`events`: calls per launch, microseconds of a call, and of a launch), and `ours_us`
is what exploring adds without it. A real device's events cost more than the simulated ones; the
calls per launch are the same where it keeps up. All launches are of one size, so the grid is not
evaluated for its class; `grid_us` is what that would add.

Not counted is what the judging thread does beside. It judges nothing here, so that exploring does
not end, but is woken as often as if it did (`wakes` per launch).

Launches that found the lock taken run the candidate that serves, untimed, which is cheaper.
`chosen` is the share of launches that did not, `chosen_alone` where nothing else is launched.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import os
import platform
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
import triton
from documents import give
from launch_overhead import UNTIMED, summary, timed
from launch_patterns import Launch, make_realistic, make_small

import tuneonce
from tuneonce.activation import install
from tuneonce.testing import SimulatedGPU
from tuneonce.tuning.race import RULES

SCHEMA = "tuneonce.benchmark.explore_overhead/3"
COUNTED = 20_000
"""Launches whose calls are counted."""
EVENT_METHODS = ("record", "query", "elapsed_time")


def measure(make: Any, rounds: int, batch: int, *, gpu: bool) -> dict[str, Any]:
    known = make().ours
    plain, stock, exploring, *_ = make()
    samples: dict[str, list[float]] = {}
    os.environ["TUNEONCE_ON_MISS_STARTING"] = "tune"
    tuneonce.install()
    known()
    tuneonce.uninstall()
    os.environ["TUNEONCE_ON_MISS_STARTING"] = "explore"
    os.environ["TUNEONCE_STORE"] = "memory:"
    tuneonce.install()
    try:
        known_again(known)
        key = begin(exploring)
        gc.collect()
        gc.disable()
        before = key.exploration.launches
        for _ in range(rounds):
            for arm, launch in (("plain", plain), ("known", known), ("exploring", exploring)):
                torch.cuda.synchronize()
                samples.setdefault(arm, []).append(timed(launch, batch))
        chosen = (key.exploration.launches - before) / (rounds * (batch + UNTIMED))
        before = key.exploration.launches
        calls = calls_per_launch(exploring)
        chosen_alone = (key.exploration.launches - before) / COUNTED
        grid_us = grid_alone(exploring)
    finally:
        gc.enable()
        tuneonce.uninstall()
    samples["stock"] = []
    for _ in range(rounds):
        torch.cuda.synchronize()
        samples["stock"].append(timed(stock, batch))
    added = {
        arm: summary([a - b for a, b in zip(values, samples["known"], strict=True)])
        for arm, values in samples.items()
        if arm != "known"
    }
    events = event_costs(calls, gpu=gpu)
    return {
        "ours_us": round(added["exploring"]["median"] - events["launch_us"], 2),
        "grid_us": round(grid_us, 2),
        "chosen": round(chosen, 4),
        "chosen_alone": round(chosen_alone, 4),
        "wakes": round(calls["wake"], 4),
        "events": events,
        "us": {arm: summary(values) for arm, values in samples.items()},
        "added_us": added,
        "samples_us": {arm: [round(v, 2) for v in values] for arm, values in samples.items()},
    }


def calls_per_launch(exploring: Launch) -> dict[str, float]:
    """How often a launch calls each method of an event, and wakes the thread that judges."""
    found, counts = explorations(), dict.fromkeys([*EVENT_METHODS, "wake"], 0)
    owners = dict.fromkeys(EVENT_METHODS, torch.cuda.Event)
    owners["wake"] = type(found._background)
    originals = {name: vars(owner)[name] for name, owner in owners.items()}

    def counted(name: str) -> Any:
        def call(*args: Any) -> Any:
            counts[name] += 1
            return originals[name](*args)

        return call

    for name, owner in owners.items():
        setattr(owner, name, counted(name))
    try:
        for _ in range(COUNTED):
            exploring()
    finally:
        for name, owner in owners.items():
            setattr(owner, name, originals[name])
    return {name: count / COUNTED for name, count in counts.items()}


def grid_alone(exploring: Launch, repeat: int = 20_000) -> float:
    """How long the program's grid takes, with the first candidate's values."""
    found, seen = explorations(), []
    go_on = found.go_on

    def look(*args: Any) -> Any:
        seen.append(args)
        return go_on(*args)

    found.go_on = look
    exploring()
    del found.go_on
    [(key, _, args, kwargs)] = seen
    autotuner = key.session.autotuner
    values = dict(zip(autotuner.arg_names, args, strict=False))
    meta = {**values, **kwargs, **autotuner.configs[0].all_kwargs()}
    grid = kwargs["grid"]
    return timed(lambda: grid(meta), repeat)


def event_costs(calls: dict[str, float], *, gpu: bool, repeat: int = 20_000) -> dict[str, Any]:
    """What the events of the device take of a launch."""
    first, second = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    stream = [torch.cuda.current_stream()] if gpu else []  # as launches give it to them
    first.record(*stream)
    second.record(*stream)
    torch.cuda.synchronize()
    methods = {
        "record": lambda: first.record(*stream),
        "query": second.query,
        "elapsed_time": lambda: second.elapsed_time(second),
    }
    # The loop and a lambda are counted, too: a tenth of a microsecond.
    call_us = {name: round(timed(method, repeat), 3) for name, method in methods.items()}
    return {
        "calls": {name: round(calls[name], 3) for name in EVENT_METHODS},
        "call_us": call_us,
        "launch_us": round(sum(calls[name] * us for name, us in call_us.items()), 2),
    }


def known_again(launch: Launch) -> None:
    """The autotuner has its winner since it was tuned: no exploration begins."""
    launch()
    assert not explorations()._keys, "the key is explored that should be known"


def explorations() -> Any:
    installation: Any = install._installed
    return installation.hook._cold_path.exploration


def begin(launch: Launch) -> Any:
    """Launch until all candidates run in passes, and let that go on for ever; the key."""
    launch()
    found = explorations()
    [key] = found._keys
    exploration, background = key.exploration, found._background
    decide = exploration.decide
    exploration.decide = lambda: decide() if exploration._finals is None else in_passes()

    def in_passes() -> None:
        """As often as a key is judged until its passes are spent, over and over."""
        exploration.due = False
        taken = exploration._taken = exploration._taken + len(exploration._passes.take())
        if taken >= exploration.terms.most_passes:
            exploration._taken, exploration._judged_at = 0, RULES.judged_at
        elif taken >= exploration._judged_at:
            exploration._judged_at = int(taken * RULES.growth) + 1

    assert background.wait_until(lambda: key.supply is not None and key.supply.empty, 60.0)
    while exploration._finals is None:
        launch()
        background.wait_until(lambda: not background._due, 60.0)
    return key


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=100, help="rounds (default 100)")
    parser.add_argument("--batch", type=int, default=200, help="launches per arm and round")
    parser.add_argument("--gpu", action="store_true", help="on the GPU of this machine")
    parser.add_argument("--out", type=Path, help="where the document goes (default: printed)")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds must be at least 2")
    with contextlib.ExitStack() as stack:
        scratch = stack.enter_context(tempfile.TemporaryDirectory(prefix="explore-overhead-"))
        for name in [n for n in os.environ if n.startswith(("TUNEONCE", "TRITON_"))]:
            del os.environ[name]
        os.environ["TRITON_CACHE_DIR"] = scratch
        os.environ["HOME"] = scratch
        # Triton 3.9 warns unless this is set to what it does anyhow.
        os.environ["TRITON_DEFAULT_FP_FUSION"] = "1"
        os.environ["TUNEONCE_RAISE"] = "1"
        stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        kernels = {}
        # All candidates take equally long, so that all of them go on to the passes.
        for name, make in (("realistic", make_realistic), ("small", make_small)):
            simulated = SimulatedGPU(do_bench=True, times=lambda launch: 0.01)
            with contextlib.nullcontext() if args.gpu else simulated:
                torch.set_default_device("cuda" if args.gpu else "cpu")
                kernels[name] = measure(make, args.rounds, args.batch, gpu=args.gpu)
    document = {
        "schema": SCHEMA,
        "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": ["python", "benchmarks/explore_overhead.py", *sys.argv[1:]],
        "machine": {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": len(os.sched_getaffinity(0)),
        },
        "versions": {"torch": torch.__version__, "triton": triton.__version__},
        "gpu": torch.cuda.get_device_name() if args.gpu else None,
        "rounds": args.rounds,
        "batch": args.batch,
        "kernels": kernels,
    }
    give(document, args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
