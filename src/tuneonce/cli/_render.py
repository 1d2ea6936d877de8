"""Printing: one JSON document, or tables for people.

On a terminal they fit its columns, also 80. In a pipe or a file each record is one row, however
long, so that grep, awk and wc can be used on them.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..replica.exchange import Step


D = TypeVar("D")

# Wider than any row.
_ANY_WIDTH = 1_000_000


class _Problem(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def reason(self) -> str: ...
    @property
    def detail(self) -> str: ...


def print_json(document: object) -> None:
    """Print a struct as JSON, ASCII so that every terminal and pipe can take it."""
    import msgspec

    print(json.dumps(msgspec.to_builtins(document), indent=2))


def give(document: D, draw: Callable[[D], None], *, as_json: bool) -> None:
    """Print a struct as JSON, or draw it."""
    if as_json:
        print_json(document)
    else:
        draw(document)


def is_terminal(*, stderr: bool = False) -> bool:
    """Whether tables have as many columns as a window, and no more."""
    stream = sys.stderr if stderr else sys.stdout
    return stream is not None and stream.isatty()


def console(*, stderr: bool = False) -> Console:
    """Where tables go: plain text when piped, nothing interpreted in what is printed."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # it is being handled, and what it means is `main`'s to say

    stream = sys.stderr if stderr else sys.stdout
    encoding = (getattr(stream, "encoding", None) or "").lower().replace("-", "")
    if encoding != "utf8" and hasattr(stream, "reconfigure"):
        stream.reconfigure(errors="replace")  # a bar or a dash must not be a traceback
    width = None if is_terminal(stderr=stderr) else _ANY_WIDTH
    return Plain(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)


@contextlib.contextmanager
def progress(do: str, *, silent: bool) -> Iterator[Callable[[Step], None]]:
    """Somebody to tell how far it is: a line on a terminal, which is gone at the end."""
    if silent or not is_terminal(stderr=True):
        yield lambda step: None
        return
    with console(stderr=True).status(do) as status:

        def tell(step: Step) -> None:
            of = "" if step.of is None else f" of {step.of}"
            status.update(f"{do}: {count(step.records, 'record')}{of}")

        yield tell


def table(*, show_header: bool = True) -> Table:
    """A table without lines, indented under a heading."""
    from rich.table import Table

    return Table(
        box=None, padding=(0, 2, 0, 0), show_header=show_header, header_style="dim", pad_edge=False
    )


def plain(text: object) -> str:
    """`text` without anything that would steer a terminal, which a record may hold."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(text)
    )


def print_problems(console: Console, problems: Iterable[_Problem]) -> None:
    """A line for each record that cannot be used."""
    found = list(problems)
    for problem in found:
        why = plain(problem.reason) + (f" ({plain(problem.detail)})" if problem.detail else "")
        console.print(f"problem: {plain(problem.name)}: {why}", style="red", soft_wrap=True)
    if found:
        console.print("`tuneonce verify --set-aside` moves such records away.")


def age(then: float, *, now: float | None = None) -> str:
    """``5 s``, ``3 min``, ``2 h``, ``9 d``; ``now`` for a time that has not come yet."""
    seconds = (time.time() if now is None else now) - then
    for unit, size in (("d", 86400.0), ("h", 3600.0), ("min", 60.0), ("s", 1.0)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "now"


def ago(then: float) -> str:
    """``3 min ago``, ``just now``."""
    passed = age(then)
    return "just now" if passed == "now" else f"{passed} ago"


def clock(then: float) -> str:
    """Month, day and time of day, local."""
    try:
        return time.strftime("%m-%d %H:%M", time.localtime(then))
    except (OverflowError, ValueError, OSError):
        return "?"


def seconds(value: float) -> str:
    """``0.25``, ``7.9``, ``123``: seconds or milliseconds with the digits that matter."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def count(number: int, noun: str, *, plural: str = "s") -> str:
    """``1 record``, ``2 records``."""
    return f"{number} {noun}{'' if number == 1 else plural}"


def megabytes(size: int) -> str:
    """Bytes in units of 2^20, as ``0.4`` or ``17``."""
    return f"{size / (1 << 20):.1f}" if size < 10 << 20 else f"{size >> 20:,}"


def size(number: int) -> str:
    """Bytes in units of 2^10, 2^20 and 2^30: ``0.4 KB``, ``17 MB``, ``1.2 GB``."""
    sizes = (("GB", 30), ("MB", 20), ("KB", 10))
    unit, at = next((one for one in sizes if number >= 1 << one[1]), sizes[-1])
    shown = number / (1 << at)
    return f"{shown:.1f} {unit}" if shown < 10 else f"{shown:,.0f} {unit}"


def command_text(argv: list[str]) -> str:
    """A command as one line, its program without its directory."""
    if not argv:
        return "?"
    return plain(" ".join([argv[0].rpartition("/")[2] or argv[0], *argv[1:]]))
