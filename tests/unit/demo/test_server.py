"""The application and the engine behind it, on a fake model."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")

from tests.unit.demo.asgi import Answer, Client
from tests.unit.demo.fake_model import FakeModel
from tuneonce.demo.engine import Engine, EngineStopped, Request
from tuneonce.demo.protocol import ServedModel
from tuneonce.demo.server import create_app
from tuneonce.demo.tokenizer import EOS
from tuneonce.events.totals import Totals

SERVED = ServedModel(name="m", max_model_len=100, vocab_size=300, created=1)


def serving(
    test: Callable[[Client, FakeModel], Awaitable[None]], *, model: FakeModel | None = None
) -> None:
    """Run `test` against a ready application."""
    model = model or FakeModel()
    engine = Engine(lambda: model)

    async def run() -> None:
        async with Client(create_app(engine, SERVED)) as client:
            await until_ready(engine)
            await asyncio.wait_for(test(client, model), timeout=60)

    asyncio.run(run())


async def until_ready(engine: Engine) -> None:
    while not engine.ready:
        await asyncio.sleep(0)


def test_a_whole_answer() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        answer = await client.complete(prompt="abc", max_tokens=4, temperature=0, seed=5)
        assert answer.status == 200
        body = answer.json
        assert body.pop("id").startswith("cmpl-")
        assert body.pop("created") > 0
        assert body == {
            "object": "text_completion",
            "model": "m",
            "choices": [{"index": 0, "text": "cbac", "logprobs": None, "finish_reason": "length"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7},
        }
        assert model.calls == [([97, 98, 99], 0.0, 5)]

    serving(test)


def test_several_prompts_are_several_choices() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        body = (await client.complete(prompt=["ab", [99]], max_tokens=2)).json
        assert [(c["index"], c["text"]) for c in body["choices"]] == [(0, "ba"), (1, "cc")]
        assert body["usage"] == {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}

    serving(test)


def test_the_end_of_text_stops_an_answer() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        prompt = [97, EOS, 98]
        body = (await client.complete(prompt=prompt, max_tokens=9)).json
        assert body["choices"][0]["text"] == "b"
        assert body["choices"][0]["finish_reason"] == "stop"
        assert body["usage"]["completion_tokens"] == 2

        body = (await client.complete(prompt=prompt, max_tokens=3, ignore_eos=True)).json
        assert body["choices"][0]["text"] == "ba"
        assert body["choices"][0]["finish_reason"] == "length"

    # The engine stops asking once the end-of-text token was there.
    serving(test, model=EndingModel())


class EndingModel(FakeModel):
    def generate(self, tokens, *, ignore_eos, **options):  # type: ignore[no-untyped-def]
        for token in super().generate(tokens, ignore_eos=ignore_eos, **options):
            yield token
            if token == EOS and not ignore_eos:
                return


def test_a_stream() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        answer = await client.complete(prompt=["é", "a"], max_tokens=2, stream=True)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, done = answer.events
        assert done == "[DONE]"
        assert len({event["id"] for event in events}) == 1
        assert all("usage" not in event for event in events)
        told = [
            (c["index"], c["text"], c["finish_reason"])
            for event in events
            for c in event["choices"]
        ]
        # The two bytes of é come backwards, so they are no character.
        assert told == [
            (0, "\ufffd", None),
            (0, "\ufffd", "length"),
            (1, "a", None),
            (1, "a", "length"),
        ]

    serving(test)


def test_usage_in_a_stream() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        answer = await client.complete(
            prompt="ab", max_tokens=2, stream=True, stream_options={"include_usage": True}
        )
        *pieces, last, done = answer.events
        assert done == "[DONE]"
        assert [piece["usage"] for piece in pieces] == [None, None]
        assert last["choices"] == []
        assert last["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}

    serving(test)


def test_tokens_are_streamed_as_they_come() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        request = asyncio.create_task(client.complete(prompt=[2, 97], max_tokens=2, stream=True))
        await asyncio.to_thread(model.waiting.wait, 30)
        # The model is busy, and the server is not.
        assert (await client.request("GET", "/health")).status == 200
        assert not request.done()
        model.gate.set()
        assert (await request).events[-1] == "[DONE]"

    serving(test)


def test_requests_are_served_in_order() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        tasks = [asyncio.create_task(client.complete(prompt=[2, 7], max_tokens=2))]
        await asyncio.to_thread(model.waiting.wait, 30)
        for token in range(10, 20):
            tasks.append(asyncio.create_task(client.complete(prompt=[token], max_tokens=1)))
            await asyncio.sleep(0)
        model.gate.set()
        assert all(answer.status == 200 for answer in await asyncio.gather(*tasks))
        assert [call[0][0] for call in model.calls] == [2, *range(10, 20)]

    serving(test)


def test_a_client_that_leaves_is_not_computed_for() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        def first_event(answer: Answer) -> bool:
            return bool(answer.pieces)

        gone = client.request(
            "POST",
            "/v1/completions",
            {"prompt": [2, 97], "max_tokens": 50, "stream": True},
            leave_after=first_event,
        )
        answer = await gone
        assert len(answer.pieces) == 1
        model.gate.set()
        # Served after it, so that the model has noticed.
        assert (await client.complete(prompt="a", max_tokens=1)).status == 200
        assert model.produced <= 4

    serving(test)


@pytest.mark.parametrize("stream", [False, True])
def test_a_failing_model_fails_one_request(
    stream: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    async def test(client: Client, model: FakeModel) -> None:
        answer = await client.complete(prompt=[1], stream=stream)
        if stream:
            event, done = answer.events
            assert done == "[DONE]"
        else:
            assert answer.status == 500
            event = answer.json
        assert event["error"]["message"] == "The model failed: ValueError: one"
        assert event["error"]["type"] == "server_error"
        assert (await client.complete(prompt="a", max_tokens=1)).status == 200

    serving(test)
    assert "ValueError: one" in capsys.readouterr().err


def test_errors_look_like_openais() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        answer = await client.complete(prompt="a", max_tokens=0)
        assert answer.status == 400
        assert answer.json == {
            "error": {
                "message": "'max_tokens' must be at least 1, not 0.",
                "type": "invalid_request_error",
                "param": "max_tokens",
                "code": None,
            }
        }
        assert (await client.complete(prompt="a", model="x")).json["error"]["code"] == (
            "model_not_found"
        )
        assert (await client.request("POST", "/v1/completions", b"{")).status == 400
        for method, path, status in (
            ("GET", "/v1/completions", 405),
            ("GET", "/v1/nothing", 404),
            ("POST", "/v1/chat/completions", 404),
        ):
            answer = await client.request(method, path)
            assert answer.status == status
            assert answer.json["error"]["type"] == "invalid_request_error"

    serving(test)


def test_models() -> None:
    async def test(client: Client, model: FakeModel) -> None:
        assert (await client.request("GET", "/v1/models")).json == {
            "object": "list",
            "data": [
                {
                    "id": "m",
                    "object": "model",
                    "created": 1,
                    "owned_by": "tuneonce",
                    "max_model_len": 100,
                    "vocab_size": 300,
                }
            ],
        }

    serving(test)


def test_not_ready_until_the_model_is_loaded_and_warm() -> None:
    loaded, model = threading.Event(), FakeModel()

    def load() -> FakeModel:
        loaded.wait(30)
        return model

    engine = Engine(load, warmup=True)

    async def run() -> None:
        async with Client(create_app(engine, SERVED)) as client:
            assert (await client.request("GET", "/health")).status == 503
            assert (await client.complete(prompt="a")).status == 503
            assert (await client.complete(prompt="a", max_tokens=0)).status == 400
            assert (await client.request("GET", "/v1/models")).status == 200
            loaded.set()
            await until_ready(engine)
            assert (await client.request("GET", "/health")).status == 200

    asyncio.run(run())
    assert [len(call[0]) for call in model.calls] == [64]


def test_a_model_that_cannot_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    told = threading.Event()

    def load() -> FakeModel:
        raise MemoryError("no room")

    engine = Engine(load, on_failure=told.set)
    engine.start()
    assert told.wait(30)
    assert not engine.ready
    assert isinstance(engine.error, MemoryError)
    assert engine.stop()
    assert "no room" in capsys.readouterr().err


def test_stopping_interrupts_and_refuses() -> None:
    model = FakeModel()
    engine = Engine(lambda: model)

    async def ask(first: int) -> str:
        try:
            return "".join([s.text async for s in engine.generate(Request([first, 97], 3))])
        except EngineStopped:
            return "stopped"

    async def run() -> None:
        engine.start()
        await until_ready(engine)
        tasks = [asyncio.create_task(ask(first)) for first in (2, 3)]
        await asyncio.to_thread(model.waiting.wait, 30)
        assert await asyncio.to_thread(engine.stop)
        assert await asyncio.gather(*tasks) == ["stopped", "stopped"]
        assert await ask(4) == "stopped"
        assert not engine.ready

    asyncio.run(run())


def test_stopping_while_the_model_is_loaded() -> None:
    loading = threading.Event()

    def load() -> FakeModel:
        loading.set()
        gate = threading.Event()
        while not gate.wait(0.01):
            pass
        raise AssertionError

    engine = Engine(load)
    engine.start()
    assert loading.wait(30)
    assert engine.stop()
    assert engine.error is None


def test_metrics_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Totals(processes=1)
    counted.add({"e": "tune", "seconds": 2.5, "waited_s": 2.5}, serving=True)
    monkeypatch.setattr("tuneonce.activation.install.totals", lambda: counted)

    async def test(client: Client, model: FakeModel) -> None:
        answer = await client.request("GET", "/metrics")
        assert answer.status == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        assert (
            'tuneonce_tune_seconds_total{phase="serving"} 2.5' in b"".join(answer.pieces).decode()
        )

    serving(test)
