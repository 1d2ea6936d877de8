"""What is kept for one autotuner of the program's."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from ...model.key import KernelId
from ...system.forks import renew_in_child
from ...tuning.siblings import Siblings
from .identity import NoIdentity
from .known_winners import Shapes

# Those of all autotuners, also of copies and of those that an earlier hook has met.
_states: weakref.WeakSet[AutotunerState] = weakref.WeakSet()


def forget_all() -> None:
    """Nothing is known of any autotuner's winners: the hook is gone."""
    for state in list(_states):
        state.shapes = {}
        state.classes = {}


class AutotunerState:
    """What the hook keeps for one autotuner."""

    __slots__ = (
        "__weakref__",
        "classes",
        "first_product",
        "identity",
        "lock",
        "ours",
        "shapes",
        "siblings",
        "undecided",
    )

    def __init__(self) -> None:
        # Keys and their winners by work class, by Triton's keys (`key_classes`).
        self.classes: dict[tuple[Any, ...], Any] = {}
        self.renew()
        renew_in_child(self)
        # What the store said of keys that were met in launches which decide nothing.
        self.undecided: dict[tuple[Any, ...], Any] = {}
        # The keys that were measured, and whether they ever stop; read and changed under the lock.
        self.siblings = Siblings()
        self.identity: KernelId | NoIdentity | None = None
        # Where the GPUs are of several products: that of the first launch. And what was put into
        # the autotuner's cache by us.
        self.first_product: Any = None
        self.ours: dict[tuple[Any, ...], Any] = {}
        _states.add(self)

    def renew(self) -> None:
        # A fresh one in a forked child, where the thread that tunes does not exist.
        self.lock = threading.RLock()
        # Nothing explores there, and calls learn their winners anew.
        for classes in self.classes.values():
            classes.exploring = {}
        self.shapes: Shapes = {}

    def __reduce__(self) -> tuple[type[AutotunerState], tuple[()]]:
        return AutotunerState, ()  # a deep copy of an autotuner learns for itself
