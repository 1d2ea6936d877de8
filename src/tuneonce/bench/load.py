"""The load: completion requests on an OpenAI-compatible server, streamed and timed.

Sends what ``vllm bench serve`` sends for its random data set, with two differences. There is no
trial request before the clock starts, because the first request after a start is what this
benchmark is about. And a stream that breaks off, or reports an error midway, is a failed request
even after its first token.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import msgspec

from ..errors import TuneonceError, UsageError
from .interrupts import Interrupts
from .metrics import Outcome, summarise
from .result import Load, LoadResult
from .sse import EventStream

if TYPE_CHECKING:
    import aiohttp

# Enough of a server's answer to recognise the error, short enough for a table.
_ERROR_LENGTH = 300


def make_prompts(load: Load) -> list[list[int] | str]:
    """Return the prompts of a load; the same load gives the same prompts everywhere.

    Random throughout, so that no two share a prefix that a server could have cached.
    """
    generator = random.Random(load.seed)
    if load.prompt_format == "text":
        letters = "abcdefghijklmnopqrstuvwxyz"
        return [
            " ".join(generator.choice(letters) for _ in range(length))
            for length in prompt_lengths(load)
        ]
    return [
        [generator.randint(load.token_low, load.token_high) for _ in range(length)]
        for length in prompt_lengths(load)
    ]


def prompt_lengths(load: Load) -> list[int]:
    """Return the lengths of a load's prompts, in their order."""
    if load.input_len_to is None:
        return [load.input_len] * load.num_prompts
    lengths = random.Random(load.seed if load.lengths_seed is None else load.lengths_seed)
    return [lengths.randint(load.input_len, load.input_len_to) for _ in range(load.num_prompts)]


def make_body(load: Load, *, model: str, prompt: list[int] | str) -> bytes:
    """Return one request as JSON."""
    body: dict[str, Any] = {
        "model": model,
        "prompt": prompt,
        "max_tokens": load.output_len,
        "temperature": load.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if load.ignore_eos:
        # Not part of OpenAI's protocol: strict servers refuse it, so it is sent only if asked for.
        body["ignore_eos"] = True
    return msgspec.json.encode(body)


async def send_load(
    base_url: str, load: Load, *, on_outcome: Callable[[Outcome], None] | None = None
) -> LoadResult:
    """Send the whole load and return its figures. `on_outcome` is called as each request ends.

    Failed requests are counted, with their errors, and stop nothing. Raises `TuneonceError` if
    the server does not say which models it has, and `UsageError` if aiohttp is not installed.
    """
    aiohttp = _aiohttp()
    base_url = base_url.rstrip("/")
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    # The limit on connections is ours (the semaphore): a second one inside of the connector would
    # count waiting for a connection as waiting for the server.
    connector = aiohttp.TCPConnector(limit=0)
    timeout = aiohttp.ClientTimeout(total=load.request_timeout_s)
    async with aiohttp.ClientSession(
        connector=connector, timeout=timeout, headers=headers
    ) as session:
        model = load.model or await _first_model(session, base_url)
        # Encoded before the clock starts: a long prompt takes milliseconds.
        bodies = [make_body(load, model=model, prompt=prompt) for prompt in make_prompts(load)]
        slots = asyncio.Semaphore(load.max_concurrency or load.num_prompts)

        async def one(body: bytes, length: int) -> Outcome:
            answer = _Answer(prompt_tokens=length)
            async with slots:
                outcome = await _complete(session, base_url + load.endpoint, body, answer, load)
            if on_outcome is not None:
                on_outcome(outcome)
            return outcome

        begin = time.perf_counter()
        outcomes = await asyncio.gather(*map(one, bodies, prompt_lengths(load)))
        duration = time.perf_counter() - begin
    return summarise(outcomes, model=model, duration_s=duration)


def run_load(
    base_url: str,
    load: Load,
    *,
    interrupts: Interrupts,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> LoadResult:
    """`send_load` in an event loop of its own, which a signal ends in good order."""

    async def interruptible() -> LoadResult:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        with interrupts.diverted(lambda: loop.call_soon_threadsafe(task.cancel)):
            return await send_load(base_url, load, on_outcome=on_outcome)

    try:
        result = asyncio.run(interruptible())
    except asyncio.CancelledError:
        interrupts.check()
        raise
    interrupts.check()
    return result


def _aiohttp() -> Any:
    try:
        import aiohttp
    except ImportError as error:
        raise UsageError(
            "the benchmark's client needs aiohttp: pip install 'tuneonce[bench]'"
        ) from error
    return aiohttp


async def _first_model(session: aiohttp.ClientSession, base_url: str) -> str:
    url = f"{base_url}/v1/models"
    try:
        async with session.get(url) as response:
            body = await response.read()
            if response.status != 200:
                raise TuneonceError(f"{url} answered {_refusal(response, body)}; name it: --model")
        return _Models.first(body)
    except _network_errors() as error:
        raise TuneonceError(f"no answer from {url}: {_describe(error)}") from error
    except (msgspec.MsgspecError, IndexError) as error:
        raise TuneonceError(f"{url} lists no model ({error}); name it: --model") from error


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]

    @staticmethod
    def first(body: bytes) -> str:
        return _MODELS.decode(body).data[0].id


_MODELS = msgspec.json.Decoder(_Models)


async def _complete(
    session: aiohttp.ClientSession, url: str, body: bytes, answer: _Answer, load: Load
) -> Outcome:
    """Send one request and read its stream to the end."""
    stream = EventStream()
    begin = time.perf_counter()
    try:
        async with session.post(url, data=body) as response:
            if response.status != 200:
                return Outcome(error=_refusal(response, await response.read()))
            if response.content_type != "text/event-stream":
                return Outcome(error=f"answered {response.content_type}, not an event stream")
            async for chunk in response.content.iter_any():
                now = time.perf_counter() - begin
                for data in stream.feed(chunk):
                    answer.take(data, now=now)
            for data in stream.close():
                answer.take(data, now=time.perf_counter() - begin)
    except asyncio.TimeoutError:
        return Outcome(error=f"no complete answer within {load.request_timeout_s:g} s")
    except _network_errors() as error:
        return Outcome(error=_describe(error))
    except msgspec.MsgspecError as error:
        return Outcome(error=f"sent an event that is not a completion: {error}")
    return answer.outcome()


class _Answer:
    """Collects one streamed completion. `prompt_tokens` is for a server that does not count."""

    def __init__(self, *, prompt_tokens: int) -> None:
        self._prompt_tokens = prompt_tokens
        self._output_tokens: int | None = None
        self._texts: list[str] = []
        self._times: list[float] = []
        self._done = False
        self._finished = False
        self._error: str | None = None

    def take(self, data: str, *, now: float) -> None:
        if not data or self._done:
            return
        if data == "[DONE]":
            self._done = True
            return
        event = _EVENT.decode(data)
        if event.error is not None:
            self._error = self._error or f"sent an error midway: {_shorten(str(event.error))}"
        if event.choices:
            # Transformers ends its streams like this and sends no [DONE].
            self._finished = self._finished or event.choices[0].finish_reason is not None
            self._times.append(now)
            self._texts.append(event.choices[0].text or "")
        # Some servers send the usage with every choice; the last word counts.
        if event.usage is not None:
            if event.usage.completion_tokens is not None:
                self._output_tokens = event.usage.completion_tokens
            if event.usage.prompt_tokens is not None:
                self._prompt_tokens = event.usage.prompt_tokens

    def outcome(self) -> Outcome:
        if self._error is not None:
            return Outcome(error=self._error)
        if not (self._done or self._finished):
            return Outcome(error=f"the stream broke off after {len(self._times)} tokens")
        if not self._times:
            return Outcome(error="the stream held no token")
        output_tokens = self._output_tokens
        if not output_tokens:
            # No usage reported: pieces with text are the best estimate without a tokenizer.
            output_tokens = max(1, sum(1 for text in self._texts if text))
        return Outcome(
            prompt_tokens=self._prompt_tokens,
            output_tokens=output_tokens,
            ttft_s=self._times[0],
            latency_s=self._times[-1],
            itl_s=tuple(later - earlier for earlier, later in pairwise(self._times)),
            text="".join(self._texts),
        )


class _Choice(msgspec.Struct):
    text: str | None = None
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Event(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_EVENT = msgspec.json.Decoder(_Event)


def _network_errors() -> tuple[type[BaseException], ...]:
    return (_aiohttp().ClientError, asyncio.TimeoutError, OSError)


def _refusal(response: aiohttp.ClientResponse, body: bytes) -> str:
    text = _shorten(body.decode("utf-8", errors="replace"))
    return f"HTTP {response.status} {response.reason}" + (f": {text}" if text else "")


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _shorten(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _ERROR_LENGTH else text[:_ERROR_LENGTH] + "…"
