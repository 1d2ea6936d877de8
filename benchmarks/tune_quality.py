"""How good are the winners of a cold tune, and do independent tunes agree?

An oracle measures every candidate of every key of one workload long and in three rounds; then
independent tunes follow, each in a process of its own with an empty store, stock and tuneonce in
turn. They share compiled binaries, never results. Winners are judged by the oracle's times: regret,
worse than the first candidate, and the share of keys for which all tunes of an arm agree. The
document is saved after every process.

    python benchmarks/tune_quality.py benchmarks/results/tune-quality-h200.json
    python benchmarks/tune_quality.py /tmp/quality.json --simulated --noise 0.02 --limit 1 --tunes 3

Where a command may run ten minutes only: ``--within 570 --scratch DIRECTORY`` ends in that time and
keeps the binaries; the same command with ``--add`` goes on, without another oracle.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS.parent / "src")]

import documents  # noqa: E402
from cold import arms, regret  # noqa: E402
from cold.run_options import add_options, options, variables  # noqa: E402
from cold.workloads import WORKLOADS  # noqa: E402

SCHEMA = "tuneonce.tune-quality/1"
ARMS = ("stock", "tuneonce")


class Study:
    """One workload's oracle and tunes, over one directory of binaries."""

    def __init__(self, document: dict[str, Any], scratch: Path, args: argparse.Namespace) -> None:
        self.document = document
        self._scratch = scratch
        self._triton = scratch / "triton"
        self._args = args

    def oracle(self) -> None:
        """Measure every candidate, and compile what is not compiled."""
        stock = {"TUNEONCE": "0", "TRITON_CACHE_DIR": str(self._triton)}
        run = self._start("stock", ["--oracle", str(self._args.oracle_ms)], stock)
        for name in ("gpu", "versions", "oracle", "process_s"):
            self.document["oracle_s" if name == "process_s" else name] = run[name]

    def tune(self, arm: str, number: int) -> dict[str, Any]:
        """One tune, with binaries and without any results; its record."""
        # What a process of ours leaves beside the binaries, the next would take over.
        for path in self._triton.glob("*/*.autotune.json"):
            path.unlink()
        run = self._start(arm, ["--start", str(number)], {"TRITON_CACHE_DIR": str(self._triton)})
        kept = ("process_s", "calls_s", "winners", "totals", "tunes", "outputs_ok")
        record = {"arm": arm, "number": number} | {name: run[name] for name in kept}
        self.document["runs"].append(record)
        return record

    def _start(self, arm: str, more: list[str], extra: dict[str, str]) -> dict[str, Any]:
        args = self._args
        line = [*options(args), *more]
        if args.simulated:
            line += ["--noise", str(args.noise), "--seed", str(args.seed)]
        with tempfile.TemporaryDirectory(prefix="start-", dir=self._scratch) as home:
            return arms.start(
                args.workload,
                arm,
                Path(home),
                Path(home, "events"),
                line,
                timeout=args.timeout,
                extra={**variables(args), **extra},
            )

    def judge(self) -> None:
        """Judge what there is so far, and save the document."""
        for arm in ARMS:
            runs = [run for run in self.document["runs"] if run["arm"] == arm]
            if not runs:
                continue
            judged = regret.judge(self.document["oracle"], [run["winners"] for run in runs])
            totals = [run["totals"] for run in runs]
            # Binaries are there, so what is not compiling is loading and measuring.
            spent = [t["tune_s"] - min(t["compile_s"], t["tune_s"]) for t in totals]
            judged["measuring_s"] = statistics.median(spent)
            judged["calls_s"] = statistics.median(run["calls_s"] for run in runs)
            judged["compiles"] = statistics.median(t["compiles"] for t in totals)
            self.document["arms"][arm] = judged
        documents.save(self.document, self._args.out)


def begin(args: argparse.Namespace) -> dict[str, Any]:
    """A new document, or with ``--add`` the one that is there."""
    from fla_restart import machine

    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    command = {"when": now, "command": [Path(sys.argv[0]).name, *sys.argv[1:]]}
    if args.add and args.out.exists():
        document: dict[str, Any] = json.loads(args.out.read_text())
        same = (SCHEMA, args.workload, args.simulated)
        if tuple(map(document.get, ("schema", "workload", "simulated"))) != same:
            raise SystemExit(f"{args.out} is about something else")
        document["commands"].append(command)
        return document
    return {
        "schema": SCHEMA,
        "when": now,
        "commands": [command],
        "machine": machine(),
        "gpu": None,
        "versions": {},
        "simulated": args.simulated,
        "workload": args.workload,
        "about": WORKLOADS[args.workload].about,
        "oracle_ms": args.oracle_ms,
        "oracle": None,
        "arms": {},
        "runs": [],
    }


def missing(document: dict[str, Any], tunes: int) -> list[tuple[int, str]]:
    """Number and arm of the tunes that the document lacks; arms take turns."""
    done = {(run["number"], run["arm"]) for run in document["runs"]}
    wanted = ((number, arm) for number in range(1, tunes + 1) for arm in ARMS)
    return [pair for pair in wanted if pair not in done]


def line(run: dict[str, Any]) -> str:
    totals = run["totals"]
    return (
        f"{run['arm']:8} tune {run['number']}: calls {run['calls_s']:6.2f} s,"
        f" process {run['process_s']:5.1f} s; {totals['tunes']} keys,"
        f" {totals['candidates_measured']} candidates, {totals['compiles']} compiles,"
        f" {totals['hits']} hits"
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the document")
    parser.add_argument("--workload", choices=WORKLOADS, default="fla")
    parser.add_argument("--tunes", type=int, default=10, help="of each arm")
    parser.add_argument("--oracle-ms", type=float, default=300, help="three times per candidate")
    parser.add_argument("--noise", type=float, default=0.02, help="of the simulated GPU's samples")
    parser.add_argument("--seed", type=int, default=0, help="of the simulated GPU's true times")
    parser.add_argument("--timeout", type=float, default=560, help="seconds of one process")
    parser.add_argument("--within", type=float, help="start nothing that would end after SECONDS")
    parser.add_argument("--scratch", type=Path, help="directory for binaries, kept")
    parser.add_argument("--add", action="store_true", help="go on with the document that is there")
    parser.add_argument("--table", action="store_true", help="print the document as Markdown")
    add_options(parser)
    return parser.parse_args()


def main() -> None:
    began = time.monotonic()
    args = arguments()
    if args.table:
        print(regret.table(json.loads(args.out.read_text())), end="")
        return
    document = begin(args)
    with tempfile.TemporaryDirectory(prefix="tune-quality-") as temporary:
        scratch = args.scratch or Path(temporary)
        scratch.mkdir(parents=True, exist_ok=True)
        study = Study(document, scratch.resolve(), args)
        try:
            if document["oracle"] is None:
                study.oracle()
                study.judge()
                print(f"oracle: {document['oracle_s']:.1f} s", file=sys.stderr, flush=True)
            took = 0.0
            for number, arm in missing(document, args.tunes):
                spent = time.monotonic() - began
                if args.within is not None and spent + 1.2 * took > args.within:
                    print("no time left", file=sys.stderr, flush=True)
                    break
                run = study.tune(arm, number)
                took = max(took, run["process_s"])
                study.judge()
                print(line(run), file=sys.stderr, flush=True)
        except arms.Failed as error:
            raise SystemExit(str(error)) from None
    print(regret.table(document), end="")


if __name__ == "__main__":
    main()
