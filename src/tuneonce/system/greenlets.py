"""Whether a program's threads are greenlets, because gevent or eventlet has replaced the others.

Where it has, locks and queues switch between greenlets of one thread, a wait for a thread of ours
never ends, and a child process is waited for by an event loop that may not run.
"""

from __future__ import annotations

import sys

# What a pool of processes and its threads are made of.
_NEEDED = ("threading", "thread", "socket", "subprocess", "queue", "os", "select")


def patched_by() -> str | None:
    """``gevent`` or ``eventlet``, if it has replaced what a pool of processes needs; else None.

    Imports nothing: a library that was not imported has replaced nothing. Raises nothing.
    """
    for name, module in (("gevent", "gevent.monkey"), ("eventlet", "eventlet.patcher")):
        monkey = sys.modules.get(module)
        asks = getattr(monkey, "is_module_patched", None) or getattr(
            monkey, "is_monkey_patched", None
        )
        try:
            if asks is not None and any(asks(needed) for needed in _NEEDED):
                return name
        except Exception:  # a version that asks for something else
            continue
    return None
