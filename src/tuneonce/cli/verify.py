"""``tuneonce verify``: read every record and report those that are not whole."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from ._common import add_json_option, add_store_option, base_text, frozen_of, open_store_of

if TYPE_CHECKING:
    from ..inspect.freezing import Comparison
    from ..inspect.upkeep import Verification


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this command to the command line."""
    parser = commands.add_parser(
        "verify",
        help="read every record and report those that are not whole",
        description="Reads every record, checks that it is whole, fits its schema and stands where "
        "its key belongs. Exit code 1 if one does not, or if a frozen winner is not the "
        "store's.",
    )
    parser.add_argument("--set-aside", action="store_true", help="move such records away")
    parser.add_argument(
        "--frozen",
        metavar="FILE",
        help="also compare the winners with those that `tuneonce freeze` has written there",
    )
    add_store_option(parser)
    add_json_option(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Verify the store."""
    from ..inspect.freezing import compare
    from ..inspect.upkeep import verify
    from ._render import print_json

    frozen = None if args.frozen is None else frozen_of(args.frozen)
    comparison: Comparison | None = None
    with open_store_of(args) as store:
        found = verify(store, set_aside=args.set_aside)
        if frozen is not None:
            comparison = compare(store, frozen, file=args.frozen)
    if args.json:
        import msgspec

        print_json({**msgspec.to_builtins(found), "frozen": comparison})
    else:
        _draw(found, set_aside=args.set_aside)
        if comparison is not None:
            _draw_comparison(comparison)
    return 1 if found.bad or (comparison is not None and not comparison.well) else 0


def _draw(found: Verification, *, set_aside: bool) -> None:
    from ._render import console, count, plain

    out = console()
    for bad in found.bad:
        detail = f" ({plain(bad.detail)})" if bad.detail else ""
        moved = ("set aside: " if bad.set_aside else "left in place: ") if set_aside else ""
        out.print(
            f"{moved}{plain(bad.name)}: {plain(bad.reason)}{detail}", style="red", soft_wrap=True
        )
    for name in found.unknown:
        out.print(
            f"not known to this version, left alone: {plain(name)}", style="dim", soft_wrap=True
        )
    out.print(
        f"{count(found.verdicts, 'verdict')}, {count(found.measurements, 'loose measurement')}, "
        f"{count(found.variants, 'list')} of compiled variants "
        f"and {count(found.wanted, 'key')} to be measured "
        f"are whole, {count(len(found.bad), 'record')} not, in {plain(found.location)}"
        f"{base_text(found.base)}",
        soft_wrap=True,
    )
    if found.profiles:
        parts = count(found.profiles, "part")
        out.print(f"{parts} of profiles {'is' if found.profiles == 1 else 'are'} whole, too.")
    if found.bad and not set_aside:
        out.print("`tuneonce verify --set-aside` moves them away; their keys are tuned again.")


def _draw_comparison(found: Comparison) -> None:
    from ..model.wording import programs_text
    from ._render import console, count, plain

    out = console()
    for one in (*found.missing, *found.different):
        stored = "nothing" if one.stored is None else one.stored
        out.print(
            f"frozen: {plain(one.kernel)} {plain(one.tuning)}, {programs_text(one.work_class)}, "
            f"{plain(one.world)}: {plain(one.frozen)}; the store says {plain(stored)}",
            style="red",
            soft_wrap=True,
        )
    beside = f"; {count(found.beside, 'winner')} of the store are not frozen" * bool(found.beside)
    out.print(
        f"{found.equal} of {count(found.winners, 'frozen winner')} (digest {found.sha256[:12]}) "
        f"are the store's, {len(found.missing)} missing, {len(found.different)} different{beside}",
        soft_wrap=True,
    )
