"""vLLM loads this in every process through its entry point group ``vllm.general_plugins``.

Installing the package is all: on by default, off with ``TUNEONCE=0``, with
``TRITON_CACHE_AUTOTUNING=0`` or by leaving ``tuneonce`` out of ``VLLM_PLUGINS``. `register` is
called once per process that loads plugins (the API server at argument parsing, every engine core
and worker before its model is imported), and not in a forked child, which inherits what it did.

A worker's start begins with ``init_device``: weights come next, and then the first kernel. It is
over when ``compile_or_warm_up_model`` returns, inside which vLLM arms its own ``jit_monitor``: what
the last start used is made ready before that, because the monitor takes it for a fault. vLLM calls
both by name on ``WorkerWrapperBase`` in every worker, with and without ``--enforce-eager``.
The class does not define the second, it delegates.

Where vLLM has imported ``prometheus_client``, its registry gets our metrics: the API server's
``/metrics`` shows that registry, unless there are several API servers.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from ..activation.imports import when_imported

# Where the class stands, in this and in older versions.
_MODULES = ("vllm.v1.worker.worker_base", "vllm.worker.worker_base")

# Arms what makes an error, or a warning, of every variant that is compiled or loaded from then on.
_MONITOR = "vllm.utils.jit_monitor"


def register() -> None:
    """Switch tuneonce on in this process. Raises nothing: vLLM would not start."""
    try:
        from ..activation import install

        # First: what installing has to say is said in vLLM's format too.
        adopt_logging(logging.getLogger("tuneonce"), logging.getLogger("vllm"))
        if not install.install():
            return
        install.check()
        install.await_ready()
        for name in _MODULES:
            when_imported(name, _wrap)
        when_imported(_MONITOR, _wrap_monitor)
        _await_prometheus()
    except Exception as error:
        logging.getLogger("vllm.tuneonce").warning("tuneonce: not activated: %r", error)


_awaited = False


def _await_prometheus() -> None:
    """Have our metrics in vLLM's registry, once, if it ever makes one."""
    global _awaited
    if not _awaited:
        _awaited = True
        when_imported("prometheus_client", _register_metrics)


def _register_metrics(module: Any) -> None:
    """Called inside vLLM's own import of `prometheus_client`, which must not fail."""
    try:
        from ..metrics import register_server

        register_server()
    except Exception as error:  # the program has done the same, or it is another prometheus_client
        logging.getLogger("vllm.tuneonce").debug("tuneonce: no metrics: %r", error)


def _wrap(module: Any) -> None:
    """Tell tuneonce where a worker's start begins and ends."""
    wrapper = getattr(module, "WorkerWrapperBase", None)
    if not isinstance(wrapper, type):  # called inside vLLM's own import, which must not fail
        return
    _surround(wrapper, "init_device", before="prepare")
    _surround(wrapper, "compile_or_warm_up_model", after="ready")


def _wrap_monitor(module: Any) -> None:
    """Make ready what the last start used before vLLM begins to watch for it."""
    own = getattr(module, "activate", None)
    if not callable(own) or hasattr(own, "tuneonce"):
        return

    def activate(*args: Any, **kwargs: Any) -> Any:
        _tell("warm_before_watch")
        return own(*args, **kwargs)

    functools.update_wrapper(activate, own)
    activate.tuneonce = True  # type: ignore[attr-defined]
    module.activate = activate


def _surround(
    wrapper: Any, name: str, *, before: str | None = None, after: str | None = None
) -> None:
    """Call functions of `activation` before and after a method of the worker's."""
    own = vars(wrapper).get(name)
    if hasattr(own, "tuneonce"):
        return

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        if before is not None:
            _tell(before)
        if own is not None:
            result = own(self, *args, **kwargs)
        else:
            result = getattr(self.worker, name)(*args, **kwargs)
        if after is not None:
            _tell(after)
        return result

    if own is not None:
        functools.update_wrapper(method, own)
    method.tuneonce = True  # type: ignore[attr-defined]
    setattr(wrapper, name, method)


def _tell(what: str) -> None:
    """Raises nothing."""
    try:
        from ..activation import install

        getattr(install, what)()
    except Exception as error:
        logging.getLogger("vllm.tuneonce").warning("tuneonce: %s failed: %r", what, error)


def adopt_logging(ours: logging.Logger, hosts: logging.Logger) -> None:
    """Write our few lines as the server writes its own, unless they are configured already.

    Servers log through a logger of their own with handlers of its own; a line of ours at INFO would
    be dropped, and a warning would come without time and process.
    """
    if ours.handlers or not hosts.handlers:
        return
    for handler in hosts.handlers:
        ours.addHandler(handler)
    ours.propagate = False
    ours.setLevel(hosts.level or logging.INFO)
