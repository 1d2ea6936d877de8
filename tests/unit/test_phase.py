"""Phases of a process."""

from __future__ import annotations

import os

from tuneonce.phase import Phase, Phases


def test_a_process_starts_and_then_serves() -> None:
    phases = Phases()
    assert phases.now is Phase.STARTING
    phases.serve()
    assert phases.now is Phase.SERVING


def test_a_forked_child_starts_anew() -> None:
    phases = Phases()
    phases.serve()
    pid = os.fork()
    if pid == 0:
        os._exit(0 if phases.now is Phase.STARTING else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert phases.now is Phase.SERVING
