"""Candidates of one key, compiled and loaded one after the other, while its launches go on.

Nobody waits for them, and a launch is hardly held up: the code of one candidate is generated at a
time, a fifth of a millisecond at a time (`system.slices`), other processes compile it, and its
module is loaded before a launch can find it. A candidate
that cannot be compiled elsewhere is not compiled at all: it would have to be done in this process,
under the interpreter's lock.
"""

from __future__ import annotations

import enum
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...system.slices import REST_S, in_slices
from ..kernel import captures
from ..kernel.identity import innermost
from ..kernel.session import Session
from ..kernel.wrappers import honours_warmup
from ..seams import compiled, digests, drivers, errors, kernels, probing, wrappers
from ..seams.seam import Feature
from .compilations import Requested, collect
from .compile_errors import is_passed_over
from .helper_process import HelperLost
from .listener import trial
from .pool import Crashed, NotCompiled
from .shipment import NotShippable, Presence, presence_of, shipment_for
from .workers import Workers

logger = logging.getLogger("tuneonce")


class Arrival(enum.Enum):
    """What became of a candidate."""

    LOADED = "loaded"
    """It can be launched, and nothing is compiled or loaded then."""
    FAILED = "failed"
    """It cannot run."""
    MISSING = "missing"
    """It cannot be had in this way."""


Arrived = tuple[int, Arrival, str]
"""Position, what became of it, and why."""


class Supply:
    """The candidates at `positions`, in that order. For one thread, that is no launch's.

    `session` holds none of the caller's tensors. `device` is the one that launches are on. `wake()`
    is called, in any thread, when a compilation has come back.
    """

    def __init__(
        self,
        session: Session,
        workers: Workers,
        positions: Sequence[int],
        *,
        device: Any,
        wake: Callable[[], Any],
    ) -> None:
        self._session, self._workers, self._device, self._wake = session, workers, device, wake
        self._unseen = deque(positions)
        """Those that the kernel may have loaded already, as of another work class of the key."""
        self._waiting = deque[int]()
        self._running: dict[Any, tuple[Requested, list[int]]] = {}

    @property
    def may_begin(self) -> bool:
        """Whether there is something to look at, or the next candidate's code is wanted."""
        if self._unseen:
            return True
        return bool(self._waiting) and len(self._running) <= self._workers.most

    def add(self, positions: Sequence[int]) -> None:
        """More candidates, after those that were asked for."""
        self._unseen.extend(positions)

    @property
    def empty(self) -> bool:
        return not self._unseen and not self._waiting and not self._running

    @property
    def may_settle(self) -> bool:
        """Whether a compilation has come back."""
        return any(future.done() for future in self._running)

    def begin(self) -> Iterator[Arrived]:
        """Look for the next candidate in the kernel; when all are looked for, generate the code of
        the next and have it compiled, or load what is there."""
        if self._unseen:
            position = self._unseen.popleft()
            if self._is_loaded(position):
                yield position, Arrival.LOADED, ""
            else:
                self._waiting.append(position)
            return
        position = self._waiting.popleft()
        try:
            requested = self._request(position)
        except Exception as error:
            yield self._not_had(position, error)
            return
        if requested is None:
            yield self._load(position)
            return
        self._running.setdefault(requested.compilation.future, (requested, []))[1].append(position)
        requested.compilation.future.add_done_callback(lambda future: self._wake())

    def settled(self) -> Iterator[Arrived]:
        """Candidates whose compilation has come back."""
        for future in [future for future in self._running if future.done()]:
            requested, positions = self._running.pop(future)
            try:
                collect(requested, self._workers)
            except Exception as error:
                yield from (self._not_had(position, error) for position in positions)
            else:
                yield from map(self._load, positions)

    def close(self) -> Iterator[int]:
        """Ask for no more; those that do not come."""
        running, self._running = self._running, {}
        self._workers.drop(running)
        yield from (*self._unseen, *self._waiting)
        self._unseen.clear()
        self._waiting.clear()
        for _, positions in running.values():
            yield from positions

    def _is_loaded(self, position: int) -> bool:
        """Whether a launch of it has nothing to compile and nothing to load. That is found out in
        half a millisecond, or a few where it must be done in slices; so it rests and asks at once.
        """
        if self._session.interpreted:
            return True
        time.sleep(REST_S)
        drivers.use_device(self._device)
        presence = presence_of(self._session, self._session.candidates[position])
        return presence is Presence.IN_MEMORY

    def _request(self, position: int) -> Requested | None:
        """None: there is nothing to compile. Raises NotShippable, and what Triton raises."""
        session, config = self._session, self._session.candidates[position]
        if session.interpreted:
            return None
        with self._workers.turns.piece(), in_slices():
            pool = self._workers.pool()
            if pool is None:
                if has_binary(session, config):
                    return None
                raise NotShippable("there is no other process to compile it")
            shipment = self._workers.shipment(session, config, tuning=False)
        if shipment is None:
            return None
        if shipment.variant is not None:
            session.variants[position] = shipment.variant
        compilation = self._workers.compile(pool, shipment, urgent=False)
        return None if compilation is None else Requested(shipment, compilation)

    def _load(self, position: int) -> Arrived:
        config = self._session.candidates[position]
        try:
            with in_slices():
                load(self._session, config, self._device)
        except Exception as error:
            return self._not_had(position, error)
        return position, Arrival.LOADED, ""

    def _not_had(self, position: int, error: Exception) -> Arrived:
        text = f"{type(error).__name__}: {error}"
        if isinstance(error, HelperLost):
            self._workers.lost(error)
        elif isinstance(error, NotCompiled):
            names = {kind.__name__ for kind in errors.passed_over()}
            if isinstance(error, Crashed) or error.kind in names:
                return position, Arrival.FAILED, text
        elif is_passed_over(error):
            return position, Arrival.FAILED, text
        logger.debug("tuneonce: a candidate is not explored: %s", text, exc_info=error)
        return position, Arrival.MISSING, text


def has_binary(session: Session, config: Any) -> bool:
    """Whether a launch of this candidate has nothing to compile. Generates no code.

    Raises NotShippable where that is not known, and what Triton raises where it cannot begin.
    """
    if config.pre_hook is not None:  # it would have to be called first
        raise NotShippable("a hook may set what the kernel reads")
    shipment = shipment_for(session, config, on_its_way=lambda binary: True, tuning=False)
    return shipment is None or shipment.is_in_cache


def load(session: Session, config: Any, device: Any) -> None:
    """Load a candidate whose binary is there, so that a launch of it does nothing but launch.

    Raises NotShippable where what is launched is unknown, and what the launch would raise.
    """
    autotuner = session.autotuner
    kernel = innermost(autotuner.fn)
    if kernels.is_interpreted(kernel):
        return
    if probing.missing(Feature.WARM) or not honours_warmup(autotuner.fn):
        raise NotShippable("what is launched may not only be warmed up")
    captures.stand_aside()
    drivers.use_device(device)
    given: dict[Any, Any] = {}

    def apart(fn: Any) -> Any:
        wrapper = wrappers.over_another(fn, apart)
        if wrapper is not None:
            return wrapper
        if not kernels.is_tritons_kernel(fn) or not digests.unchanged(fn):
            raise NotShippable("the launch will say what is wrong")
        twin, variants = compiled.apart(fn, device)
        given["variants"] = variants
        return twin

    wanted = {**session.kwargs, "warmup": True, **config.all_kwargs()}
    with trial():
        apart(autotuner.fn).run(*session.args, **wanted)
    for variant in given["variants"].values():
        if compiled.is_compiled(variant):
            compiled.load(variant)
    compiled.give(kernel, device, given["variants"])
