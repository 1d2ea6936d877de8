"""Notices when a process has both a device and kernels that are tuned.

Then, and while the program is busy with other things, what its kernels will need can be compiled
(`tuneonce.triton.ahead`). Nothing here initialises a device: torch tells when the program has.
"""

from __future__ import annotations

import contextlib
import functools
import sys
from typing import Any

from .ahead import Ahead
from .source import innermost


class Watch:
    """Tells `ahead` of a device, and from then on of every kernel that is decorated."""

    def __init__(self, autotuner: Any, ahead: Ahead) -> None:
        self._class, self._ahead = autotuner, ahead
        self._stock_init: Any = None
        self._init: Any = None
        self._active = self._told = self._device = False

    def install(self) -> None:
        stock = self._stock_init = self._class.__init__

        @functools.wraps(stock)
        def init(autotuner: Any, *args: Any, **kwargs: Any) -> None:
            stock(autotuner, *args, **kwargs)
            self._decorated(autotuner)

        self._init = self._class.__init__ = init
        self._active = True
        self._ask_torch()  # kernels may be there already

    def uninstall(self) -> None:
        """Under somebody's wrapper we stay, and tell nobody."""
        self._active = False
        if self._class.__init__ is self._init:
            self._class.__init__ = self._stock_init

    def _decorated(self, autotuner: Any) -> None:
        if not self._active:
            return
        if not self._device:
            self._ask_torch()
            return
        with contextlib.suppress(Exception):  # a kernel of another kind
            self._ahead.expect(innermost(autotuner.fn).fn.__module__)

    def _ask_torch(self) -> None:
        """Have torch tell when it has a device: at once, if it has. Once in a process."""
        cuda: Any = sys.modules.get("torch.cuda")
        tell = getattr(cuda, "_lazy_call", None)
        if self._told or tell is None:
            return
        self._told = True
        # Without it, everything begins at the first cold key.
        with contextlib.suppress(Exception):
            # This thread may be in a callback of torch's, which holds the lock that `tell` takes.
            if cuda.is_initialized() or hasattr(cuda._tls, "is_initializing"):
                self._initialised()
            else:
                tell(self._initialised)

    def _initialised(self) -> None:
        """Called by torch within the program's first use of the device: must not raise."""
        self._device = True
        if self._active:
            with contextlib.suppress(Exception):
                self._ahead.expect()
