"""The restart benchmark: arms times repeats times runs of one server command.

In each repeat every arm gets fresh directories and runs the server twice (or more): the first run
is the cold start, the second the restart that all this is about. Further runs may follow, each
with something emptied before it. The order of the arms rotates from repeat to repeat, so that none
is always the first on a cold machine.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from .._version import __version__
from ..events.totals import summarise
from ..settings import is_interpreted
from .arms import ARMS, EMPTIED, Arm, environment
from .errors import BenchError
from .interrupts import Interrupts
from .load import prompt_lengths, run_load
from .machine import describe_gpu, describe_machine, installed_versions
from .metrics import Outcome
from .ports import reserved
from .process import Server
from .readings import engine_init_s
from .result import Events, Load, LoadResult, Restart, Run
from .winners import stored_winners

OBSERVED = (
    "The stock arms run with TUNEONCE=observe, which counts and changes nothing; without that "
    "there would be no tunes and compiles to show."
)
_NO_EVENTS = "wrote no events: tuneonce was not active in the server, or TUNEONCE_EVENTS was lost"


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. `command` has its port in place already.

    After `runs` starts there is one more for each of `then`, names of
    `tuneonce.bench.arms.EMPTIED` or others, which empty nothing; only in the arms of `then_arms`,
    if that is given. `settings` are environment variables that every arm needs.
    `work_dir` gets a directory of this benchmark's own; without it there is a temporary one, which
    is removed at the end. `keep` keeps that, and the caches in either.
    """

    arms: tuple[str, ...]
    repeats: int
    runs: int
    command: list[str]
    host: str
    port: int
    load: Load
    startup_timeout_s: float
    stop_timeout_s: float
    work_dir: Path | None = None
    keep: bool = False
    notes: tuple[str, ...] = ()
    settings: Mapping[str, str] = {}
    then: tuple[str, ...] = ()
    then_arms: tuple[str, ...] | None = None


class Watcher(Protocol):
    """Is told how the benchmark goes on."""

    def working_in(self, directory: Path) -> None:
        """Caches and logs are kept under `directory`."""

    def starting(self, run: str) -> None:
        """The server of `run` is being started."""

    def loading(self, run: str, *, startup_s: float, requests: int) -> None:
        """The server is healthy, the load begins."""

    def outcome(self, outcome: Outcome) -> None:
        """A request ended."""

    def finished(self, run: Run) -> None:
        """The server has ended and its figures are complete."""


def run_restart(
    plan: Plan,
    *,
    interrupts: Interrupts,
    watcher: Watcher,
    save: Callable[[Restart], None],
    activate: Callable[[dict[str, str]], dict[str, str]],
    argv: Sequence[str],
    base_env: Mapping[str, str] | None = None,
) -> Restart:
    """Run the plan and return its document. `save` gets the document after every run,
    so a benchmark that fails or is interrupted at the last run has lost that run only. `activate`:
    see `tuneonce.bench.arms.environment`. A server that does not start or cannot be ended raises
    `BenchError`, and so does a port that another benchmark uses.
    """
    base = {**(os.environ if base_env is None else base_env), **plan.settings}
    document = Restart(
        created=_now(),
        complete=False,
        tuneonce=__version__,
        command=list(argv),
        server_command=[Path(plan.command[0]).name, *plan.command[1:]],
        machine=describe_machine(),
        gpu=describe_gpu(),
        versions=installed_versions(),
        load=plan.load,
        arms={name: dict(ARMS[name].settings) for name in plan.arms},
        repeats=plan.repeats,
        runs_per_repeat=plan.runs,
        runs=[],
        notes=[*plan.notes, *_notes(plan, base)],
        then=list(plan.then),
        interpreted=is_interpreted(base),
    )
    try:
        with reserved(plan.port), _work_dir(plan, interrupts) as root:
            watcher.working_in(root)
            for repeat in range(1, plan.repeats + 1):
                for name in _rotated(plan.arms, repeat - 1):
                    home = root / f"repeat-{repeat}" / name
                    befores: list[str | None] = [None] * plan.runs
                    if plan.then_arms is None or name in plan.then_arms:
                        befores += plan.then
                    for number, after in enumerate(befores, start=1):
                        run, notes = _one_run(
                            plan,
                            ARMS[name],
                            home=home,
                            repeat=repeat,
                            number=number,
                            after=after,
                            base=base,
                            interrupts=interrupts,
                            watcher=watcher,
                            activate=activate,
                        )
                        document = msgspec.structs.replace(
                            document,
                            runs=[*document.runs, run],
                            notes=[*document.notes, *notes],
                        )
                        save(document)
                        watcher.finished(run)
                    if not plan.keep:
                        # Caches of a large server times arms times repeats would fill the disk.
                        shutil.rmtree(home / "caches", ignore_errors=True)
    except BaseException as error:
        if document.runs:
            why = str(error).partition("\n")[0] or type(error).__name__
            note = f"Stopped early: {why}"
            save(msgspec.structs.replace(document, notes=[*document.notes, note]))
        raise
    document = msgspec.structs.replace(document, complete=True)
    save(document)
    return document


def _one_run(
    plan: Plan,
    arm: Arm,
    *,
    home: Path,
    repeat: int,
    number: int,
    after: str | None,
    base: Mapping[str, str],
    interrupts: Interrupts,
    watcher: Watcher,
    activate: Callable[[dict[str, str]], dict[str, str]],
) -> tuple[Run, list[str]]:
    title = f"{arm.name}, run {number}" + (f" of repeat {repeat}" if plan.repeats > 1 else "")
    title += f" ({after})" if after is not None else ""
    directory = home / f"run-{number}"
    events = directory / "events"
    caches = home / "caches"
    events.mkdir(parents=True)
    caches.mkdir(exist_ok=True)
    env = environment(arm, base=base, caches=caches, events=events, activate=activate)
    if after in EMPTIED:
        _empty(Path(env[EMPTIED[after]]))
    log = directory / "server.log"
    load = load_of(plan.load, run=number)
    started = _now()
    watcher.starting(title)
    with Server(
        plan.command,
        env=env,
        log=log,
        host=plan.host,
        port=plan.port,
        interrupts=interrupts,
        stop_timeout=plan.stop_timeout_s,
    ) as server:
        startup_s = server.wait_healthy(timeout=plan.startup_timeout_s)
        watcher.loading(title, startup_s=startup_s, requests=load.num_prompts)
        result = run_load(_base_url(plan), load, interrupts=interrupts, on_outcome=watcher.outcome)
        if result.failed:
            server.linger(seconds=1.0)
        # Here and not at the end of the block, to know how; the end of the block is for failures.
        end = server.stop()
    counted = _events(events)
    notes = [] if counted is not None else [f"{title}: {_NO_EVENTS}."]
    if end.end == "itself":
        notes.append(f"{title}: the server ended by itself with status {end.status}.")
    run = Run(
        arm=arm.name,
        run=number,
        repeat=repeat,
        started=started,
        startup_s=startup_s,
        events=counted,
        server_status=end.status,
        server_end=end.end,
        after=after,
        engine_init_s=engine_init_s(log),
        winners=stored_winners(arm.name, env),
        new_lengths=new_lengths(plan.load, run=number),
        **{field: getattr(result, field) for field in LoadResult.__struct_fields__},
    )
    return run, notes


def load_of(load: Load, *, run: int) -> Load:
    """The load of one run: where lengths are drawn, others in each run, whatever the arm."""
    if load.input_len_to is None:
        return load
    return msgspec.structs.replace(load, lengths_seed=load.seed + run)


def new_lengths(load: Load, *, run: int) -> int | None:
    """How many requests of a run have a length that no run before had; None: all have one."""
    if load.input_len_to is None:
        return None
    known = {n for before in range(1, run) for n in prompt_lengths(load_of(load, run=before))}
    return sum(length not in known for length in prompt_lengths(load_of(load, run=run)))


def _empty(directory: Path) -> None:
    """Raises `BenchError` if anything remains: the run would not be what it is called."""
    try:
        shutil.rmtree(directory)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise BenchError(f"cannot empty {directory}: {error.strerror}") from error


def _events(directory: Path) -> Events | None:
    """Sum up what the processes of one run counted; None if none wrote anything."""
    totals = summarise(directory)
    if not totals.processes:
        return None
    return Events(**{field: getattr(totals, field) for field in Events.__struct_fields__})


def _base_url(plan: Plan) -> str:
    host = f"[{plan.host}]" if ":" in plan.host else plan.host
    return f"http://{host}:{plan.port}"


def _rotated(arms: tuple[str, ...], by: int) -> tuple[str, ...]:
    by %= len(arms)
    return arms[by:] + arms[:by]


def _notes(plan: Plan, base: Mapping[str, str]) -> Iterator[str]:
    if any(ARMS[name].settings["TUNEONCE"] == "observe" for name in plan.arms):
        yield OBSERVED
    if manager := base.get("TRITON_CACHE_MANAGER"):
        yield (
            f"TRITON_CACHE_MANAGER={manager} is set: compiled binaries may live outside of the "
            "fresh directories, so a first run may not be cold."
        )


@contextlib.contextmanager
def _work_dir(plan: Plan, interrupts: Interrupts) -> Iterator[Path]:
    if plan.work_dir is not None:
        # One of its own inside, so that two benchmarks never share caches.
        plan.work_dir.mkdir(parents=True, exist_ok=True)
        yield Path(tempfile.mkdtemp(prefix="bench-restart-", dir=plan.work_dir.resolve()))
        return
    root = Path(tempfile.mkdtemp(prefix="tuneonce-bench-"))
    try:
        yield root
    finally:
        if not plan.keep:
            with interrupts.deferred():
                shutil.rmtree(root, ignore_errors=True)


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
