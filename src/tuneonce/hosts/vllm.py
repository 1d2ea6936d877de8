"""vLLM loads this in every process through its entry point group ``vllm.general_plugins``.

Installing the package is all: on by default, off with ``TUNEONCE=0``, with
``TRITON_CACHE_AUTOTUNING=0`` or by leaving ``tuneonce`` out of ``VLLM_PLUGINS``. `register` is
called once per process that loads plugins (the API server at argument parsing, every engine core
and worker before its model is imported), and not in a forked child, which inherits what it did.

Start-up is over when a worker's ``compile_or_warm_up_model`` returns: vLLM calls it by name on
``WorkerWrapperBase`` in every worker, with and without ``--enforce-eager``, and arms its own
``jit_monitor`` inside it. The class itself does not define the method, it delegates.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from ..imports import when_imported

# Where the class stands, in this and in older versions.
_MODULES = ("vllm.v1.worker.worker_base", "vllm.worker.worker_base")
_METHOD = "compile_or_warm_up_model"


def register() -> None:
    """Switch tuneonce on in this process. Raises nothing: vLLM would not start."""
    try:
        from .. import activation

        # First: what installing has to say is said in vLLM's format too.
        adopt_logging(logging.getLogger("tuneonce"), logging.getLogger("vllm"))
        if not activation.install():
            return
        activation.check()
        for name in _MODULES:
            when_imported(name, _wrap)
    except Exception as error:
        logging.getLogger("vllm.tuneonce").warning("tuneonce: not activated: %r", error)


def _wrap(module: Any) -> None:
    """Call `tuneonce.ready` after a worker has warmed up."""
    wrapper = getattr(module, "WorkerWrapperBase", None)
    if not isinstance(wrapper, type):  # called inside vLLM's own import, which must not fail
        return
    own = vars(wrapper).get(_METHOD)
    if hasattr(own, "tuneonce"):
        return

    def compile_or_warm_up_model(self: Any, *args: Any, **kwargs: Any) -> Any:
        if own is not None:
            result = own(self, *args, **kwargs)
        else:
            result = getattr(self.worker, _METHOD)(*args, **kwargs)
        _ready()
        return result

    if own is not None:
        functools.update_wrapper(compile_or_warm_up_model, own)
    compile_or_warm_up_model.tuneonce = True  # type: ignore[attr-defined]
    setattr(wrapper, _METHOD, compile_or_warm_up_model)


def _ready() -> None:
    try:
        from .. import activation

        activation.ready()
    except Exception as error:
        logging.getLogger("vllm.tuneonce").warning("tuneonce: statistics failed: %r", error)


def adopt_logging(ours: logging.Logger, hosts: logging.Logger) -> None:
    """Write our few lines as the server writes its own, unless somebody configured them.

    Servers log through a logger of their own with handlers of its own; a line of ours at INFO would
    be dropped, and a warning would come without time and process.
    """
    if ours.handlers or not hosts.handlers:
        return
    for handler in hosts.handlers:
        ours.addHandler(handler)
    ours.propagate = False
    ours.setLevel(hosts.level or logging.INFO)
