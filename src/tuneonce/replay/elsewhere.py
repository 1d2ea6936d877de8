"""Whether starts on other machines needed something that the first starts here can make ready."""

from __future__ import annotations

from collections.abc import Callable

from ..resolution.profiles import Profiles
from ..system.patience import Patience
from ..triton.kernel import device_facts

Read = Callable[[Callable[[float], object]], None]
"""Makes a call that reads from the store, within the seconds that it is given."""


class Elsewhere:
    """What machines share of one program's profile.

    `await_pulled` waits, for a moment at most, until what machines share has come; None: it comes
    from nowhere, and what is in the store is all that there is.
    """

    def __init__(self, profiles: Profiles, await_pulled: Callable[[], object] | None) -> None:
        self._profiles, self._await_pulled = profiles, await_pulled
        self._is_there = False

    def world(self, patience: Patience, read: Read, *, waits: bool) -> str | None:
        """The folder of the current device's world, if it may be of use to ask for it.

        The device is asked for, which may initialise it, only where something is shared. Called by
        a thread that launches, or makes ready, since each has a current device of its own.
        """
        if waits and self._await_pulled is not None:
            with patience.waiting():
                self._await_pulled()
        read(self._look)
        if not self._is_there:
            return None
        try:
            return device_facts.current_world(interpreted=False).folder
        except Exception:  # no device: nothing was launched, and nothing will be
            return None

    def _look(self, within_s: float) -> None:
        self._is_there = self._profiles.has_shared(within_s)
