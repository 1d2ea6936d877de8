"""One thread that owns the model and answers requests in the order they came.

The event loop stays free: a request that makes the kernels tune for a minute delays other
requests, not health checks or the stream of tokens to the client.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import queue
import threading
import traceback
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..activation import install
from .tokenizer import EOS, Detokenizer


class LanguageModel(Protocol):
    """What the engine needs of :class:`tuneonce.demo.model.Model`."""

    def generate(
        self,
        tokens: Sequence[int],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        ignore_eos: bool,
    ) -> Iterator[int]: ...


@dataclass(frozen=True)
class Request:
    """One prompt, as tokens, and how to continue it. `temperature` 0 takes the likeliest token."""

    tokens: Sequence[int]
    max_tokens: int
    temperature: float = 0.0
    seed: int = 0
    ignore_eos: bool = False


@dataclass(frozen=True)
class Step:
    """One token of an answer: the text it adds (may be empty), and why it is the last, if it is.

    `finish_reason` is ``"length"``, ``"stop"`` (end-of-text token) or None.
    """

    token: int
    text: str
    finish_reason: str | None = None


class EngineStopped(Exception):
    """The engine was stopped before or while it answered."""


class _Interrupted(BaseException):
    """Raised inside the model's thread to end what it is doing, as Ctrl-C would."""


@dataclass(eq=False)
class _Job:
    request: Request
    loop: asyncio.AbstractEventLoop
    answers: asyncio.Queue[Step | Exception] = field(default_factory=asyncio.Queue)
    abandoned: bool = False

    def deliver(self, answer: Step | Exception) -> None:
        try:
            self.loop.call_soon_threadsafe(self.answers.put_nowait, answer)
        except RuntimeError:  # the loop was closed: no client waits any more
            self.abandoned = True


class Engine:
    """Loads a model in a thread of its own and runs it there.

    `load` is called in that thread, so that the server can already say that it is not ready.
    `warmup` asks for a made-up prompt of 64 tokens before the engine counts as ready.
    `on_ready` is called, in that thread, when the first answer can be asked for, `on_failure` if
    loading fails.
    """

    def __init__(
        self,
        load: Callable[[], LanguageModel],
        *,
        warmup: bool = False,
        on_ready: Callable[[], None] = lambda: None,
        on_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._load = load
        self._warmup = warmup
        self._on_ready, self._on_failure = on_ready, on_failure
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._ready = threading.Event()
        self._stopping = False
        self._current: _Job | None = None
        # A daemon: a thread that hangs in a driver call must not keep the process alive.
        self._thread = threading.Thread(target=self._run, name="demo-model", daemon=True)
        self.error: Exception | None = None

    @property
    def ready(self) -> bool:
        return self._ready.is_set() and not self._stopping

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, timeout: float = 10.0) -> bool:
        """End the thread, interrupting what it does. False if it is still running after `timeout`.

        Requests that were not answered get :class:`EngineStopped`.
        """
        self._stopping = True
        self._jobs.put(None)
        if self._thread.is_alive():
            if self._current is not None or not self._ready.is_set():
                _interrupt(self._thread)
            self._thread.join(timeout)
        if self._current is not None:
            self._current.deliver(EngineStopped())
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.deliver(EngineStopped())
        return not self._thread.is_alive()

    async def generate(self, request: Request) -> AsyncGenerator[Step, None]:
        """The answer to `request`, token by token. Leaving the loop early abandons the rest.

        Raises EngineStopped, and whatever the model raised.
        """
        if self._stopping:
            raise EngineStopped
        job = _Job(request, asyncio.get_running_loop())
        self._jobs.put(job)
        try:
            while True:
                answer = await job.answers.get()
                if isinstance(answer, Exception):
                    raise answer
                yield answer
                if answer.finish_reason is not None:
                    return
        finally:
            job.abandoned = True

    def _run(self) -> None:
        try:
            model = self._load()
            if self._warmup:
                for _ in model.generate(
                    range(64), max_tokens=2, temperature=0.0, seed=0, ignore_eos=True
                ):
                    pass
            # As a server's integration does, before it says that it is healthy.
            install.ready()
            self._ready.set()
            self._on_ready()
            while (job := self._jobs.get()) is not None:
                self._current = job
                self._answer(model, job)
                self._current = None
        except _Interrupted:
            pass
        except Exception as error:
            traceback.print_exc()
            self.error = error
            self._stopping = True
            self._on_failure()

    def _answer(self, model: LanguageModel, job: _Job) -> None:
        """Run one request. What the model raises goes to its client; the engine goes on."""
        request = job.request
        detokenizer = Detokenizer()
        try:
            produced = 0
            tokens = model.generate(
                request.tokens,
                max_tokens=request.max_tokens,
                temperature=request.temperature,
                seed=request.seed,
                ignore_eos=request.ignore_eos,
            )
            # Before the first token too: its client may have left while others were served.
            while not job.abandoned and (token := next(tokens, None)) is not None:
                produced += 1
                finish_reason = None
                if token == EOS and not request.ignore_eos:
                    finish_reason = "stop"
                elif produced == request.max_tokens:
                    finish_reason = "length"
                text = detokenizer.push(token)
                if finish_reason is not None:
                    text += detokenizer.flush()
                job.deliver(Step(token, text, finish_reason))
        except Exception as error:
            traceback.print_exc()
            job.deliver(error)


def _interrupt(thread: threading.Thread) -> None:
    """Raise in `thread` at its next bytecode. Does nothing if the thread has ended."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(_Interrupted)
    )
