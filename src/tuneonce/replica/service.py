"""What a courier does for a program while that runs: pull, then claim keys, push and listen.

First all that is shared is pulled, shelf by shelf, those that are wished for first. Then each
`Wish` is granted as it comes, and what the remote lacks is pushed in between. A record of the store
is not replaced before the program has ended: all its processes are to find the same.

Claims that are held are renewed. Where another machine has one, what is new on its shelf is
listened for, and pulled. A remote that fails is given up, and the program hears of it.
"""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Iterator

import msgspec

from ..errors import StoreError, StoreFull, StoreReadOnly
from ..store.base import Store
from .base import Entry, Page, Replica
from .exchange import PART, Pulled, Pushed, adopt, pages, push_names, shelves, take_page
from .shared import shelf_of
from .wishes import Said, Turn, Wish

CLAIM_S = 30.0
"""A claim that is not renewed for so long is free. Arbitrary: nobody waits for its end, since who
meets the key measures it once all is compiled; it only keeps others from measuring it in vain."""

# So long a listener waits for news at once. Arbitrary: it costs one request.
_LISTEN_S = 5.0

REST_S = 60.0
"""A courier that has nothing to do for so long ends, and is started again when it has. Arbitrary:
a start meets its keys one after the other, and a server that serves meets few."""


class News(msgspec.Struct, frozen=True):
    """What a listener heard of a shelf: that something came, or why it cannot listen."""

    shelf: str
    error: StoreError | None = None


Wishes = queue.SimpleQueue["Wish | News | None"]
"""None: the program has ended, and what it wished for is still done."""


class Service:
    """Between a store and a replica, for one program. `owner` is who claims."""

    def __init__(
        self,
        store: Store,
        replica: Replica,
        wishes: Wishes,
        say: Callable[[Said], None],
        *,
        owner: str,
        listen: Callable[[str, str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store, self._replica, self._wishes, self._say = store, replica, wishes, say
        self._owner, self._listen, self._clock = owner, listen, clock
        self._later: list[Wish | News | None] = []
        self._cursors: dict[str, str] = {}
        self._held: dict[str, str] = {}  # names of records, with their shelves
        self._awaited: dict[str, str] = {}
        self._listening: set[str] = set()
        self._parts: Iterator[tuple[str, list[str]]] = iter(())
        self._put_off: dict[str, bytes] = {}
        self._renewal = 0.0
        self._writes = True

    def pull(self) -> None:
        """Pull all that is shared. Raises StoreError where the replica fails."""
        pulled = self._pull_all()
        self._say(Said("pulled", records=pulled.new + pulled.adopted))
        note = self._replica.describe().note
        for text in [*pulled.problems, *([note] if note else [])]:
            self._say(Said("note", message=text))

    def run(self, *, pushes: bool = True) -> None:
        """Do what is wished for until the program has ended, or has wished for nothing for long.

        With `pushes` all that the replica lacks is pushed besides, a part at a time while there is
        no wish. Raises StoreError where the replica fails.
        """
        self._parts = self._all_parts() if pushes else iter(())
        while (wish := self._next()) is not None:
            self._grant(wish)
        for name in list(self._held):
            self._give_up(name)
        for shelf, names in self._parts:
            self._push({shelf: names})
        for name, data in self._put_off.items():
            adopt(self._store, name, data)

    def _all_parts(self) -> Iterator[tuple[str, list[str]]]:
        """All that is to be shared, by shelf, in parts that a push looks at in one go."""
        for shelf, names in sorted(shelves(self._store).items()):
            for at in range(0, len(names), PART):
                yield shelf, names[at : at + PART]

    # -- what came -------------------------------------------------------------------------------

    def _pull_all(self) -> Pulled:
        done, left = Pulled(), self._replica.shelves()
        while left:
            left.insert(0, left.pop(self._wished_first(left)))
            before = done.new + done.adopted
            self._pull(left[0], done)
            self._say(Said("pulled", left[0], records=done.new + done.adopted - before))
            del left[0]
        return done

    def _wished_first(self, left: list[str]) -> int:
        """The place of the shelf that is pulled next. Other wishes are kept for later."""
        first = 0
        while not self._wishes.empty():
            wish = self._wishes.get()
            if not isinstance(wish, Wish) or wish.do != "shelf":
                self._later.append(wish)
            elif wish.name in left:
                first = left.index(wish.name)
        return first

    def _pull(self, shelf: str, done: Pulled) -> None:
        for page in pages(self._replica, shelf, self._cursors.get(shelf, "")):
            for entry in take_page(self._store, shelf, page, done, put_off=self._put_off):
                self._awaited.pop(entry.name, None)
            self._cursors[shelf] = page.cursor

    # -- wishes ----------------------------------------------------------------------------------

    def _next(self) -> Wish | News | None:
        """The next thing to do; renews claims while there is none. None: it is over."""
        if self._later:
            return self._later.pop(0)
        while True:
            if self._wishes.empty() and (part := next(self._parts, None)) is not None:
                self._push({part[0]: part[1]})
                continue
            pause = max(0.0, self._renewal - self._clock()) if self._held else REST_S
            try:
                return self._wishes.get(timeout=pause)
            except queue.Empty:
                if self._held:
                    self._renew()
                elif not self._awaited and not self._put_off:  # which waits for the program's end
                    self._say(Said("rests"))
                    return None

    def _grant(self, wish: Wish | News) -> None:
        if isinstance(wish, News):
            self._hear(wish)
        elif wish.do == "claim":
            self._claim(wish.name)
        elif wish.do == "kept":
            self._keep(wish.name)
        elif wish.do == "give_up":
            self._awaited.pop(wish.name, None)
            self._give_up(wish.name)
        elif wish.do == "finish":
            self._say(Said("finished", wish.name))

    def _claim(self, name: str) -> None:
        shelf = shelf_of(name)
        if shelf is None:
            return
        try:
            claimed = self._replica.claim(shelf, name, self._owner, CLAIM_S)
        except (StoreReadOnly, StoreFull):
            # It may know the record by now, and cannot say who measures it.
            if shelf in self._cursors:
                self._pull(shelf, Pulled())
            known = self._store.get(name) is not None
            self._say(Said("turn", name, Turn.KNOWN if known else Turn.OURS))
            return
        turn = Turn.OURS if claimed.ours else Turn.THEIRS
        if claimed.ours:
            if not self._held:
                self._renewal = self._clock() + CLAIM_S / 3
            self._held[name] = shelf
        elif claimed.data is not None:
            page = Page([Entry(name, claimed.data)], "")
            for _ in take_page(self._store, shelf, page, Pulled(), put_off=self._put_off):
                turn = Turn.KNOWN
        else:
            self._awaited[name] = shelf
            self._ask_for_news(shelf)
        self._say(Said("turn", name, turn))

    def _keep(self, name: str) -> None:
        """Push a record, and with it all that were kept meanwhile."""
        names = {name}
        while not self._wishes.empty():
            wish = self._wishes.get()
            if isinstance(wish, Wish) and wish.do == "kept" and not self._later:
                names.add(wish.name)
            else:
                self._later.append(wish)
        by_shelf: dict[str, list[str]] = {}
        for one in sorted(names):
            if (shelf := shelf_of(one)) is not None:
                by_shelf.setdefault(shelf, []).append(one)
        self._push(by_shelf)
        for one in names:
            self._give_up(one)

    def _push(self, by_shelf: dict[str, list[str]]) -> None:
        done = Pushed()
        for shelf, names in sorted(by_shelf.items()):
            if not self._writes:
                return
            try:
                for _ in push_names(self._store, self._replica, shelf, names, done):
                    pass
            except (StoreReadOnly, StoreFull) as error:  # what is there can still be read
                self._writes = False
                self._say(Said("note", message=str(error)))
        for problem in done.problems:
            self._say(Said("note", message=problem))
        if done.new or done.replaced:
            self._say(Said("pushed", records=done.new + done.replaced))

    # -- claims ----------------------------------------------------------------------------------

    def _renew(self) -> None:
        for name, shelf in list(self._held.items()):
            if not self._replica.renew(shelf, name, self._owner, CLAIM_S):
                del self._held[name]
        self._renewal = self._clock() + CLAIM_S / 3

    def _give_up(self, name: str) -> None:
        shelf = self._held.pop(name, None)
        if shelf is not None:
            self._replica.give_up(shelf, name, self._owner)

    def _ask_for_news(self, shelf: str) -> None:
        if shelf not in self._listening:
            self._listening.add(shelf)
            self._listen(shelf, self._cursors.get(shelf, ""))

    def _hear(self, news: News) -> None:
        self._listening.discard(news.shelf)
        if news.error is not None:
            raise news.error
        self._pull(news.shelf, Pulled())
        if news.shelf in self._awaited.values():
            self._ask_for_news(news.shelf)


class Listener:
    """Listens for news of shelves in a thread of its own, with a replica of its own."""

    def __init__(self, open_replica: Callable[[], Replica], heard: Callable[[News], None]) -> None:
        self._open, self._heard = open_replica, heard
        self._asked: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()
        self._runs = False

    def __call__(self, shelf: str, since: str) -> None:
        """Say, soon, that something came to a shelf, or that nothing has for a while."""
        if not self._runs:
            import threading

            self._runs = True
            threading.Thread(target=self._run, daemon=True).start()
        self._asked.put((shelf, since))

    def _run(self) -> None:
        try:
            replica = self._open()
        except StoreError as error:
            self._heard(News("", error))
            return
        with replica:
            while True:
                shelf, since = self._asked.get()
                try:
                    replica.await_news(shelf, since, _LISTEN_S)
                except StoreError as error:
                    self._heard(News(shelf, error))
                    return
                self._heard(News(shelf))
