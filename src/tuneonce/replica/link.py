"""A program's side of its remote: a courier of its own, which is told and asked by lines.

No call here talks to a server, and none waits for one longer than its caller allows. The courier is
another process (`courier_process`, `service`); what it has not said yet is not known, and a courier
that fails, or has ended, is done without. What is waited for comes out of one `Patience`, so a
remote that never answers makes a start later by that and no more.

Of the processes of a machine that start together one pulls: it has a claim, which its courier
takes over. Each has a courier as soon as it has something to say.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping

from ..model.codec import digest
from ..system.claims import Claim, Claims
from ..system.forks import renew_in_child
from ..system.greenlets import patched_by
from ..system.headroom import SPARED, room_for_processes
from ..system.patience import Patience
from .channel import Channel, Ended
from .courier_process import Order
from .shared import shelf_of
from .wishes import Do, Said, Turn, Wish

PULL_S = 3.0
"""Nobody waits for what is pulled any more once so many seconds have passed since it began:
a program that has loaded a model by then never waited. Arbitrary."""

PATIENCE_S = 1.0
"""So long one process waits for its remote in all, at most."""

ANSWER_S = 0.5
"""So long one answer is waited for. Arbitrary: a claim takes one round trip to a Redis server and
two or three to an object store, which takes some 50 ms for each."""

PUSHED_WITHIN_S = 2.0
"""So long the end of a process waits until what it kept is pushed: where it ends a container, that
ends with it. Arbitrary."""

# Two looks at what another process pulls, or at what another thread has heard, in seconds.
_LOOK_S = 0.02

Tell = Callable[[Said], None]
"""Hears what the courier says that is for people: of records that came and went, and of trouble."""


class Link:
    """One program's courier between its store and its remote, both by their addresses.

    Thread-safe. A forked child has a courier of its own, if it needs one.
    """

    def __init__(
        self,
        store: str,
        remote: str,
        *,
        claims: Claims | None = None,
        tell: Tell = lambda word: None,
        environ: Mapping[str, str] | None = None,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store, self._remote, self._claims, self._tell = store, remote, claims, tell
        self._environ = dict(os.environ if environ is None else environ)
        self._patience = Patience(PATIENCE_S) if patience is None else patience
        self._clock, self._sleep = clock, sleep
        # Named by a digest: an address may hold a password.
        self._pull_claim = "pull-" + digest([store, remote], length=40)
        self._began: float | None = None
        self._is_pulled, self._gone = False, False
        self._pulled: set[str] = set()
        self._told: set[str] = set()
        self._channel: Channel | None = None
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child: the courier is the parent's. What the store has, it has."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        self._lock = threading.RLock()
        self._pulls = False
        self._waiting = 0  # threads that do
        self._turns: dict[str, Turn] = {}
        self._is_silent = False
        self._kept = 0  # since it was last said that all was pushed
        self._finished, self._finishes = 0, 0
        self.courier: int | None = None
        """The courier's process, once it has said which that is."""

    # -- what the program does -------------------------------------------------------------------

    def begin(self) -> None:
        """Have it pulled what is shared, unless another process of this machine has just begun."""
        with self._lock:
            if self._began is not None:
                return
            self._began = self._clock()
            if self._is_off():
                return
            claim = None
            if self._claims is not None:
                try:
                    claim = self._claims.take(self._pull_claim)
                except OSError:  # nowhere to claim: both pull
                    pass
                else:
                    if claim is None:
                        return
            self._pulls = True
            self._start(pulls=True, claim=claim)

    def await_pulled(self, name: str) -> bool:
        """Wait, for a moment at most, until the shelf of this record is pulled.

        True: it is, and what was not there when it was last looked at may be. Said once of a shelf.
        """
        return self._await_shelf(shelf_of(name) or "")

    def await_all(self) -> bool:
        """The same of all shelves, for who does not know yet which one it needs."""
        return self._await_shelf("")

    def _await_shelf(self, shelf: str) -> bool:
        """`shelf`: "" for all of them."""
        if shelf in self._told or self._gone:
            return False
        self.begin()
        with self._lock:  # it is wanted soon, whoever pulls
            if shelf and not self._has_pulled(shelf) and self._is_there():
                self._wish("shelf", shelf)

        def has_come() -> bool:
            return self._has_pulled(shelf) or self._nobody_pulls()

        assert self._began is not None
        most = max(0.0, self._began + PULL_S - self._clock())
        self._wait(lambda: self._gone or has_come(), most)
        if not has_come():
            return False
        self._told.add(shelf)
        return True

    def claim(self, name: str) -> Turn:
        """Whose turn it is to measure what this record will hold; ours, if nobody says so.

        Waits `ANSWER_S` for the answer, and not at all where the courier is not done with pulling,
        or has said nothing since it was last asked.
        """
        self.begin()
        self.hear()
        with self._lock:
            if self._is_busy or self._is_silent or not self._is_there():
                return Turn.OURS
            self._turns.pop(name, None)
            if not self._wish("claim", name):
                return Turn.OURS
        waited = self._wait(lambda: name in self._turns or self._channel is None, ANSWER_S)
        if name not in self._turns and waited >= ANSWER_S:
            self._is_silent = True
        return self._turns.pop(name, Turn.OURS)

    def give_up(self, name: str) -> None:
        """Nobody here measures what this record would hold, or waits for it."""
        self._wish("give_up", name)

    def kept(self, name: str) -> None:
        """A record is in the store now, which others may want."""
        if shelf_of(name) is None:
            return
        with self._lock:
            if self._is_there() and self._wish("kept", name):
                self._kept += 1

    def finish(self, seconds: float = PUSHED_WITHIN_S) -> None:
        """Wait, so long at most, until what was kept is pushed.

        Not at all for a remote that has not answered so far.
        """
        self.hear()
        with self._lock:
            if not self._kept or self._is_busy or self._is_silent:
                return
            self._finishes += 1
            number, kept = self._finishes, self._kept
            if not self._wish("finish", str(number)):
                return
        until = self._clock() + seconds
        while self._channel is not None and self._finished < number:
            left = until - self._clock()
            if left <= 0:
                return
            self._hear(left)
        self._kept -= kept

    def hear(self) -> None:
        """Tell what the courier has said meanwhile. Waits for nothing."""
        self._hear(0.0)

    def close(self) -> None:
        """The program needs no remote any more. The courier ends once it has done what it was told.

        Waits for nothing.
        """
        with self._lock:
            self._gone = True
            self._part()

    # -- the courier -----------------------------------------------------------------------------

    @property
    def _is_busy(self) -> bool:
        """Whether the courier pulls, and answers nothing else."""
        return self._pulls and not self._is_pulled

    def _is_off(self) -> bool:
        if not self._gone:
            room = room_for_processes()
            if (greenlets := patched_by()) is not None:
                self._fail(f"{greenlets} has changed how processes are started")
            elif room is not None and room < SPARED:
                self._fail(f"only {room} more processes are allowed here")
        return self._gone

    def _is_there(self) -> bool:
        """Start a courier where there is none; whether there is one."""
        if self._channel is None and not self._is_off():
            self._start(pulls=False)
        return self._channel is not None

    def _start(self, *, pulls: bool, claim: Claim | None = None) -> None:
        order = Order("attend", self._store, self._remote, pulls, pid=os.getpid())
        try:
            self._channel = Channel(order, self._environ, claim=claim)
        except (OSError, RuntimeError) as error:
            if claim is not None:
                claim.give_up()
            self._fail(f"no process can be started for the remote: {error}")

    def _wish(self, do: Do, name: str) -> bool:
        """Whether it was written: where the courier does not read, it is done without."""
        self._hear(0.0)
        with self._lock:
            try:
                return self._channel is not None and self._channel.send(Wish(do, name))
            except Ended as error:
                self._fail(str(error))
                return False

    def _has_pulled(self, shelf: str) -> bool:
        return self._is_pulled or shelf in self._pulled

    def _nobody_pulls(self) -> bool:
        """Whether another process pulled, and is done."""
        if self._pulls or self._claims is None:
            return False
        return self._claims.progress(self._pull_claim) is None

    def _wait(self, is_over: Callable[[], bool], most: float) -> float:
        """Until it is over, or patience is; returns the seconds."""
        began = self._clock()
        with self._lock:
            self._waiting += 1
            # The same seconds of several threads count once.
            patience = self._patience if self._waiting == 1 else Patience(self._patience.left)
        try:
            with patience.waiting(most) as seconds:
                while not is_over() and (left := began + seconds - self._clock()) > 0:
                    if self._channel is None:
                        self._sleep(min(left, _LOOK_S))
                    else:
                        self._hear(min(left, _LOOK_S))
        finally:
            with self._lock:
                self._waiting -= 1
        return self._clock() - began

    def _hear(self, seconds: float) -> None:
        """What the courier has said, or says within that time."""
        channel = self._channel
        if channel is None:
            return
        try:
            if not channel.poll(seconds):
                return
            with self._lock:
                if channel is self._channel:
                    for said in channel.read():
                        self._take(said)
        except Ended as error:
            with self._lock:
                if channel is self._channel:
                    self._fail(str(error))

    def _take(self, said: Said) -> None:
        self._is_silent = False
        if said.what == "begun":
            self.courier = said.records
            return
        if said.what == "pulled":
            self._pulled.add(said.name)
            self._is_pulled = self._is_pulled or not said.name
        elif said.what == "turn" and said.turn is not None:
            self._turns[said.name] = said.turn
        elif said.what == "finished":
            self._finished = int(said.name)
        elif said.what == "failed":
            self._fail(said.message)
            return
        elif said.what == "rests":
            self._part()
        self._tell(said)

    def _fail(self, why: str) -> None:
        """Go on without."""
        if not self._gone:
            self._gone = True
            self._part()
            self._tell(Said("failed", message=why))

    def _part(self) -> None:
        """The courier ends, or is to end."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
