from __future__ import annotations

import asyncio
import signal
import threading

import pytest

from tuneonce.bench.interrupts import Interrupted, Interrupts


def test_the_first_signal_raises_and_the_next_only_hurry() -> None:
    with Interrupts() as interrupts:
        assert not interrupts.asked
        with pytest.raises(Interrupted, match="SIGTERM") as caught:
            signal.raise_signal(signal.SIGTERM)
        assert interrupts.asked
        assert caught.value.signum == signal.SIGTERM
        assert not interrupts.impatient
        signal.raise_signal(signal.SIGINT)
        assert interrupts.impatient


def test_a_deferred_signal_waits_for_the_outermost_block() -> None:
    passed = []
    with Interrupts() as interrupts, pytest.raises(Interrupted):
        with interrupts.deferred():
            with interrupts.deferred():
                signal.raise_signal(signal.SIGINT)
                passed.append("inner")
            passed.append("outer")
        passed.append("after")
    assert passed == ["inner", "outer"]


def test_an_exception_of_the_block_goes_first() -> None:
    with pytest.raises(ValueError, match="mine"), Interrupts() as interrupts, interrupts.deferred():
        signal.raise_signal(signal.SIGINT)
        raise ValueError("mine")


def test_a_signal_that_nobody_raised_is_raised_at_the_end() -> None:
    with pytest.raises(Interrupted), Interrupts() as interrupts, interrupts.diverted(lambda: None):
        signal.raise_signal(signal.SIGINT)


def test_a_diverted_signal_ends_an_event_loop() -> None:
    cleaned = []

    async def forever(interrupts: Interrupts) -> None:
        task = asyncio.current_task()
        assert task is not None
        with interrupts.diverted(task.cancel):
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append("task")

    with Interrupts() as interrupts:
        with pytest.raises(asyncio.CancelledError):
            asyncio.run(forever(interrupts))
        with pytest.raises(Interrupted):
            interrupts.check()
    assert cleaned == ["task"]


def test_handlers_are_put_back_and_ignored_signals_stay_ignored() -> None:
    before = signal.getsignal(signal.SIGINT)
    hangup = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGINT) != before
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, hangup)
    assert signal.getsignal(signal.SIGINT) == before


def test_outside_of_the_main_thread_nothing_happens() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter() -> None:
        with Interrupts():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]
