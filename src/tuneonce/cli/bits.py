"""``tuneonce bits SCRIPT``: which candidates of a program's kernels write the same bits."""

from __future__ import annotations

import argparse
import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..errors import SettingsError, UsageError
from ._output import output_of
from ._workload import add_workload_arguments, print_document, run_workload
from .tune import print_end

if TYPE_CHECKING:
    from rich.console import Console

    from ..inspect.survey import Seen, Survey

_DESCRIPTION = """\
Runs a Python program, and of each key that its kernels meet looks at what every candidate writes.
Shows which have equal bits and what it costs to keep those of the first one, who is unsteady, and
who is wrong. Nothing that is known is used, so that nothing is hidden. The exit code is the
program's; else 1 if a candidate is wrong or candidates disagree.
"""

# Of so many candidates the names are told; the document has all. Arbitrary.
_NAMED = 3

# What is known, here or elsewhere, would hide candidates, and what is found is no answer for a
# program that does not ask for equal bits. Keys are measured in every phase, and all of it looked
# at.
_VARIABLES = {
    **dict.fromkeys(
        (
            "TUNEONCE_BASE",
            "TUNEONCE_FROZEN",
            "TUNEONCE_RECHECK",
            "TUNEONCE_REMOTE",
            "TUNEONCE_STORE_LIMIT",
        ),
        "",
    ),
    "TUNEONCE_NUMERICS": "bits",
    "TUNEONCE_LOOK_SHARE": "1",
    "TUNEONCE_ON_MISS_STARTING": "tune",
    "TUNEONCE_ON_MISS_SERVING": "tune",
    "TUNEONCE_PROFILE": "0",
    "TUNEONCE_BINARIES_MB": "0",
}


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "bits",
        help="which candidates of a program's kernels write the same bits, and which are wrong",
        description=_DESCRIPTION,
        usage="%(prog)s [options] SCRIPT [args] | -m MODULE [args]",
    )
    parser.add_argument(
        "--strict",
        action="store_true",
        help="exit code 1, too, unless all candidates were looked at and wrote the same bits",
    )
    add_workload_arguments(
        parser,
        store="a directory, empty or not there yet, where results stay for `tuneonce show` "
        "(default: they are removed at the end)",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the program, then tell what its candidates wrote.

    Raises UsageError if it ended well and has met no kernel.
    """
    from ..inspect.survey import BITS_SCHEMA, survey

    out = output_of(args, BITS_SCHEMA)
    with _own_store(args.store) as store:
        ran = run_workload(args, variables=_VARIABLES, reads=False, writes=True, store=store)
    found = survey(
        ran.history,
        command=ran.command,
        status=ran.status,
        store="" if args.store is None else ran.store,
        seconds=round(ran.seconds, 3),
        strict=args.strict,
    )
    _draw(found, print_document(found, out))
    if not found.keys and not found.not_seen and not ran.status:
        raise UsageError(
            f"bits: {' '.join(ran.command)} launched no autotuned kernel that has a choice: "
            "nothing to look at"
        )
    return ran.status or int(not found.well)


@contextlib.contextmanager
def _own_store(chosen: str | None) -> Iterator[str]:
    """The address of a store that knows nothing. Raises UsageError if the chosen one does."""
    if chosen is not None:
        _check_is_empty(chosen)
        yield chosen
        return
    directory = tempfile.mkdtemp(prefix="tuneonce-bits-")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def _check_is_empty(address: str) -> None:
    from pathlib import Path

    from ..store import open_store

    if not address.strip():
        raise UsageError("--store is empty")
    try:
        with open_store(address) as store:
            info = store.describe()
    except SettingsError as error:
        raise UsageError(str(error)) from error
    directory = Path(info.location)
    if info.kind == "files" and directory.is_dir() and any(directory.iterdir()):
        raise UsageError(
            f"{info.location} is not empty: what a store knows hides what candidates write; name a "
            "directory that is empty or not there yet"
        )


def _draw(found: Survey, out: Console) -> None:
    from itertools import groupby

    from ._render import plain

    for kernel, rows in groupby(found.keys, key=lambda one: one.kernel):
        out.print(plain(kernel), style="bold")
        _draw_kernel(list(rows), out)
        out.print()
    if found.not_seen:
        out.print(f"Met and not tuned, so nothing was looked at ({len(found.not_seen)}):")
        for missed in found.not_seen:
            out.print(f"  {plain(missed.kernel)}  {plain(missed.key)}", soft_wrap=True, style="dim")
    for sentence in _sums(found):
        out.print(sentence, soft_wrap=True)
    print_end(found.problems, found.status, found.processes, out)


def _draw_kernel(rows: list[Seen], out: Console) -> None:
    from ._render import plain, table

    grid = table()
    grid.add_column("key", overflow="fold")
    grid.add_column("size", overflow="fold")
    for heading in ("cand", "seen", "classes", "cost"):
        grid.add_column(heading, justify="right", no_wrap=True)
    grid.add_column("", overflow="fold")
    for one in rows:
        grid.add_row(
            plain(one.key),
            _size(one),
            str(one.candidates),
            str(one.looked_at),
            str(one.classes),
            "" if one.cost is None else _percent(one.cost),
            plain(", ".join(_remarks(one))),
            style=None if one.agrees else "red",
        )
    out.print(grid)
    for one in rows:
        for detail in _details(one):
            which = f"{one.key} {_size(one)}".rstrip()
            out.print(f"{plain(which)}: {plain(detail)}", soft_wrap=True)


def _remarks(one: Seen) -> list[str]:
    """What is not as it is with most keys."""
    words = []
    if one.wrong:
        words.append(f"{len(one.wrong)} wrong")
    if one.disagree:
        words.append("disagree")
    if one.unsteady:
        words.append(f"{len(one.unsteady)} unsteady")
    if one.ran < one.candidates:
        words.append(f"{one.candidates - one.ran} did not run")
    if one.left_out is not None:
        words.append(one.left_out)
    return words


def _details(one: Seen) -> Iterator[str]:
    """Who it is that is wrong, disagrees or is unsteady."""
    for apart in one.wrong:
        yield f"wrong: {apart.candidate}, {_distance(apart.distance)}"
    for apart in one.disagree:
        yield f"candidates disagree: {apart.candidate}, {_distance(apart.distance)}"
    if one.unsteady:
        names, rest = one.unsteady[:_NAMED], len(one.unsteady) - _NAMED
        yield f"unsteady: {', '.join(names)}{f' and {rest} more' if rest > 0 else ''}"


def _sums(found: Survey) -> Iterator[str]:
    from statistics import median_low

    from ._render import count, plain

    keys = found.keys
    if not keys:
        return
    one = sum(key.classes == 1 for key in keys)
    many = sum(key.classes > 1 for key in keys)
    parts = [f"{one} of one class of bits", f"{many} of several"]
    if none := sum(key.looked_at > 0 and key.classes == 0 for key in keys):
        parts.append(f"{none} where no candidate equals itself")
    if unseen := sum(key.looked_at == 0 for key in keys):
        parts.append(f"{unseen} not looked at")
    yield f"{count(len(keys), 'key')}: {', '.join(parts)}"
    costs = [key.cost for key in keys if key.cost is not None]
    if costs:
        yield (
            f"the first one's bits cost: median {_percent(median_low(costs))}, "
            f"greatest {_percent(max(costs))}"
        )
    if wrong := sum(bool(key.wrong) for key in keys):
        yield f"{count(wrong, 'key')} with candidates that are wrong, which are not used"
    if disagree := sum(bool(key.disagree) for key in keys):
        yield f"{count(disagree, 'key')} whose candidates disagree, of which all are used"
    if found.left_out:
        told = ", ".join(f"{plain(name)} {n}" for name, n in sorted(found.left_out.items()))
        yield f"outputs not looked at, by key: {told}"
    if found.store:
        yield f"each candidate: tuneonce show KERNEL --store {plain(found.store)}"
    yield "Equal is what was equal on these inputs, and no proof."


def _size(one: Seen) -> str:
    from ..model.wording import programs_text

    return "" if one.work_class is None else programs_text(one.work_class)


def _distance(apart: float | None) -> str:
    return "no number" if apart is None else f"{apart:.2g} apart"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
