"""What the commands say of the remote: what is set (`env`), and what is found there (`doctor`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from ..errors import SettingsError, StoreError

if TYPE_CHECKING:
    from ..replica.courier import Delivery
    from ..replica.look import Looked
    from ._checks import Verdict

LIMIT_S = 15.0
"""A look that is not done by then is ended. Arbitrary; a server that does not answer is given up by
its client after 3 to 10 s, and the rest is for counting."""


class RemotePlace(msgspec.Struct, frozen=True):
    """What machines share, by its address without credentials; where that is wrong, `error` is all
    there is. `extra` is what brings the client, None where none is needed; `used` is why a program
    started here would not use the remote, or ""."""

    url: str = ""
    readonly: bool = False
    extra: str | None = None
    installed: bool = True
    used: bool = True
    why_not: str = ""
    error: str | None = None


def remote_address(environ: Mapping[str, str]) -> str:
    """The address that is set, with credentials; "" where there is none."""
    return environ.get("TUNEONCE_REMOTE", "").strip()


def describe_remote(
    environ: Mapping[str, str], *, keeps: bool, writable: bool, deterministic: bool
) -> RemotePlace | None:
    """The remote that is set, if one is. `keeps`: the store keeps something on a disk; `writable`:
    this user may write there.

    Asks nobody, and imports no client.
    """
    from ..replica import read_address

    url = remote_address(environ)
    if not url:
        return None
    try:
        address = read_address(url)
    except SettingsError as error:
        return RemotePlace(error=str(error))
    why_not = ""
    if deterministic:
        why_not = "a deterministic start asks none (TUNEONCE_DETERMINISTIC)"
    elif not keeps:
        why_not = "the store keeps nothing on disk"
    elif not writable:
        why_not = "nothing can be pulled into a store that cannot be written"
    client = address.client
    return RemotePlace(
        url=address.shown,
        readonly=address.readonly,
        extra=address.extra,
        installed=client is None or importlib.util.find_spec(client) is not None,
        used=not why_not,
        why_not=why_not,
    )


def remote_text(place: RemotePlace) -> str:
    """What is set, in a sentence."""
    if place.error is not None:
        return f"{place.error} (from TUNEONCE_REMOTE)"
    words = ["read-only" if place.readonly else "read and written"]
    if place.extra is not None:
        words.append(f"extra `{place.extra}`{'' if place.installed else ' is not installed'}")
    if not place.used:
        words.append(f"not used: {place.why_not}")
    return f"{place.url} (from TUNEONCE_REMOTE): {', '.join(words)}"


def look_at(environ: Mapping[str, str], store: str, *, limit_s: float = LIMIT_S) -> Delivery | str:
    """What is found at the remote that is set, beside a store, or why nothing is. Waits no longer
    than `limit_s`, in seconds."""
    from ..replica.courier import send

    url = remote_address(environ)
    try:
        return send("look", store, url, tell=lambda step: None, environ=environ, whole_s=limit_s)
    except (StoreError, SettingsError) as error:
        return str(error)


def found_texts(place: RemotePlace, found: Looked, note: str) -> Iterator[tuple[Verdict, str]]:
    """What was found, in sentences, each with the verdict of a `Check`."""
    there = f"{found.records:,} {'record' if found.records == 1 else 'records'} on "
    there += f"{found.shelves:,} {'shelf' if found.shelves == 1 else 'shelves'}"
    if not found.is_whole:
        there = f"more than {there}, not all counted"
    words = [there, f"{found.lacks:,} that this store lacks"]
    if found.others:
        words.append(f"{found.others:,} of which it has another one")
    words.append(f"{found.beyond:,} of this store that are not there")
    verdict: Verdict
    if found.writes is False and place.readonly:
        writing, verdict = "read-only, as the address says", "ok"
    elif found.writes is False:
        # To pull is use enough, if there is something to pull.
        writing, verdict = "not writable", "note" if found.records else "wrong"
    elif found.writes is None:
        writing, verdict = "empty; the first push tells whether it can be written", "ok"
    else:
        writing, verdict = "writable", "ok"
    milliseconds = 1000 * found.round_trip_s
    answers = f"in {milliseconds:.1f} ms" if milliseconds >= 0.1 else "in less than 0.1 ms"
    text = f"{place.url}: answers {answers}, {writing}; {', '.join(words)}"
    if verdict != "ok":
        text += f" ({found.refusal})"
    yield verdict, text
    if note:
        yield "note", f"{place.url}: {note}"
    if found.unreadable:
        what = f"{found.unreadable:,} of its packs or records cannot be read"
        yield "wrong", f"{place.url}: {what} ({found.problems[0]})"
