"""SGLang loads this in every process through its entry point group ``sglang.srt.plugins``.

Its diffusion servers do the same through ``sglang.multimodal_gen.plugins``; they have no moment
that would end their start for us.

`register` is called in the launcher, in every scheduler (the processes that launch kernels), in the
detokenizer and the data-parallel controller; ``SGLANG_PLUGINS`` chooses among plugins by name.
Older versions have no plugins: there ``tuneonce run -- python -m sglang.launch_server ...`` does
the same but for the end of the start, because every process of SGLang is started anew and inherits
the environment.

Start-up is over when a scheduler is told to freeze the garbage collector: SGLang sends that after
its own warm-up request, just before it reports that it is ready. The method is wrapped when its
module comes and not through SGLang's ``HookRegistry``, which would import the scheduler in every
process that loads plugins, the detokenizer among them.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from ..activation.imports import when_imported

_MODULE = "sglang.srt.managers.scheduler"
_METHOD = "handle_freeze_gc"


def register() -> None:
    """Switch tuneonce on in this process. Raises nothing."""
    try:
        from ..activation import install

        if not install.install():
            return
        install.check()
        when_imported(_MODULE, _wrap)
    except Exception as error:
        logging.getLogger("tuneonce").warning("tuneonce: not activated: %r", error)


def _wrap(module: Any) -> None:
    """Call `tuneonce.ready` after the scheduler's warm-up."""
    scheduler = getattr(module, "Scheduler", None)
    method = getattr(scheduler, _METHOD, None)
    if method is None or hasattr(method, "tuneonce"):
        return

    @functools.wraps(method)
    def handle_freeze_gc(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = method(self, *args, **kwargs)
        _tell("ready")
        return result

    handle_freeze_gc.tuneonce = True  # type: ignore[attr-defined]
    setattr(scheduler, _METHOD, handle_freeze_gc)
    _tell("await_ready")


def _tell(what: str) -> None:
    try:
        from ..activation import install

        getattr(install, what)()
    except Exception as error:
        logging.getLogger("tuneonce").warning("tuneonce: statistics failed: %r", error)
