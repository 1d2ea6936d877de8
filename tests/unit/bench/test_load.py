"""The client against servers in the same process, each misbehaving in its own way."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from tuneonce.bench.load import make_body, make_prompts, prompt_lengths, send_load
from tuneonce.bench.metrics import Outcome
from tuneonce.bench.result import Load, LoadResult
from tuneonce.errors import TuneonceError

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def a_load(**changes: Any) -> Load:
    return Load(**{"input_len": 4, "output_len": 3, "num_prompts": 4, "model": "m", **changes})


def token(text: str, **more: Any) -> bytes:
    return event({"choices": [{"index": 0, "text": text}], **more})


def event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


DONE = b"data: [DONE]\n\n"
USAGE = event({"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 3}})


async def streamed(request: web.Request, *chunks: bytes) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    for chunk in chunks:
        await response.write(chunk)
    return response


def answering(*chunks: bytes) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await streamed(request, *chunks)

    return handler


def measure(
    handler: Handler,
    load: Load,
    *,
    models: Handler | None = None,
    on_outcome: Callable[[Outcome], None] | None = None,
) -> LoadResult:
    async def main() -> LoadResult:
        app = web.Application()
        app.router.add_post("/v1/completions", handler)
        if models is not None:
            app.router.add_get("/v1/models", models)
        runner = web.AppRunner(app, handler_cancellation=True)
        await runner.setup()
        try:
            site = web.TCPSite(runner, "127.0.0.1", 0)
            await site.start()
            port = runner.addresses[0][1]
            return await send_load(f"http://127.0.0.1:{port}/", load, on_outcome=on_outcome)
        finally:
            await runner.cleanup()

    return asyncio.run(main())


def test_prompts_may_have_lengths_between_two_bounds() -> None:
    load = Load(input_len=3, input_len_to=9, output_len=1, num_prompts=200)
    lengths = [len(prompt) for prompt in make_prompts(load)]
    assert set(lengths) == set(range(3, 10))
    assert make_prompts(load) == make_prompts(load)


def test_loads_of_equal_lengths_have_other_prompts() -> None:
    one, other = (
        make_prompts(
            Load(
                input_len=3,
                input_len_to=900,
                output_len=1,
                num_prompts=50,
                seed=seed,
                lengths_seed=5,
            )
        )
        for seed in (0, 1)
    )
    assert [len(prompt) for prompt in one] == [len(prompt) for prompt in other]
    assert len({len(prompt) for prompt in one}) > 40
    assert not any(a == b for a, b in zip(one, other, strict=True))


def test_tokens_times_and_usage() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        return await streamed(
            request, b": ping\n\n", token("a"), token("b") + token("") + USAGE, DONE
        )

    outcomes: list[Outcome] = []
    result = measure(handler, a_load(), on_outcome=outcomes.append)
    assert (result.successful, result.failed, result.errors) == (4, 0, {})
    assert (result.total_input_tokens, result.total_output_tokens) == (20, 12)
    assert len(result.ttft_samples_ms) == 4
    assert len(result.tpot_samples_ms) == 4
    assert len(result.itl_samples_ms) == 8
    assert [outcome.text for outcome in outcomes] == ["ab"] * 4
    assert all(0 < outcome.ttft_s <= outcome.latency_s for outcome in outcomes)


def test_requests_carry_the_load() -> None:
    bodies = []

    async def handler(request: web.Request) -> web.StreamResponse:
        bodies.append(await request.json())
        return await streamed(request, token("a"), DONE)

    load = a_load(num_prompts=1, ignore_eos=True, temperature=0.5, seed=7)
    measure(handler, load)
    (body,) = bodies
    (prompt,) = make_prompts(load)
    assert body == {
        "model": "m",
        "prompt": prompt,
        "max_tokens": 3,
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
        "ignore_eos": True,
    }


def test_without_usage_pieces_of_text_are_counted() -> None:
    result = measure(answering(token("a"), token("b"), token(""), DONE), a_load(num_prompts=1))
    assert (result.total_input_tokens, result.total_output_tokens) == (4, 2)


def test_without_usage_the_tokens_that_were_sent_are_counted() -> None:
    load = a_load(input_len=2, input_len_to=90)
    result = measure(answering(token("a"), DONE), load)
    assert result.total_input_tokens == sum(prompt_lengths(load)) > 4 * 2


def test_concurrency_is_reached_and_not_exceeded() -> None:
    running, most = 0, 0
    full = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 3:
            full.set()
        # Nobody is answered before three are being served at the same time.
        await full.wait()
        response = await streamed(request, token("a"))
        running -= 1
        await response.write(DONE)
        return response

    result = measure(handler, a_load(num_prompts=9, max_concurrency=3))
    assert (result.successful, most) == (9, 3)


def test_failures_are_counted_with_their_text_and_stop_nobody() -> None:
    count = 0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal count
        count += 1
        if count % 2:
            return web.Response(status=500, text="out of\nmemory " + "x" * 1000)
        return await streamed(request, token("a"), DONE)

    result = measure(handler, a_load())
    assert (result.successful, result.failed) == (2, 2)
    ((text, times),) = result.errors.items()
    assert times == 2
    assert text.startswith("HTTP 500 Internal Server Error: out of memory xxx")
    assert len(text) < 400


async def breaks_off(request: web.Request) -> web.StreamResponse:
    response = await streamed(request, token("a"))
    assert request.transport is not None
    request.transport.abort()
    return response


async def hangs_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def not_a_stream(request: web.Request) -> web.StreamResponse:
    return web.json_response({"choices": [{"text": "a"}]})


@pytest.mark.parametrize(
    ("handler", "text"),
    [
        (breaks_off, "ClientPayloadError"),
        (hangs_up, "ServerDisconnectedError"),
        (not_a_stream, "answered application/json, not an event stream"),
        (answering(token("a")), "broke off after 1 tokens"),
        (answering(b'data: {"choices": [{"te'), "not a completion"),
        (answering(b"data: oops\n\n", DONE), "not a completion"),
        (answering(event([]), DONE), "not a completion"),
        (answering(DONE), "held no token"),
        (answering(USAGE, DONE), "held no token"),
        (answering(token("a"), event({"error": {"message": "no"}}), DONE), "error midway"),
    ],
)
def test_a_bad_answer_is_a_failed_request(handler: Handler, text: str) -> None:
    result = measure(handler, a_load(num_prompts=1))
    assert (result.successful, result.failed) == (0, 1)
    ((error, _),) = result.errors.items()
    assert text in error


def test_a_stream_may_end_with_a_reason_instead_of_done() -> None:
    last = event({"choices": [{"text": "", "finish_reason": "length"}]})
    result = measure(answering(token("a"), last), a_load(num_prompts=1))
    assert (result.successful, result.failed) == (1, 0)


def test_a_request_has_a_time_limit() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = await streamed(request, token("a"))
        await asyncio.Event().wait()
        return response

    result = measure(handler, a_load(num_prompts=1, request_timeout_s=0.1))
    assert result.errors == {"no complete answer within 0.1 s": 1}


def test_a_dead_server_fails_every_request() -> None:
    with socket.socket() as taken:
        # Bound and never listening: connections are refused for as long as we hold it.
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = asyncio.run(send_load(url, a_load()))
        assert (result.successful, result.failed) == (0, 4)
        with pytest.raises(TuneonceError, match=r"no answer from .*/v1/models"):
            asyncio.run(send_load(url, a_load(model=None)))


def test_the_first_model_is_the_default() -> None:
    seen = []

    async def models(request: web.Request) -> web.StreamResponse:
        return web.json_response({"object": "list", "data": [{"id": "first"}, {"id": "second"}]})

    async def handler(request: web.Request) -> web.StreamResponse:
        seen.append((await request.json())["model"])
        return await streamed(request, token("a"), DONE)

    result = measure(handler, a_load(model=None), models=models)
    assert (result.model, set(seen)) == ("first", {"first"})


@pytest.mark.parametrize("body", ['{"data": []}', "{}", "nothing"])
def test_a_server_without_models_is_an_error(body: str) -> None:
    async def models(request: web.Request) -> web.StreamResponse:
        return web.Response(text=body)

    with pytest.raises(TuneonceError, match=r"lists no model .*--model"):
        measure(answering(DONE), a_load(model=None), models=models)


def test_models_refused_is_an_error() -> None:
    with pytest.raises(TuneonceError, match="HTTP 404 Not Found"):
        measure(answering(DONE), a_load(model=None))


def test_prompts_are_the_same_for_the_same_seed_only() -> None:
    load = a_load(num_prompts=3, input_len=50, token_low=5, token_high=9)
    prompts = make_prompts(load)
    assert prompts == make_prompts(load)
    assert prompts != make_prompts(a_load(num_prompts=3, input_len=50, seed=1))
    assert [len(prompt) for prompt in prompts] == [50, 50, 50]
    assert {token for prompt in prompts for token in prompt} == {5, 6, 7, 8, 9}
    texts = make_prompts(a_load(prompt_format="text", input_len=50))
    assert all(isinstance(text, str) and len(text.split()) == 50 for text in texts)


def test_a_body_without_options_holds_only_the_protocol() -> None:
    assert "ignore_eos" not in json.loads(make_body(a_load(), model="m", prompt=[1]))
