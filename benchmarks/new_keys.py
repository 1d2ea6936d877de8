"""A stream of new keys while serving: how long calls take, by what a miss does.

Calls the L2 norm of fla-core with random widths and numbers of tokens, after `tuneonce.ready()`.
A width up to 512 is a key of 25 candidates that must all be compiled for it; a larger one is a key
of 6 whose binaries are those of other widths. Each arm is a process with directories of its own.
Known are those of the start (`start_ms`) and those that were new before (`known_ms`), which may
explore. The last width of either kind is then launched again and again, and all candidates are
timed, which says what the choice costs. Prints one JSON document.

    python benchmarks/new_keys.py --out OUT.json
    python benchmarks/new_keys.py --simulated --out OUT.json
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from documents import give, save

SCHEMA = "tuneonce.new-keys/1"
ROOT = Path(__file__).resolve().parents[1]
ARMS: dict[str, dict[str, str]] = {
    "stock": {"TUNEONCE": "0", "TRITON_CACHE_AUTOTUNING": "0", "FLA_CACHE_RESULTS": "0"},
    "tune": {"TUNEONCE": "1", "TUNEONCE_ON_MISS_SERVING": "tune"},
    "borrow": {"TUNEONCE": "1", "TUNEONCE_ON_MISS_SERVING": "borrow"},
    "explore": {"TUNEONCE": "1", "TUNEONCE_ON_MISS_SERVING": "explore"},
}


def percentile(values: list[float], percent: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def stream(narrow: int, wide: int, between: int, seed: int) -> list[tuple[int, int, bool]]:
    """Widths, numbers of tokens, and whether the width is new."""
    generator = random.Random(seed)
    new = [generator.randrange(8, 64) * 8 + 4 for _ in range(narrow)]
    new += [generator.randrange(600, 4000) for _ in range(wide)]
    generator.shuffle(new)
    calls, known = [], [128, 1024]
    for width in new:
        for _ in range(between):
            calls.append((generator.choice(known), generator.randrange(1, 4000), False))
        calls.append((width, generator.randrange(1, 4000), width not in known))
        known = [*known[-5:], width]
    return calls


def one(options: argparse.Namespace) -> dict[str, Any]:
    """One arm, in this process."""
    with contextlib.ExitStack() as stack:
        import tuneonce

        device = "cuda"
        if options.simulated:
            from tuneonce.testing import SimulatedGPU

            stack.enter_context(SimulatedGPU(do_bench=True))
            device = "cpu"
        if os.environ.get("TUNEONCE") == "1":
            tuneonce.install()
        import torch
        from fla.modules.norm import l2norm

        def call(width: int, tokens: int) -> float:
            x = inputs[width][:tokens]
            began = time.perf_counter()
            l2norm.l2norm_fwd(x)
            if options.simulated:
                time.sleep(0.0001)  # waits without the interpreter's lock, as for a device
            else:
                torch.cuda.synchronize()
            return 1000 * (time.perf_counter() - began)

        calls = stream(options.narrow, options.wide, options.between, options.seed)
        inputs = {
            width: torch.randn(4000, width, device=device, dtype=torch.bfloat16)
            for width in {128, 1024, *(width for width, _, _ in calls)}
        }
        for width in (128, 1024):  # the start
            for _ in range(50):
                call(width, 1000)
        tuneonce.ready()
        of_start = {128, 1024}
        timed = [
            (call(width, tokens), "new" if new else "start" if width in of_start else "known")
            for width, tokens, new in calls
        ]
        fresh = [ms for ms, kind in timed if kind == "new"]
        known = [ms for ms, kind in timed if kind == "known"]
        first = [ms for ms, kind in timed if kind == "start"]
        last = {kind: width for width, _, new in calls if new for kind in (width > 512,)}
        settled = []
        for width in last.values():
            for _ in range(options.settle):
                call(width, 2000)
            settled.append(choice(l2norm, width, inputs[width], options.simulated))
        return {
            "calls": len(timed),
            "new_keys": len(fresh),
            "start_ms": summary(first),
            "known_ms": summary(known),
            "new_ms": summary(fresh),
            "all_ms": summary([ms for ms, _ in timed]),
            "settled": settled,
            "totals": totals(),
        }


def summary(values: list[float]) -> dict[str, float]:
    return {
        "p50": round(statistics.median(values), 4),
        "p99": round(percentile(values, 99), 4),
        "max": round(max(values), 4),
    }


def choice(l2norm: Any, width: int, x: Any, simulated: bool) -> dict[str, Any]:
    """What the candidate that runs now takes, beside the best of all."""
    kernel = l2norm.l2norm_fwd_kernel if width <= 512 else l2norm.l2norm_fwd_kernel_row
    found: dict[str, Any] = {"width": width, "runs": str(kernel.best_config)}
    if simulated:
        return found
    from triton.testing import do_bench

    # A key that explores has no winner yet: any other of the kernel says what keys look like.
    [like, *_] = kernel.cache
    key = (width, *like[1:])
    found["has_winner"] = key in kernel.cache
    winner, times = kernel.best_config, {}
    for config in kernel.configs:
        kernel.cache[key] = config
        times[str(config)] = do_bench(lambda: l2norm.l2norm_fwd(x[:2000]), rep=30)
    best = min(times.values())
    return {
        **found,
        "ms": times[str(winner)],
        "best_ms": best,
        "regret": times[str(winner)] / best - 1,
    }


def totals() -> dict[str, Any]:
    from tuneonce.activation import install

    live = getattr(getattr(install, "_installed", None), "live", None)
    if live is None:
        return {}
    now = live.now()
    names = ("tunes", "compiles", "borrowed", "explored", "excess_s", "serving_s")
    return {name: getattr(now, name) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=list(ARMS))
    parser.add_argument("--narrow", type=int, default=6, help="new keys of 25 candidates")
    parser.add_argument("--wide", type=int, default=12, help="new keys of 6 candidates")
    parser.add_argument("--between", type=int, default=20, help="known keys before each new one")
    parser.add_argument("--settle", type=int, default=3000, help="launches before the choice")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        options.out.write_text(json.dumps(one(options)))
        return
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "arms": {},
    }
    with tempfile.TemporaryDirectory(prefix="new-keys-") as scratch:
        for arm in options.arms:
            home = Path(scratch, arm)
            home.mkdir()
            environment = {
                k: v
                for k, v in os.environ.items()
                if not k.startswith(("TUNEONCE", "TRITON_", "FLA_"))
            }
            environment |= {
                "HOME": str(home),
                "XDG_CACHE_HOME": str(home / "cache"),
                "TRITON_CACHE_DIR": str(home / "triton"),
                "TUNEONCE_STORE": str(home / "store"),
                "TRITON_DEFAULT_FP_FUSION": "1",
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])
                ),
                **ARMS[arm],
            }
            out = home / "one.json"
            done = subprocess.run(
                [sys.executable, *sys.argv, "--one", "--out", str(out)],
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                document["arms"][arm] = {"failed": done.stderr[-3000:]}
                if options.out:
                    save(document, options.out)
                print(f"{arm}: failed\n{done.stderr[-3000:]}", file=sys.stderr)
                continue
            found = document["arms"][arm] = json.loads(out.read_text())
            if options.out:
                save(document, options.out)
            print(
                arm, json.dumps({k: v for k, v in found.items() if k != "calls"}), file=sys.stderr
            )
    if not options.out:
        give(document, None)


if __name__ == "__main__":
    main()
