"""Looks, at the first launch of a kernel that was made ready before it, whether it still is that.

Until its first launch a program may set what a kernel reads, and stock Triton would compile it as
it is then. So a kernel that was made ready unlaunched has a hook of ours for its first launch: if
the kernel is another by now, what was made ready is taken back, and the launch finds the kernel as
it would have been. And what Triton has written down to make it ready, the kernel's digest, is
undone when that is over: a callee may be shared with a kernel that is in no profile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from ..events.log import EventLog
from ..system.forks import renew_in_child
from ..triton.kernel.identity import Fingerprint, fingerprint
from ..triton.seams import compiled, digests, kernels, run_hooks

_OWNER = "tuneonce_owner"


class Unlaunched:
    """A kernel that the program has not launched yet, from before it is touched.

    Raises ValueError where nobody could see that it has become another.
    """

    def __init__(self, jit: Any, events: EventLog) -> None:
        found = fingerprint(jit)
        if found is None:
            raise ValueError("its code may change unnoticed")
        self._jit, self._events = jit, events
        self._was: Fingerprint = found
        self._undigested = [kernel for kernel in found.kernels if not kernels.is_digested(kernel)]
        self._before = {key for key, _ in compiled.in_memory(jit)}
        read = not found.others and all(digests.covers(one, jit) for one in found.constants)
        self.is_told_by_its_key = read
        """Whether Triton looks for another binary when anything that the kernel reads is another.

        Where it does not, what is put into its cache before the first launch would be found then,
        whatever the program has changed since.
        """
        self._globals: dict[Any, Any] = {}
        self._launched = self._changed = False
        self.renew()
        renew_in_child(self)
        self._hook = self._guard()

    def renew(self) -> None:
        self._looking = threading.Lock()

    @classmethod
    def of(cls, jit: Any, events: EventLog) -> Unlaunched:
        """The one of a kernel, which may have been touched already. Raises ValueError."""
        for hook in run_hooks.ours(jit):
            one: Unlaunched = vars(hook)[_OWNER]
            if one.is_as_it_was():
                return one
        return cls(jit, events)

    def is_as_it_was(self) -> bool:
        """Whether it can be made ready still; else all that was is taken back."""
        with self._looking:
            if not self._launched and not self._is_as_it_was():
                self._take_back()
            return not self._changed

    def give(self, call: Callable[[], Any]) -> bool:
        """Call what lets launches find a variant. False: the kernel has become another."""
        with self._looking:
            if self._changed:
                return False
            call()
            return True

    def settle(self) -> None:
        """It is touched no more for now: the program finds it undigested, as it was."""
        with self._looking:
            if self._launched or self._changed:
                return
            for kernel in self._undigested:
                self._globals.update(digests.globals_of(kernel))
                digests.forget(kernel)

    def _guard(self) -> Any:
        """Have its first launch look; others that begin meanwhile wait for that."""

        def look(*args: Any, **kwargs: Any) -> None:
            with self._looking:
                if self._launched or self._changed:
                    return
                if self._is_as_it_was():
                    digests.fix(self._jit)
                    self._launched = True
                    run_hooks.remove(self._jit, look)
                else:
                    self._take_back()

        vars(look)[_OWNER] = self
        run_hooks.add(self._jit, look)
        return look

    def _is_as_it_was(self) -> bool:
        try:
            now = fingerprint(self._jit)
            if now is None or now.digest != self._was.digest:
                return False
            if not digests.are_unchanged(self._globals):
                return False
            return all(map(digests.unchanged, self._undigested))
        except Exception:  # what a program's object does when it is compared
            return False

    def _take_back(self) -> None:
        self._changed = True
        compiled.forget(self._jit, self._before)
        for kernel in self._undigested:
            digests.forget(kernel)
        run_hooks.remove(self._jit, self._hook)
        name = getattr(self._jit, "__name__", "?")
        self._events.emit(
            "problem", what="kernel_has_changed", detail=f"{name}: since it was ready"
        )
