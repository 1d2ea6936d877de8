"""What a forked child must have anew: a lock that another thread held would never be free there."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Generic, Protocol, TypeVar, overload

T = TypeVar("T")


class Renewable(Protocol):
    """Something that holds locks, or what else belongs to one process."""

    def renew(self) -> None:
        """Begin anew: called in the child, in the only thread that there is."""


_renewables: weakref.WeakSet[Renewable] = weakref.WeakSet()


def renew_in_child(one: Renewable) -> None:
    """Call `one.renew()` in every child that is forked from now on, while it lives."""
    _renewables.add(one)


def _renew() -> None:
    for one in list(_renewables):
        one.renew()


os.register_at_fork(after_in_child=_renew)


class lazy(Generic[T]):  # noqa: N801
    """`functools.cached_property` without its lock, which up to Python 3.11 outlives a fork.

    Two threads may compute a value twice, so it must be the same.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute = compute
        self.__doc__ = compute.__doc__

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> lazy[T]: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> T: ...
    def __get__(self, instance: object | None, owner: type | None = None) -> Any:
        if instance is None:
            return self
        value = instance.__dict__[self._name] = self._compute(instance)
        return value
