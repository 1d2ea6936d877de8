"""SGLang loads this in every process through its entry point group ``sglang.srt.plugins``.

`register` is called in the launcher, in every scheduler (the processes that launch kernels), in the
detokenizer and the data-parallel controller; ``SGLANG_PLUGINS`` chooses among plugins by name.
Older versions have no plugins: there ``tuneonce run -- python -m sglang.launch_server ...`` does
the same, because every process of SGLang is started anew and inherits the environment.

Start-up is over when a scheduler is told to freeze the garbage collector: SGLang sends that after
its own warm-up request, just before it reports that it is ready.
"""

from __future__ import annotations

import logging
from typing import Any

_READY = "sglang.srt.managers.scheduler.Scheduler.handle_freeze_gc"


def register() -> None:
    """Switch tuneonce on in this process. Raises nothing."""
    try:
        from .. import activation

        if not activation.install():
            return
        activation.check()
        from sglang.srt.plugins.hook_registry import HookRegistry, HookType

        HookRegistry.register(_READY, _after_warm_up, HookType.AFTER)
    except Exception as error:
        logging.getLogger("tuneonce").warning("not activated: %r", error)


def _after_warm_up(result: Any, *args: Any, **kwargs: Any) -> None:
    # None keeps the result of the method it stands behind.
    try:
        from .. import activation

        activation.ready()
    except Exception as error:
        logging.getLogger("tuneonce").warning("statistics failed: %r", error)
