"""What ``tuneonce push`` and ``tuneonce pull`` have in common: they differ in a word."""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Literal

from ..errors import SettingsError, UsageError
from ._common import add_json_option, add_store_option, check_is_there, store_address
from ._numbers import above_zero

if TYPE_CHECKING:
    from ..replica.courier import Delivery

Do = Literal["push", "pull"]


def add_exchange_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of both."""
    parser.add_argument(
        "--remote",
        metavar="URL",
        help="what is shared: redis://, rediss://, s3://, gs://, az:// or file:// "
        "(default: TUNEONCE_REMOTE)",
    )
    parser.add_argument(
        "--timeout",
        metavar="SECONDS",
        type=_seconds,
        help="end after so long, done or not (default: 1800)",
    )
    add_store_option(parser)
    add_json_option(parser)


def _seconds(text: str) -> float:
    try:
        return above_zero(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None


def exchange(args: argparse.Namespace, do: Do) -> int:
    """Carry out a command; its exit code."""
    from ..replica.courier import WHOLE_S, send
    from ..store import open_store
    from ._render import print_json, progress

    remote = (os.environ.get("TUNEONCE_REMOTE", "") if args.remote is None else args.remote).strip()
    if not remote:
        raise UsageError(f"{do}: name what is shared: --remote URL, or TUNEONCE_REMOTE")
    if args.store is not None and not args.store.strip():
        raise UsageError("--store is empty")
    store = store_address(args)
    try:
        with open_store(store) as opened:
            location = opened.describe().location
            if do == "push" or opened.describe().kind == "memory":
                check_is_there(opened)
        whole_s = WHOLE_S if args.timeout is None else args.timeout
        with progress(do, silent=args.json) as tell:
            done = send(do, store, remote, tell=tell, whole_s=whole_s)
    except SettingsError as error:
        raise UsageError(str(error)) from error
    if args.json:
        import msgspec

        did = msgspec.to_builtins(done.did)
        document = {"schema": f"tuneonce.{do}/1", "store": location, "remote": done.url}
        print_json({**document, "note": done.note, **did})
    else:
        _draw(do, done, location)
    return 0


def _draw(do: Do, done: Delivery, location: str) -> None:
    from ..replica.exchange import Pulled, Pushed
    from ._render import console, count, plain

    out, did = console(), done.did
    for problem in did.problems:
        out.print(f"problem: {plain(problem)}", style="red", soft_wrap=True)
    if done.note:
        out.print(f"{plain(done.url)}: {plain(done.note)}", style="red", soft_wrap=True)
    if isinstance(did, Pushed):
        words = [
            f"{count(did.new, 'record')} new there",
            f"{did.known} there already",
            *_if(did.replaced, "in the place of one that was wrong"),
            *_if(did.others, "of which another one is there, which stays"),
            *_if(did.unusable, "not pushed"),
        ]
        places = f"{plain(location)} to {plain(done.url)}"
    else:
        assert isinstance(did, Pulled)
        words = [
            f"{count(did.new, 'record')} new here",
            f"{did.known} here already",
            *_if(did.adopted, "in the place of one of ours"),
            *_if(did.kept, "of which ours stays"),
            *_if(did.unusable, "not taken"),
        ]
        places = f"{plain(done.url)} to {plain(location)}"
    out.print(f"{do} from {places}: {', '.join(words)}", soft_wrap=True)


def _if(number: int, what: str) -> list[str]:
    return [f"{number} {what}"] if number else []
