"""What runs under one of Triton's keys in a process that measures nothing.

A candidate is chosen by the launch and by the key's winners, which do not change: by the launch's
work class where these differ, by its constants, with which a candidate may not run, and by its
list where that is pruned. Which launches came before does not matter, so no launch takes the entry
of another that might be of another class.
"""

from __future__ import annotations

import weakref
from contextlib import suppress
from types import CodeType
from typing import Any, NamedTuple

from ...model.key import Work, work_class
from ...tuning.class_winners import ClassWinners
from ..seams import autotuners
from .call import view_of
from .exact_reader import (
    ExactReader,
    Needs,
    constant_names,
    constants_of,
    exact_reader,
    may_be_kept,
)
from .key_classes import KeyClasses
from .known_winners import MOST_SIZES, Entry, Known, entry_for
from .sizes import Size, size_of, whole

# The size of a launch where all have one winner.
_ANY = Size(Work(None), frozenset())


class Place(NamedTuple):
    """What a launch's candidate depends on, beside its key."""

    work_class: str | None
    """None where one winner is for all sizes."""
    constants: tuple[Any, ...]
    candidates: tuple[Any, ...] | None
    """The list, where it may be another in each launch."""


class FixedClasses(KeyClasses):
    """The candidates under one key, by `Place`."""

    __slots__ = ("_constants", "_known", "_ours", "needs", "told")

    is_fixed = True

    def __init__(self, autotuner: Any, stock_key: tuple[Any, ...]) -> None:
        super().__init__(autotuner, stock_key)
        self.needs = Needs(arguments=autotuners.prunes(autotuner))
        self.told: set[Any] = set()
        """Of which lists and classes the events were told."""
        self._constants = constant_names(autotuner.fn)
        self._ours: list[Any] = []
        self._known = weakref.WeakSet[FixedKnown]()

    def know(self, of_key: ClassWinners) -> None:
        """These are its winners, over one list."""
        found = Needs(programs=of_key.differ, elements=of_key.differ_by_elements)
        needs = self.needs.and_also(found)
        if needs != self.needs:
            self.needs = needs
            for known in list(self._known):
                known.forget()

    def size(
        self,
        autotuner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        code: CodeType | None = None,
    ) -> Size:
        """How large a launch is. `code`: of grids that need not be looked at (`size_of`)."""
        return size_of(autotuner, args, kwargs, self.first, code=code)

    def place(
        self,
        autotuner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        size: Size | None = None,
    ) -> Place:
        """Where a launch's candidate is kept. Raises what the kernel's pruning function raises."""
        needs = self.needs
        if size is None and needs.programs:
            size = self.size(autotuner, args, kwargs)
        name = None
        if size is not None and needs.programs:
            programs, elements = size.work
            name = work_class(programs, elements if needs.elements else None)
        return Place(
            name,
            constants_of(autotuner, self._constants, args, kwargs),
            _list_of(autotuner, args, kwargs) if needs.arguments else None,
        )

    def entry_at(self, place: Place) -> Entry | None:
        """What runs there; None if no such launch was met."""
        entry = self.winners.get(place)
        if entry is not None and entry.config.__dict__ != entry.seen:  # the program has changed it
            entry = self.winners[place] = entry_for(self.stock_key, entry.config, self)
        return entry

    def entry_of_call(
        self, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Entry | None:
        """What such a launch runs; None if none was met."""
        return self.entry_at(self.place(autotuner, args, kwargs)) if self.winners else None

    def decide(self, name: Any, config: Any) -> None:
        if len(self.winners) >= MOST_SIZES:  # each is found again
            self.winners.clear()
        super().decide(name, config)
        if not any(config is one for one in self._ours):
            self._ours.append(config)

    def is_ours(self, found: Any) -> bool:
        if found is self._last:
            return True
        return self._crowded and any(found is config for config in self._ours)

    def new_known(self) -> Known:
        known = FixedKnown(self)
        self._known.add(known)
        return known

    def reader(
        self, autotuner: Any, read: frozenset[str] | None, args: Any, kwargs: Any
    ) -> ExactReader | None:
        return exact_reader(autotuner, self.needs, self._constants, read, args, kwargs)


class FixedKnown(Known):
    """One key of one call shape, without entries for launches that are about as large."""

    __slots__ = ("__weakref__", "_met", "_reader", "_unread")

    classes: FixedClasses

    def __init__(self, classes: FixedClasses) -> None:
        super().__init__(whole, {}, classes)
        self._reader: ExactReader | None = None
        self._met: dict[tuple[Any, ...], Entry] = {}
        """What runs by work class and constants."""
        self._unread: CodeType | None = None
        """That of a grid that may find more than can be read."""

    def forget(self) -> None:
        """More of a launch counts than was read."""
        self.size_of, self.read, self.code = whole, None, None
        self._reader = self._unread = None
        self.entries, self._met = {}, {}

    def meet(
        self, autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any], found: Any = None
    ) -> Entry | None:
        """What a launch runs that has no entry, also one that only compiles or launches nothing."""
        classes = self.classes
        if not classes.winners:
            return None
        if self._met and (entry := self._of_a_size(found, args, kwargs)) is not None:
            return entry
        size = _ANY
        if classes.needs.programs:
            code = getattr(kwargs.get("grid"), "__code__", None)
            seen = code if code is self.code or code is self._unread else None
            size = classes.size(autotuner, args, kwargs, seen)
        entry = classes.entry_at(classes.place(autotuner, args, kwargs, size))
        if entry is not None:
            self.keep(entry, size, autotuner, args, kwargs)
        return entry

    def keep(
        self,
        entry: Entry,
        size: Size,
        autotuner: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        """Have launches like this one find an entry, if all is known that tells them apart."""
        read, code = size.read, None
        if read is None:
            return
        if size is not _ANY:
            code = getattr(kwargs.get("grid"), "__code__", None)
            if code is not None and code is self._unread:
                return
        if self.read is None:
            reader = self.classes.reader(autotuner, read, args, kwargs)
            if reader is None:
                self._unread = code
                return
            self._reader, self.size_of = reader, reader.of
            self.read, self.code = read, code
        if self.code is not code or not read <= self.read:
            return
        if self.size_of is whole:
            self.entries[None] = entry
            return
        self._enter(entry, args, kwargs, may_be_kept)
        if size is not _ANY and not self.classes.needs.arguments:
            with suppress(Exception):  # another kind of grid, or of arguments
                place = self._place(self.size_of(args, kwargs), args, kwargs)
                if len(self._met) >= MOST_SIZES:
                    self._met = {}
                if place is not None:
                    self._met[place] = entry

    def _of_a_size(self, found: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry | None:
        """What a launch runs that differs in nothing but its size from one that was met."""
        try:
            place = self._place(found, args, kwargs)
            entry = None if place is None else self._met.get(place)
        except Exception:  # another kind of grid, or of arguments
            return None
        if entry is None or entry.config.__dict__ != entry.seen:
            return None
        self._remember(found, entry)
        return entry

    def _place(
        self, found: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[Any, ...] | None:
        """As `FixedClasses.place`, by what was read; None where that may not be kept."""
        reader = self._reader
        if reader is None or not may_be_kept(found):
            return None
        name = reader.class_of(found, self.classes.first, args, kwargs)
        return name, *found[: reader.constants]

    def _share(self, found: Any, entry: Entry) -> None:
        """Not with launches of about this size, which may be of another class."""


def _list_of(autotuner: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, ...]:
    """The candidates of a launch, in their order."""
    view = view_of(autotuner, dict(zip(autotuner.arg_names, args, strict=False)))
    positions = {id(config): i for i, config in enumerate(autotuner.configs)}
    pruned = autotuners.prune(view, kwargs)
    return tuple(positions.get(id(config), str(config)) for config in pruned)
