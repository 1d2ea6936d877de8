"""The parts of one process, put together when the program's Triton is there.

Imported only then: this is where everything else is imported.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from ..addresses import without_password
from ..errors import StoreError
from ..events.log import EventLog
from ..events.progress import Progress
from ..events.totals import Live
from ..phase import Phases
from ..replay.process import build_replay
from ..replay.store_limit import StoreLimit
from ..resolution.deterministic import DeterministicResolver
from ..resolution.frozen import FrozenResolver
from ..resolution.journal import FOLDER, Journals
from ..settings import Mode, Settings, binaries_folder, read
from ..store import Store, open_base, open_with_older
from ..store.bounded import READ_S, BoundedStore
from ..store.layered import LayeredStore
from ..store.readonly import ReadOnlyStore
from ..store.telling import TellingStore
from ..system.claims import Claims
from ..system.cpus import users_directory
from ..system.threads import BoundedCalls, Overdue
from ..triton.compile.workers import build_workers
from ..triton.launch.hook import Hook
from ..triton.launch.observer import Observer
from ..triton.launch.persistence import Persistence
from .imports import server
from .remote import build_link

logger = logging.getLogger("tuneonce")


def put_together(module: Any, installation: Any, log: Callable[..., None]) -> None:
    """Build what the settings ask for, and put the hook into Triton's autotuner, `module`.

    `installation` gets the parts. `log(text, *values)` writes a line for people.
    """
    settings = installation.settings = read(installation.environ, server=server())
    store = without_password(settings.store)
    installation.phases = Phases()
    installation.live = Live(lambda: log("on, store %s%s", store, installation.fixed()))
    installation.events = EventLog(
        settings.events,
        mode=settings.mode.value,
        store=store,
        run=os.environ.get("TUNEONCE_RUN") or None,
        listener=installation.live,
    )
    if settings.mode is Mode.OBSERVE:
        installation.hook = Observer(module, installation.events)
    else:
        installation.hook = _hook(module, installation, settings)
    installation.hook.install()


def _hook(module: Any, installation: Any, settings: Settings) -> Hook:
    events, policies = installation.events, settings.policies
    inner = open_with_older(settings.store, settings.older)
    answers: Callable[..., Any] = FrozenResolver
    warmed = settings.warm
    if policies.deterministic:  # nothing is kept, whatever asks for it
        inner, answers = ReadOnlyStore(inner), DeterministicResolver
        warmed = replace(warmed, recorded=False)
    claims = None if policies.deterministic else _claims()
    remote = installation.remote = build_link(settings, installation.environ, claims, events)
    if remote is not None:
        inner = TellingStore(inner, remote.kept)
    store = BoundedStore(inner, without_password(settings.store))
    journals = None
    if not policies.deterministic:
        journals = Journals(places(store, FOLDER, settings.journals))
    records = _over_base(store, settings.base, events)
    resolver = answers(
        records,
        events,
        journals=journals,
        frozen=installation.frozen,
        by_class=policies.work_classes,
    )
    persistence = Persistence(resolver, events, settings.raise_errors, BoundedCalls())
    workers = build_workers(settings.workers, events)
    store_limit = None
    # A remote would bring back what is removed.
    if settings.store_limit is not None and remote is None and not policies.deterministic:
        store_limit = StoreLimit(
            settings.store,
            settings.store_limit,
            journals=places(store, FOLDER, settings.journals),
            claims=claims,
            guarded=persistence.guarded,
        )
    installation.replay = build_replay(
        resolver,
        workers,
        persistence,
        installation.phases,
        warmed,
        start=os.environ.get("TUNEONCE_START", ""),
        places=places(store, binaries_folder(), settings.binaries),
        store_limit=store_limit,
        # Not of a program that wants no profile; a deterministic start reads, and records nothing.
        shared=settings.warm.recorded,
        await_pulled=None if remote is None else remote.await_all,
    )
    if installation.says_ready:
        installation.replay.await_ready()
    # What is registered last is called first.
    if remote is not None:
        atexit.register(remote.close)
        atexit.register(remote.finish)
        with persistence.guarded("begin_remote"):
            remote.begin()
    atexit.register(persistence.finish)
    replay = installation.replay
    atexit.register(lambda: replay.end(is_server=server() is not None))
    replay.begin()
    return Hook(
        module,
        persistence,
        workers,
        progress=Progress(on=settings.progress, raise_errors=settings.raise_errors),
        recheck=settings.recheck,
        journals=journals,
        phases=installation.phases,
        policies=policies,
        usage=replay.recorder,
        claims=claims,
        apart=settings.apart,
        remote=remote,
    )


def _over_base(store: Store, base: str | None, events: EventLog) -> Store:
    """The records of a store and, under them, those of a base. One that fails is told of once."""
    if base is None:
        return store

    def tell(error: Exception) -> None:
        events.emit("problem", what="base_failed", detail=f"{base}: {error}")
        logger.warning("tuneonce: %s; going on without the base (TUNEONCE_BASE)", error)

    try:
        lower = BoundedCalls()(lambda: open_base(base), READ_S)
    except (StoreError, Overdue) as error:
        tell(error)
        return store
    # Bounded by itself: a base that does not answer leaves the store as it is.
    return LayeredStore(store, BoundedStore(lower, base), base=base, tell=tell)


def _claims() -> Claims | None:
    """What the processes of this user share on this machine, where they can."""
    directory = users_directory("claims")
    return None if directory is None else Claims(directory)


def places(store: Any, folder: str, near: Path | None) -> Callable[[], list[Path]]:
    """Where a folder may be: beside the records, where another container finds it too, or near.

    Nowhere for a store that keeps nothing, or not in files.
    """

    @cache
    def beside() -> list[Path]:
        info = store.describe()
        kept = info.kind == "files" and info.writable
        return [Path(info.location, folder)] if kept else []

    def found() -> list[Path]:
        first = [] if store.is_silent or store.is_far else beside()
        # Near, too, for what was left there by a process for which the store was far.
        return [*first, near] if near is not None and (first or store.is_far) else first

    return found
