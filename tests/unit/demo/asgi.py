"""Speaks ASGI to an application, without a server or a network."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)

    @property
    def json(self) -> Any:
        return json.loads(b"".join(self.pieces))

    @property
    def events(self) -> list[Any]:
        """The data of each server-sent event; the closing ``[DONE]`` as a string."""
        blocks = b"".join(self.pieces).decode().split("\n\n")
        assert blocks.pop() == ""
        assert all(block.startswith("data: ") for block in blocks)
        data = [block.removeprefix("data: ") for block in blocks]
        return [item if item == "[DONE]" else json.loads(item) for item in data]


class Client:
    """Requests to one running application. Use it as an async context manager."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._started = asyncio.Event()

    async def __aenter__(self) -> Client:
        async def send(message: dict[str, Any]) -> None:
            assert message["type"].endswith(".complete"), message
            self._started.set()

        await self._to_app.put({"type": "lifespan.startup"})
        self._lifespan = asyncio.create_task(
            self._app({"type": "lifespan", "asgi": {}, "state": {}}, self._to_app.get, send)
        )
        await self._started.wait()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._to_app.put({"type": "lifespan.shutdown"})
        await self._lifespan

    async def request(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        leave_after: Callable[[Answer], bool] = lambda answer: False,
    ) -> Answer:
        """`body` is bytes, or something to send as JSON. The client leaves once `leave_after`."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        incoming = [{"type": "http.request", "body": raw, "more_body": False}]
        answer, left = Answer(), asyncio.Event()

        async def receive() -> dict[str, Any]:
            if incoming:
                return incoming.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            elif message.get("body"):
                answer.pieces.append(message["body"])
            if leave_after(answer):
                left.set()

        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "root_path": "",
            "scheme": "http",
            "query_string": b"",
            "headers": [(b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
        }
        await self._app(scope, receive, send)
        return answer

    async def complete(self, **body: Any) -> Answer:
        return await self.request("POST", "/v1/completions", body)
