"""What `tuneonce doctor` looks at, one check after the other; changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec

from ..addresses import url_of
from ..errors import SettingsError, StoreError
from ..replica.look import Looked
from ..settings import means_no
from ..system.paths import may_write, nearest
from ._environment import Environment, describe_environment
from ._remote import found_texts, look_at, remote_text

Verdict = Literal["ok", "note", "wrong"]
"""``note``: works, and yet may not be what was expected."""

# So many keys of a store are read; arbitrary: a user who may not read one seldom may read others.
_KEYS_READ = 16
# Below this a store is full soon; arbitrary, some thousand records.
_LITTLE_SPACE = 16 << 20
# What a compiler takes, as the pool of compilers reckons.
_PROCESSES_OF_COMPILER, _BYTES_OF_COMPILER = 4, 512 << 20


class Check(msgspec.Struct, frozen=True):
    """One sentence about one thing."""

    name: str
    verdict: Verdict
    text: str


class Report(msgspec.Struct, frozen=True):
    """`well`: no check found anything wrong. `remote` is what was found there, if one is set and
    answers."""

    schema: str
    well: bool
    checks: list[Check]
    environment: Environment
    remote: Looked | None = None


def examine(environ: Mapping[str, str], *, store: str | None, probe: bool) -> Report:
    """Look at everything. `store` is the one of the command line; `probe` imports Triton."""
    found = describe_environment(environ, store=store, probe=probe)
    looked, remote_checks = _remote(found, environ)
    checks = [
        *_switch(found, environ),
        *(Check("setting", "wrong", text) for text in found.complaints),
        *_store(found),
        *_base(found),
        *remote_checks,
        *_winners(found),
        *_directories(found),
        *_triton(found),
        *_limits(found),
    ]
    well = all(check.verdict != "wrong" for check in checks)
    return Report("tuneonce.doctor/1", well, checks, found, looked)


def _switch(found: Environment, environ: Mapping[str, str]) -> Iterator[Check]:
    asked = environ.get("TUNEONCE", "").strip().lower()
    if found.mode != "off" and found.startup is None:
        text = (
            f"{found.why}, but {found.executable} reads no start-up file of tuneonce: install it "
            "there, use `tuneonce run`, or call tuneonce.install()"
        )
        yield Check("switch", "wrong", text)
    elif found.mode != "off":
        yield Check("switch", "ok", f"{found.mode} ({found.why})")
    else:
        # TUNEONCE=0 is meant to switch it off; where another variable does, it may be a surprise.
        meant = not asked or means_no(asked)
        stock = found.why.startswith("TRITON_CACHE_AUTOTUNING")
        yield Check("switch", "note" if meant and not stock else "wrong", f"off ({found.why})")


def _store(found: Environment) -> Iterator[Check]:
    place = found.store
    if place.error is not None:
        yield Check("store", "wrong", f"{place.error} (from {place.why})")
        return
    where = f"{place.url} (from {place.why})"
    if not place.readable:
        yield Check("store", "wrong", f"{where}: {place.note}")
        return
    if place.kind == "memory":
        yield Check("store", "note", f"{where}: {place.note}")
        return
    held, unread, failed = _read_some(place.url)
    if failed:
        yield Check("store", "wrong", f"{where}: {failed}")
    elif unread:
        text = f"{where}: {len(unread)} of the first {held + len(unread)} records cannot be used"
        yield Check("store", "wrong", f"{text} ({unread[0]}); `tuneonce verify` lists all")
    elif not place.writable:
        # An image's own store is only read, and that is what it is for. An empty one is no use.
        text = f"{where}: cannot be written{f', {place.note}' if place.note else ''}"
        yield Check("store", "note" if held else "wrong", text)
    else:
        note = f"; {place.note}" if place.note else ""
        yield Check("store", "note" if "every user" in note else "ok", f"{where}: writable{note}")
    free = _free(Path(place.location)) if place.kind == "files" else None
    if free is not None and free < _LITTLE_SPACE:
        yield Check("store", "wrong", f"{free >> 20} MiB are free at {place.location}")


def _base(found: Environment) -> Iterator[Check]:
    place = found.base
    if place is None:
        return
    if place.error is not None:
        yield Check("base", "wrong", place.error)
        return
    held, unread, failed = _read_some(url_of(place.directory))
    if failed:
        yield Check("base", "wrong", failed)
    elif unread:
        some = f"{len(unread)} of the first {held + len(unread)} records"
        text = f"{place.directory}: {some} cannot be used ({unread[0]})"
        yield Check("base", "wrong", text)
    elif not held:
        yield Check("base", "note", f"{place.directory} holds no results")
    else:
        yield Check("base", "ok", f"{place.directory}: read, never written")


def _read_some(url: str) -> tuple[int, list[str], str]:
    """How many records could be read, why others could not, and why no more were looked at."""
    from ..inspect.record_reader import folders
    from ..store import open_store

    held, unread = 0, []
    try:
        with open_store(url) as store:
            for folder in islice(folders(store), _KEYS_READ):
                held += len(folder.held)
                unread += [broken.problem.reason for broken in folder.broken]
    except (StoreError, SettingsError) as error:
        return held, unread, str(error)
    return held, unread, ""


def _remote(found: Environment, environ: Mapping[str, str]) -> tuple[Looked | None, list[Check]]:
    place = found.remote
    if place is None:
        return None, []
    if place.error is not None or not place.installed:
        text = remote_text(place)
        if place.error is None:
            text += f": pip install 'tuneonce[{place.extra}]'"
        return None, [Check("remote", "wrong", text)]
    # Where the store's own address is wrong, all that is there is what it lacks.
    looked = look_at(environ, "memory:" if found.store.error else found.store.url)
    unused = [] if place.used else [Check("remote", "note", f"not used: {place.why_not}")]
    if isinstance(looked, str):
        return None, [Check("remote", "wrong", looked), *unused]
    assert isinstance(looked.did, Looked)
    told = [Check("remote", *text) for text in found_texts(place, looked.did, looked.note)]
    return looked.did, [*told, *unused]


def _winners(found: Environment) -> Iterator[Check]:
    from ._environment import winners_text

    text = winners_text(found)
    if text is not None:
        broken = found.frozen is not None and found.frozen.error is not None
        yield Check("winners", "wrong" if broken else "ok", text)


def _directories(found: Environment) -> Iterator[Check]:
    if found.events is None:
        yield Check("events", "note", "none are written: `tuneonce stats` and `why` have nothing")
    else:
        # Not wrong: beside a store that is only read none can be written.
        yield _writable("events", found.events, otherwise="note")
    yield _writable("Triton's cache", found.triton_cache, otherwise="wrong")


def _writable(name: str, place: str, *, otherwise: Verdict) -> Check:
    path = Path(place)
    if not path.is_absolute():  # what is wrong with the setting
        return Check(name, "wrong", place)
    if may_write(path):
        new = "" if nearest(path) == path else "; does not exist yet"
        return Check(name, "ok", f"{place}{new}")
    return Check(name, otherwise, f"{place}: user {os.geteuid()} may not write to it")


def _free(path: Path) -> int | None:
    try:
        about = os.statvfs(nearest(path))
    except OSError:
        return None
    return about.f_bavail * about.f_frsize


def _triton(found: Environment) -> Iterator[Check]:
    from ._environment import seams_text

    seams = found.seams
    text = seams_text(seams)
    if seams.state == "no triton":
        text += f" for {found.executable}: install tuneonce beside what launches kernels"
    fits = seams.state == "found" and seams.usable
    otherwise: Verdict = "note" if fits or seams.state == "not looked" else "wrong"
    yield Check("Triton", "ok" if fits and not seams.off else otherwise, text)


def _limits(found: Environment) -> Iterator[Check]:
    from ..system.cpus import usable_cpus
    from ..system.headroom import room_for_memory, room_for_processes

    cores = usable_cpus()
    wanted = found.workers if found.workers is not None else cores
    told, short = [f"{cores} cores, up to {max(wanted, 1)} compile at once"], []
    processes, memory = room_for_processes(), room_for_memory()
    if processes is not None:
        told.append(f"{processes} more processes may be started")
        if processes < wanted * _PROCESSES_OF_COMPILER:
            short.append("processes (RLIMIT_NPROC, pids.max)")
    if memory is not None:
        told.append(f"{memory / (1 << 30):.1f} GiB of memory are left")
        if memory < (wanted + 2) * _BYTES_OF_COMPILER:
            short.append("memory (memory.max)")
    if short and wanted > 1:
        told.append(f"fewer will compile at once for want of {' and '.join(short)}")
    yield Check("limits", "note" if short and wanted > 1 else "ok", "; ".join(told))
