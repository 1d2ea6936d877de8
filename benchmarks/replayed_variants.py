"""Many variants made ready beside a busy main thread: how long that takes, and what launches feel.

One process launches so many variants of a kernel. A second one, with the same directories, launches
one of them again and again, and never says that it is ready: the others are made ready beside it.
Then it launches each once. Prints one JSON document.

    python benchmarks/replayed_variants.py --out OUT.json
    python benchmarks/replayed_variants.py --simulated --variants 60
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from documents import give

SCHEMA = "tuneonce.replayed-variants/1"
ROOT = Path(__file__).resolve().parents[1]

# Seconds that the second process launches beside what is made ready.
BUSY_S = 8.0


def one(options: argparse.Namespace) -> dict[str, Any]:
    """One of the two processes; `options.one` says which."""
    with contextlib.ExitStack() as stack:
        import tuneonce

        device = "cuda"
        if options.simulated:
            from tuneonce.testing import SimulatedGPU

            stack.enter_context(SimulatedGPU())
            device = "cpu"
        tuneonce.install()
        import torch
        from replayed_kernel import scaled

        x = torch.zeros(1024, device=device)

        def launch(scale: int) -> float:
            began = time.perf_counter()
            scaled[(1,)](x, 1000, scale)
            return 1e6 * (time.perf_counter() - began)

        if options.one == "first":
            began = time.perf_counter()
            for scale in range(options.variants):
                launch(scale)
            return {"launches_s": time.perf_counter() - began}
        launch(0)
        took, until = [], time.perf_counter() + BUSY_S
        while time.perf_counter() < until:
            took.append(launch(0))
        each = [launch(scale) for scale in range(options.variants)]
        return {"busy_us": summary(took), "each_us": summary(each)}


def summary(values: list[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "launches": len(values),
        "p50": round(statistics.median(values), 2),
        "p99": round(ordered[int(len(ordered) * 0.99)], 2),
        "max": round(ordered[-1], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--variants", type=int, default=300)
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--one", choices=("first", "second"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        options.out.write_text(json.dumps(one(options)))
        return
    sys.path.insert(0, str(ROOT / "src"))
    from tuneonce.events.log import read_processes

    document: dict[str, Any] = {
        "schema": SCHEMA,
        "when": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "variants": options.variants,
    }
    with tempfile.TemporaryDirectory(prefix="replayed-variants-") as scratch:
        home = Path(scratch)
        for which in ("first", "second"):
            events = home / f"events-{which}"
            events.mkdir()
            environment = {
                k: v for k, v in os.environ.items() if not k.startswith(("TUNEONCE", "TRITON_"))
            }
            environment |= {
                "TRITON_CACHE_DIR": str(home / "triton"),
                "TUNEONCE": "1",
                "TUNEONCE_STORE": str(home / "store"),
                "TUNEONCE_EVENTS": str(events),
                "TUNEONCE_PROFILE": "variants",
                "TRITON_DEFAULT_FP_FUSION": "1",
                "PYTHONPATH": os.pathsep.join(
                    filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")])
                ),
            }
            out = home / "one.json"
            subprocess.run(
                [sys.executable, *sys.argv, "--one", which, "--out", str(out)],
                env=environment,
                check=True,
            )
            told = [event for process in read_processes(events) for event in process]
            document[which] = json.loads(out.read_text()) | {
                "replays": [event for event in told if event.get("e") == "replay"]
            }
            print(which, json.dumps(document[which]), file=sys.stderr)
    give(document, options.out)


if __name__ == "__main__":
    main()
