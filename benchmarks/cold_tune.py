"""First starts: how long do workloads take while their kernels are tuned, stock and with tuneonce?

Every run is a new process with empty caches of its own (Triton's, our store, HOME); arms take
turns, and their order turns round from repeat to repeat. The document is saved after every run.

    python benchmarks/cold_tune.py benchmarks/results/cold-tune-h200.json --repeats 2
    python benchmarks/cold_tune.py /tmp/cold.json --workloads fla --arms stock,tuneonce
    python benchmarks/cold_tune.py /tmp/cold.json --workloads mamba --limit 1 --simulated
    python benchmarks/cold_tune.py benchmarks/results/cold-tune-h200.json --table

Where a command may run ten minutes only: ``--within 570`` starts no run that would not end in that
time, and ``--add`` goes on with the document that is there. With ``--simulated`` compiling is real
and the times of kernels are made up, so that the seconds of the calls are those of compiling. What
more compilers than there are cores would do is seen by recording and then replaying compilations:

    python benchmarks/cold_tune.py /tmp/r.json --simulated --arms tuneonce --record /tmp/compiles
    python benchmarks/cold_tune.py benchmarks/results/cold-tune-replayed.json --simulated \
        --arms tuneonce,tuneonce-known --replay /tmp/compiles --compilers 16

Needs fla-core, mamba-ssm and gemlite beside torch and triton; workloads whose package is missing
are named and left out. Install them with ``pip install --no-deps`` (mamba-ssm with
``MAMBA_SKIP_CUDA_BUILD=TRUE``: its CUDA extension is not used).
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

BENCHMARKS = Path(__file__).resolve().parent
sys.path[:0] = [str(BENCHMARKS), str(BENCHMARKS.parent / "src")]

import documents  # noqa: E402
from cold import arms, summary  # noqa: E402
from cold.aging import CHANGES, age_store  # noqa: E402
from cold.run_options import add_options, options, variables  # noqa: E402
from cold.workloads import WORKLOADS  # noqa: E402

SCHEMA = "tuneonce.cold-tune/1"


def order(chosen: list[str], repeat: int) -> list[str]:
    """The arms of one repeat: turned round in every second one, each after what it starts from."""
    cold = [arm for arm in chosen if arm not in arms.NEEDS]
    turned = cold if repeat % 2 else cold[::-1]
    later = {arms.NEEDS[arm]: arm for arm in chosen if arm in arms.NEEDS}
    return [name for arm in turned for name in (arm, *([later[arm]] if arm in later else []))]


def plan(workloads: list[str], chosen: list[str], repeats: range) -> Iterator[tuple[str, str, int]]:
    """Workload, arm and repeat of every run: all workloads once before any a second time."""
    for repeat in repeats:
        for workload in workloads:
            for arm in order(chosen, repeat):
                yield workload, arm, repeat


class Comparison:
    """The runs of one command, and the document that they are added to."""

    def __init__(self, out: Path, document: dict[str, Any], scratch: Path, args: Any) -> None:
        self.out = out
        self.document = document
        self._scratch = scratch
        self._options, self._variables = options(args), variables(args)
        self._timeout = args.timeout
        self._change = args.known_by

    def run(self, workload: str, arm: str, repeat: int) -> dict[str, Any]:
        """One run; the record that was added to the document."""
        home = self._scratch / f"{workload}-{repeat}-{arms.NEEDS.get(arm, arm)}"
        record: dict[str, Any] = {"workload": workload, "arm": arm, "repeat": repeat}
        try:
            if arm == "tuneonce-known":
                store = self._known_store(workload)
                shutil.copytree(store, home / "store")
            record |= self._start(workload, arm, home)
            if arm == "tuneonce":
                self._remember(workload, home / "store")
        except arms.Failed as error:
            record["failed"] = str(error)
        self.document["runs"].append(record)
        self.save()
        return record

    def _start(self, workload: str, arm: str, home: Path) -> dict[str, Any]:
        events = self._scratch / f"events-{home.name}-{arm}"
        return arms.start(
            workload,
            arm,
            home,
            events,
            self._options,
            timeout=self._timeout,
            extra=self._variables,
        )

    def _known_store(self, workload: str) -> Path:
        """A store of another world; made by a start that is not recorded, if there was none."""
        store = self._scratch / f"known-{workload}"
        if not store.exists():
            home = self._scratch / f"before-{workload}"
            self._start(workload, "tuneonce", home)
            self._remember(workload, home / "store")
        if not store.exists():
            raise arms.Failed(f"{workload} has stored nothing that could be known elsewhere")
        return store

    def _remember(self, workload: str, store: Path) -> None:
        """Keep what a first start has stored, for those of another world."""
        known = self._scratch / f"known-{workload}"
        if not known.exists():
            age_store(store, known, change=self._change)

    def forget(self, workload: str, repeat: int) -> None:
        """Remove the caches of a repeat: its binaries are tens of megabytes."""
        for home in self._scratch.glob(f"{workload}-{repeat}-*"):
            shutil.rmtree(home, ignore_errors=True)

    def save(self) -> None:
        """Write the document, or leave the one before."""
        runs = self.document["runs"]
        first = next((run for run in runs if "failed" not in run), None)
        if first is not None:
            self.document["gpu"] = first["gpu"]
            for run in runs:
                self.document["versions"].update(run.get("versions", {}))
        self.document["summary"] = summary.summarise(runs)
        documents.save(self.document, self.out)


def begin(args: argparse.Namespace) -> dict[str, Any]:
    """A new document, or with ``--add`` the one that is there."""
    from fla_restart import machine

    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    command = [Path(sys.argv[0]).name, *sys.argv[1:]]
    if args.add and args.out.exists():
        document: dict[str, Any] = json.loads(args.out.read_text())
        if document.get("schema") != SCHEMA:
            raise SystemExit(f"{args.out} is no {SCHEMA} document")
    else:
        document = {"schema": SCHEMA, "when": now, "commands": [], "machine": machine()}
        document |= {"gpu": None, "versions": {}, "simulated": args.simulated, "arms": {}}
        document |= {"replayed": args.replay is not None, "compilers": args.compilers}
        document |= {"workloads": {}, "known_by": args.known_by, "summary": {}, "runs": []}
    if document["simulated"] != args.simulated:
        raise SystemExit(f"{args.out} is of another GPU: simulated and real do not mix")
    if document.get("replayed", False) != (args.replay is not None):
        raise SystemExit(f"{args.out} is of other compilations: replayed and real do not mix")
    document["commands"].append({"when": now, "command": command})
    document["arms"] |= {arm: arms.ARMS[arm] for arm in args.arms}
    document["workloads"] |= {name: WORKLOADS[name].about for name in args.workloads}
    return document


def line(run: dict[str, Any]) -> str:
    head = f"{run['workload']:8} {run['arm']:15} repeat {run['repeat']}: "
    if "failed" in run:
        return head + run["failed"]
    totals = run["totals"]
    wrong = " OUTPUTS WRONG" if run["outputs_ok"] is False else ""
    return head + (
        f"calls {run['calls_s']:7.2f} s, process {run['process_s']:6.1f} s; {totals['tunes']} keys,"
        f" {totals['candidates_measured']} candidates, {totals['compiles']} compiles"
        f" ({totals['compile_s']:.1f} s), {totals['hits']} hits{wrong}"
        f"{'; problems: ' if totals['problems'] else ''}{', '.join(totals['problems'])}"
    )


def expected(took: dict[tuple[str, str], float], workload: str, arm: str) -> float:
    """Seconds of a run: as the last of its kind, else as the longest of its workload's others."""
    others = [seconds for (name, _), seconds in took.items() if name == workload]
    return took.get((workload, arm), max(others, default=0.0))


def listed(allowed: dict[str, Any]) -> Any:
    """An argument type: names of `allowed`, separated by commas."""

    def parse(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in allowed:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(allowed)}")
        return names

    return parse


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", type=Path, help="the document")
    parser.add_argument("--workloads", type=listed(WORKLOADS), default=list(WORKLOADS))
    parser.add_argument("--arms", type=listed(arms.ARMS), default=list(arms.ARMS))
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--known-by", choices=CHANGES, default="product", help="what was another")
    parser.add_argument("--timeout", type=float, default=400, help="seconds of one run")
    parser.add_argument("--within", type=float, help="start no run that would end after SECONDS")
    parser.add_argument("--add", action="store_true", help="go on with the document that is there")
    parser.add_argument("--table", action="store_true", help="print the document as Markdown")
    add_options(parser)
    args = parser.parse_args()
    for arm, needed in arms.NEEDS.items():
        if arm in args.arms and needed not in args.arms:
            parser.error(f"{arm} starts from what {needed} leaves: name both")
    return args


def main() -> None:
    began = time.monotonic()
    args = arguments()
    if args.table:
        print(summary.table(summary.summarise(json.loads(args.out.read_text())["runs"])), end="")
        return
    for name in list(args.workloads):
        if importlib.util.find_spec(WORKLOADS[name].module) is None:
            print(f"{name}: not installed", file=sys.stderr, flush=True)
            args.workloads.remove(name)
    document = begin(args)
    done = max((run["repeat"] for run in document["runs"]), default=0)
    took: dict[tuple[str, str], float] = {
        (run["workload"], run["arm"]): run["process_s"]
        for run in document["runs"]
        if "failed" not in run
    }
    failed = False
    with tempfile.TemporaryDirectory(prefix="cold-tune-") as scratch:
        comparison = Comparison(args.out, document, Path(scratch), args)
        before: tuple[str, int] | None = None
        for workload, arm, repeat in plan(
            args.workloads, args.arms, range(done + 1, done + args.repeats + 1)
        ):
            left = None if args.within is None else args.within - (time.monotonic() - began)
            if left is not None and left < 1.2 * expected(took, workload, arm):
                print(f"{workload} {arm}: no time left", file=sys.stderr, flush=True)
                continue
            if before not in (None, (workload, repeat)):
                comparison.forget(*before)
            before = workload, repeat
            run = comparison.run(workload, arm, repeat)
            took[workload, arm] = run.get("process_s", args.timeout)
            failed = failed or "failed" in run
            print(line(run), file=sys.stderr, flush=True)
    comparison.save()
    print(summary.table(document["summary"]), end="")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
