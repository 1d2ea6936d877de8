"""What the commands that carry records from one place to another have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import SettingsError, UsageError
from ._common import check_is_there

if TYPE_CHECKING:
    from rich.console import Console

    from ..inspect.landing import Conflict, Landed, Side
    from ..store import Store


def opened(address: str, *, must_be_there: bool = True) -> Store:
    """The store at an address, and nothing beside it: measurements in journals are not carried.

    Raises UsageError and StoreUnavailable as `_common.open_store_of`.
    """
    from ..store import open_store

    if not address.strip():
        raise UsageError("the address of a store is empty")
    try:
        store = open_store(address)
    except SettingsError as error:
        raise UsageError(str(error)) from error
    if must_be_there or store.describe().kind == "memory":
        check_is_there(store)
    return store


def draw_landed(out: Console, what: str, did: Landed, *, dry_run: bool) -> None:
    """Say what came of the records that `what` names."""
    from ._render import count, plain

    for problem in did.problems:
        out.print(f"problem: {plain(problem)}", style="red", soft_wrap=True)
    for one in did.winners:
        out.print(_conflict(one), soft_wrap=True)
    if did.conflicts:
        more = did.winners_differ - len(did.winners)
        told = f" ({more} of them not shown)" if more else ""
        out.print(
            f"{count(did.conflicts, 'key')} had several verdicts, of which the best stays; "
            f"{did.winners_differ} with different winners{told}",
            soft_wrap=True,
        )
    words = [
        f"{count(did.new, 'record')} new there",
        f"{did.known} there already",
        *_if(did.replaced, "in the place of one that says less"),
        *_if(did.kept, "of which the one there stays"),
        *_if(did.unusable, "not taken"),
        *_if(did.unknown, "of another version or kind, left out"),
    ]
    nothing = "; nothing was written" if dry_run else ""
    out.print(f"{plain(what)}: {', '.join(words)}{nothing}", soft_wrap=True)


def _if(number: int, what: str) -> list[str]:
    return [f"{number} {what}"] if number else []


def _conflict(one: Conflict) -> str:
    from ..model.wording import programs_text
    from ._render import plain

    place = f"{one.kernel} {one.key}, {programs_text(one.work_class)}, {one.world}"
    others = " and over ".join(map(_side, one.others))
    return plain(f"{place}: {_side(one.stays)} stays, over {others}: {one.because}")


def _side(side: Side) -> str:
    from ._render import seconds

    time = "" if side.winner_ms is None else f" ({seconds(side.winner_ms)} ms)"
    return f"{side.winner}{time} of {side.source}"
