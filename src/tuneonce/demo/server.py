"""The demo's HTTP server: ``/v1/completions``, ``/v1/models``, ``/health`` and ``/metrics``.

Needs Starlette, uvicorn and prometheus-client; import it where a server is really started.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from types import FrameType
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HTTPRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from ..errors import UsageError
from ..metrics import register
from . import protocol
from .engine import Engine, EngineStopped, LanguageModel, Step
from .protocol import BadRequest, CompletionRequest, ServedModel


def create_app(engine: Engine, model: ServedModel) -> Starlette:
    """The server's application. It starts `engine` when it starts and stops it when it ends."""
    registry = CollectorRegistry()
    register(registry)

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        engine.start()
        yield
        if not await asyncio.to_thread(engine.stop):
            _say("the model did not stop in time and is left behind")

    async def health(request: HTTPRequest) -> Response:
        if engine.ready:
            return JSONResponse({"status": "ok"})
        return _error("The model is not ready.", status=503)

    async def metrics(request: HTTPRequest) -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    async def models(request: HTTPRequest) -> Response:
        return JSONResponse(model.listing())

    async def completions(request: HTTPRequest) -> Response:
        parsed = protocol.parse(await request.body(), model=model)
        if not engine.ready:
            return _error("The model is not ready.", status=503)
        if parsed.stream:
            events = _events(engine, model, parsed)
            return StreamingResponse(
                events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"}
            )
        return await _whole_answer(engine, model, parsed)

    return Starlette(
        routes=[
            Route("/health", health),
            Route("/metrics", metrics),
            Route("/v1/models", models),
            Route("/v1/completions", completions, methods=["POST"]),
        ],
        exception_handlers={BadRequest: _bad_request, HTTPException: _http_error},
        lifespan=lifespan,
    )


async def _whole_answer(engine: Engine, model: ServedModel, parsed: CompletionRequest) -> Response:
    choices = []
    completion_tokens = 0
    try:
        for index, request in enumerate(parsed.requests):
            steps = [step async for step in engine.generate(request)]
            completion_tokens += len(steps)
            text = "".join(step.text for step in steps)
            choices.append(protocol.choice(index, text, steps[-1].finish_reason))
    except EngineStopped:
        return _error("The server is shutting down.", status=503)
    except Exception as error:
        return _error(_describe(error), status=500)
    usage = protocol.usage(parsed.prompt_tokens, completion_tokens)
    return JSONResponse(protocol.completion(protocol.new_id(), model.name, choices, usage=usage))


async def _events(
    engine: Engine, model: ServedModel, parsed: CompletionRequest
) -> AsyncIterator[bytes]:
    """The answer as server-sent events, one a token. An error after the start is an event too."""
    answer_id = protocol.new_id()
    # With usage asked for, every piece has the member; only the last one's is filled.
    more: dict[str, Any] = {"usage": None} if parsed.include_usage else {}
    completion_tokens = 0

    def piece(index: int, step: Step) -> bytes:
        choices = [protocol.choice(index, step.text, step.finish_reason)]
        return _event(protocol.completion(answer_id, model.name, choices, **more))

    try:
        for index, request in enumerate(parsed.requests):
            async with contextlib.aclosing(engine.generate(request)) as steps:
                async for step in steps:
                    completion_tokens += 1
                    yield piece(index, step)
    except EngineStopped:
        yield _event(protocol.error_body("The server is shutting down.", status=503))
    except Exception as error:
        yield _event(protocol.error_body(_describe(error), status=500))
    else:
        if parsed.include_usage:
            usage = protocol.usage(parsed.prompt_tokens, completion_tokens)
            yield _event(protocol.completion(answer_id, model.name, [], usage=usage))
    yield b"data: [DONE]\n\n"


def _event(body: dict[str, Any]) -> bytes:
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def _describe(error: Exception) -> str:
    return f"The model failed: {type(error).__name__}: {error}"


def _error(message: str, *, status: int) -> Response:
    return JSONResponse(protocol.error_body(message, status=status), status_code=status)


async def _bad_request(request: HTTPRequest, error: Exception) -> Response:
    assert isinstance(error, BadRequest)
    body = protocol.error_body(str(error), status=error.status, param=error.param, code=error.code)
    return JSONResponse(body, status_code=error.status)


async def _http_error(request: HTTPRequest, error: Exception) -> Response:
    """No such path, wrong method."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    body = protocol.error_body(message, status=error.status_code)
    return JSONResponse(body, status_code=error.status_code, headers=error.headers)


class _Server(uvicorn.Server):
    """Ends requests in progress with an answer that says why, before connections are closed."""

    def __init__(self, config: uvicorn.Config, engine: Engine) -> None:
        super().__init__(config)
        self._engine = engine

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await asyncio.to_thread(self._engine.stop)
        await super().shutdown(sockets)


def _say(message: str) -> None:
    print(f"tuneonce demo: {message}", file=sys.stderr, flush=True)


def serve(
    load: Callable[[], LanguageModel],
    *,
    model: ServedModel,
    host: str,
    port: int,
    warmup: bool = False,
) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code: 0, or 1 if the model did not load.

    `load` makes the model, in a thread, after the server has begun to listen. `port` 0 takes a
    free one; the address is printed. Raises UsageError if the address cannot be listened on.
    """
    began = time.monotonic()
    listener = _listen(host, port)

    def say_ready() -> None:
        _say(f"model loaded after {time.monotonic() - began:.1f} s")

    def give_up() -> None:
        server.should_exit = True

    engine = Engine(load, warmup=warmup, on_ready=say_ready, on_failure=give_up)
    config = uvicorn.Config(
        create_app(engine, model),
        lifespan="on",
        log_level="warning",
        access_log=False,
        # For clients that do not read what they are sent.
        timeout_graceful_shutdown=3,
    )
    server = _Server(config, engine)
    address = f"[{host}]" if ":" in host else host
    _say(f"listening on http://{address}:{listener.getsockname()[1]}, loading the model")
    # uvicorn handles signals itself while it runs and raises them again when it has shut down.
    # For a server, being told to stop is a good end.
    with _ignoring_signals():
        server.run(sockets=[listener])
    if engine.error is not None:
        _say(f"the model could not be loaded: {engine.error}")
        return 1
    return 0


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if not 0 <= port < 2**16:
        raise UsageError(f"{port} is no port: 0 to 65535")
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        # Not strerror, to which create_server appends the address once more.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        raise UsageError(f"cannot listen on {host} port {port}: {reason}") from error


@contextlib.contextmanager
def _ignoring_signals() -> Iterator[None]:
    """SIGINT and SIGTERM do nothing beyond what uvicorn makes of them."""

    def ignore(number: int, frame: FrameType | None) -> None:
        pass

    previous = {number: signal.signal(number, ignore) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
