"""What it costs that a kernel's winner is chosen at another size than the one it runs at.

Operators of fla-core (and mamba-ssm, where it is installed) at 64 to 32,768 tokens and in packed
calls. Each arm is a process of its own:

``learning``
    tuneonce, warmed up with 64 tokens, ready, then a stream of calls of random sizes, each timed.
``second``
    A second start of that one: warmed up with 64 tokens, ready.
``stock``
    Stock Triton, warmed up with 64 tokens.
``oracle``
    Stock Triton, which forgets its winners before every size and so tunes at each. How well it
    does so is how well stock Triton tunes, so another arm can be a little faster.

In the end every arm is measured at every size, and at sizes that were never used before: as a CUDA
graph of one call, replayed. Arms of an operator share compiled binaries and never winners; the
learning arm is the first, and before the stock arms what is not compiled yet is compiled in several
processes. The document is saved after every process.

    python benchmarks/work_classes.py OUT.json --operators kda gla --budget 560
    python benchmarks/work_classes.py OUT.json --operators gated_delta_rule --add
    python benchmarks/work_classes.py OUT.json --times --budget 560
    python benchmarks/work_classes.py OUT.json --simulated --sizes 64 512 --at-most 3 --stream 50

``--times`` measures every candidate of every kernel at each size instead, and says of how much work
each launch was. mamba-ssm need not be built: its unpacked source on PYTHONPATH is enough.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS.parent / "src")]

from classes import figures  # noqa: E402
from classes.operators import OPERATORS, missing  # noqa: E402
from classes.starts import GRACE_S, Starts  # noqa: E402
from documents import save  # noqa: E402

SCHEMA = "tuneonce.work-classes/1"
TIMES_SCHEMA = "tuneonce.work-class-times/1"
DENSE = ("64", "128", "512", "2048", "8192", "32768")
PACKED = ("16x128", "8192+4096+2048+1024+1024")
HELD_OUT = ("1024", "5000", "20000")
WARM = ("64", "40+24")
# A process that could not even import and warm up in this time is not started.
LEAST_S = 25.0
BINARIES = (
    "All arms of an operator share one Triton cache. The learning arm starts with an empty one."
    " What it has not compiled is compiled in several processes before the stock arms start, so no"
    " time of a stock arm holds a compilation, but for variants that only this process needs."
)


def begin(args: argparse.Namespace) -> dict[str, Any]:
    """A new document, or with ``--add`` the one that is there."""
    from fla_restart import machine

    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    command = {"when": now, "command": [Path(sys.argv[0]).name, *sys.argv[1:]]}
    about = {
        "schema": TIMES_SCHEMA if args.times else SCHEMA,
        "simulated": args.simulated,
        "at_most": args.at_most,
        "warm_up": list(WARM),
        "sizes": args.sizes,
        "held_out": args.held_out,
    }
    if args.add and args.out.exists():
        document: dict[str, Any] = json.loads(args.out.read_text())
        if any(document.get(name) != value for name, value in about.items()):
            raise SystemExit(f"{args.out} is about something else")
        document["commands"].append(command)
        document.pop("commit", None)
        return document
    if not args.times:
        about["stream"] = {"calls": args.stream, "packed": args.packed, "seed": args.seed}
        about["binaries"] = BINARIES
        about["extra"] = args.set
    return {
        **about,
        "when": now,
        "commands": [command],
        "machine": machine(),
        "gpu": None,
        "versions": {},
        "operators": {},
        "missing": [],
    }


class Study:
    """The document, and the time that is left for it."""

    def __init__(self, args: argparse.Namespace, scratch: Path) -> None:
        self._args = args
        self._scratch = scratch
        self._end = time.monotonic() + args.budget
        self.document = begin(args)
        self.document["missing"] = []

    def operator(self, name: str) -> None:
        """All that is asked for of one operator and not in the document yet."""
        if why := missing(name):
            self._lacks(name, why)
            return
        entry = self.document["operators"].setdefault(
            name, {"about": OPERATORS[name].about, "arms": {}}
        )
        scratch = self._scratch / name
        scratch.mkdir(parents=True, exist_ok=True)
        starts = Starts(name, scratch, dict(pair.split("=", 1) for pair in self._args.set))
        compiled = False
        for role in ("times",) if self._args.times else self._args.arms:
            if entry["arms"].get(role, {}).get("complete"):
                continue
            stock = role not in ("learning", "second")
            if not starts.can(role):
                self._lacks(name, f"{role}: its first start was not made in this run")
                continue
            if stock and not compiled and self._args.compilers > 1 and self._left() > LEAST_S:
                entry["compile_s"] = starts.compile(
                    self._options(role, compiling=True),
                    processes=self._args.compilers,
                    until=self._until(role),
                )
                compiled = True
            if self._left() < LEAST_S:
                self._lacks(name, f"{role}: no time left")
                continue
            self._add(name, role, starts.run(role, self._options(role), until=self._until(role)))

    def _add(self, name: str, role: str, found: dict[str, Any]) -> None:
        entry = self.document["operators"][name]
        for about in ("gpu", "versions"):
            if found.get(about):
                self.document[about] = found.pop(about)
        entry["arms"][role] = {k: v for k, v in found.items() if k != "commit"}
        for what in found.get("missing", []):
            self._lacks(name, f"{role}: {what}")
        if "ended" in found:
            self._lacks(name, f"{role}: {found['ended']}")
        if not self._args.times:
            rows = figures.table(entry["arms"], [*self._args.sizes, *self._args.held_out])
            entry["sizes"] = rows
            entry["loss"] = {
                "sizes": figures.losses(rows, self._args.sizes),
                "held_out": figures.losses(rows, self._args.held_out),
            }
        self.save()
        words = found.get("ended") or ("done" if found.get("complete") else "in part")
        print(
            f"{name} {role}: {words}, {found['process_s']:.1f} s, {len(found['sizes'])} sizes",
            file=sys.stderr,
            flush=True,
        )

    def save(self) -> None:
        self.document.pop("commit", None)
        save(self.document, self._args.out)

    def _lacks(self, name: str, what: str) -> None:
        self.document["missing"].append(f"{name}: {what}")
        print(f"{name}: lacks {what}", file=sys.stderr, flush=True)

    def _left(self) -> float:
        return self._end - time.monotonic()

    def _until(self, role: str) -> float:
        """When a process has to stop by itself, on the clock `time.monotonic`."""
        end = self._end - GRACE_S
        return min(end, time.monotonic() + self._args.per_operator) if role == "times" else end

    def _options(self, role: str, *, compiling: bool = False) -> list[str]:
        args = self._args
        sizes = [*args.sizes, *args.held_out] if role == "times" else args.sizes
        line = ["--sizes", *sizes, "--warm", *WARM]
        if args.simulated:
            line.append("--simulated")
        if args.at_most:
            line += ["--at-most", str(args.at_most)]
        if compiling or role == "times":
            return line
        line += ["--held-out", *args.held_out]
        if role == "learning":
            line += ["--stream", str(args.stream)]
            line += ["--packed", str(args.packed), "--seed", str(args.seed)]
        return line


def arguments() -> argparse.Namespace:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the document")
    parser.add_argument("--operators", nargs="+", choices=OPERATORS, default=list(OPERATORS))
    parser.add_argument("--arms", nargs="+", choices=figures.ARMS, default=list(figures.ARMS))
    parser.add_argument(
        "--sizes",
        nargs="+",
        default=[*DENSE, *PACKED],
        help="64 tokens: 64; packed sequences: 16x128, 8192+4096",
    )
    parser.add_argument("--held-out", nargs="*", default=list(HELD_OUT), help="measured last only")
    parser.add_argument("--stream", type=int, default=3000, help="calls to learn from")
    parser.add_argument("--packed", type=float, default=0.25, help="share of these that is packed")
    parser.add_argument("--seed", type=int, default=1, help="of the stream")
    parser.add_argument("--times", action="store_true", help="measure all candidates instead")
    parser.add_argument("--per-operator", type=float, default=150, help="seconds of --times")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds in all")
    parser.add_argument("--compilers", type=int, default=min(8, cores // 2), help="processes")
    parser.add_argument("--set", nargs="*", default=[], metavar="TUNEONCE_X=Y", help="for tuneonce")
    parser.add_argument("--at-most", type=int, help="candidates to keep of each list")
    parser.add_argument("--scratch", type=Path, help="directory for all arms, kept")
    parser.add_argument("--add", action="store_true", help="go on with the document that is there")
    parser.add_argument("--simulated", action="store_true", help="use the simulated GPU")
    args = parser.parse_args()
    try:
        for size in [*args.sizes, *args.held_out]:
            figures.lengths(size)
    except ValueError as error:
        parser.error(f"no size: {error}")
    args.arms = [arm for arm in figures.ARMS if arm in args.arms]
    return args


def main() -> None:
    args = arguments()
    with tempfile.TemporaryDirectory(prefix="work-classes-") as temporary:
        scratch = args.scratch or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        study = Study(args, scratch.resolve())
        for name in args.operators:
            study.operator(name)
        study.save()
    for name, entry in study.document["operators"].items():
        print(name, json.dumps(entry.get("loss", {})), flush=True)


if __name__ == "__main__":
    main()
