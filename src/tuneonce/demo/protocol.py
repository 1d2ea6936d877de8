"""OpenAI's completion requests and answers, as far as the demo speaks them. No HTTP here.

Fields: https://platform.openai.com/docs/api-reference/completions; ``ignore_eos`` and the token
lists' meaning are vLLM's. Fields that would change the answer in a way the demo cannot are refused,
fields that it does not know are ignored.
"""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .engine import Request
from .tokenizer import encode


class BadRequest(Exception):
    """The client sent something that cannot be answered. `param` names the field."""

    def __init__(
        self, message: str, *, param: str | None = None, status: int = 400, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.status = status
        self.code = code


@dataclass(frozen=True)
class ServedModel:
    """What the server says of its model. `created` is in Unix seconds."""

    name: str
    max_model_len: int
    vocab_size: int
    created: int = field(default_factory=lambda: int(time.time()))

    def listing(self) -> dict[str, Any]:
        """The body of ``GET /v1/models``."""
        card = {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "tuneonce",
            "max_model_len": self.max_model_len,
            "vocab_size": self.vocab_size,
        }
        return {"object": "list", "data": [card]}


@dataclass(frozen=True)
class CompletionRequest:
    """One body of ``POST /v1/completions``: a request for each prompt in it."""

    requests: list[Request]
    stream: bool
    include_usage: bool

    @property
    def prompt_tokens(self) -> int:
        return sum(len(request.tokens) for request in self.requests)


# What only one value of makes sense here, None aside.
_FIXED: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (1,),
    "echo": (False,),
    "logprobs": (),
    "suffix": ("",),
    "stop": ([], ""),
    "top_p": (1,),
    "logit_bias": ({},),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
}


def parse(body: bytes, *, model: ServedModel) -> CompletionRequest:
    """Read and check a request body. Raises BadRequest."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"The body is not valid JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRequest("The body must be a JSON object.")
    name = fields.get("model")
    if name is not None and name != model.name:
        raise BadRequest(
            f"The model {name!r} does not exist; this server has {model.name!r}.",
            param="model",
            status=404,
            code="model_not_found",
        )
    for key, allowed in _FIXED.items():
        value = fields.get(key)
        if value is not None and value not in allowed:
            raise BadRequest(f"{key!r} is not supported by this server.", param=key)
    stream = _flag(fields, "stream")
    options = fields.get("stream_options")
    if options is not None and not isinstance(options, dict):
        raise BadRequest("'stream_options' must be an object.", param="stream_options")
    if options and not stream:
        raise BadRequest("'stream_options' needs 'stream': true.", param="stream_options")
    return CompletionRequest(
        requests=_requests(fields, model),
        stream=stream,
        include_usage=_flag(options or {}, "include_usage"),
    )


def _requests(fields: Mapping[str, Any], model: ServedModel) -> list[Request]:
    max_tokens = _integer(fields, "max_tokens", default=16)
    if max_tokens < 1:
        raise BadRequest(f"'max_tokens' must be at least 1, not {max_tokens}.", param="max_tokens")
    temperature = fields.get("temperature")
    temperature = 1.0 if temperature is None else temperature
    if (
        isinstance(temperature, bool)
        or not isinstance(temperature, (int, float))
        or not math.isfinite(temperature)
        or temperature < 0
    ):
        raise BadRequest("'temperature' must be a number of at least 0.", param="temperature")
    seed = _integer(fields, "seed", default=secrets.randbits(32))
    requests = []
    for tokens in _prompts(fields.get("prompt"), model):
        if len(tokens) + max_tokens > model.max_model_len:
            raise BadRequest(
                f"This model's maximum context length is {model.max_model_len} tokens, but "
                f"{len(tokens)} in the prompt and 'max_tokens' {max_tokens} were asked for.",
                param="prompt",
                code="context_length_exceeded",
            )
        requests.append(
            Request(
                tokens=tokens,
                max_tokens=max_tokens,
                temperature=float(temperature),
                # A generator takes 64 bits; negative seeds are as good as others.
                seed=seed % 2**63,
                ignore_eos=_flag(fields, "ignore_eos"),
            )
        )
    return requests


def _prompts(prompt: Any, model: ServedModel) -> list[list[int]]:
    """A text, a list of tokens, or a list of either → the tokens of each prompt."""
    if prompt is None:
        raise BadRequest("'prompt' is missing.", param="prompt")
    single = isinstance(prompt, str) or (
        isinstance(prompt, list) and not any(isinstance(item, (str, list)) for item in prompt)
    )
    prompts = [prompt] if single else prompt
    if not isinstance(prompts, list):
        raise BadRequest(
            "'prompt' must be a string, a list of tokens, or a list of these.", param="prompt"
        )
    return [_tokens(item, model) for item in prompts]


def _tokens(prompt: Any, model: ServedModel) -> list[int]:
    if isinstance(prompt, str):
        tokens = encode(prompt)
    elif isinstance(prompt, list) and all(type(token) is int for token in prompt):
        tokens = prompt
    else:
        raise BadRequest(
            "'prompt' must be a string, a list of tokens, or a list of these.", param="prompt"
        )
    if not tokens:
        raise BadRequest("'prompt' must not be empty.", param="prompt")
    for token in tokens:
        if not 0 <= token < model.vocab_size:
            raise BadRequest(
                f"Token {token} is outside the vocabulary (0 to {model.vocab_size - 1}).",
                param="prompt",
            )
    return tokens


def _flag(fields: Mapping[str, Any], key: str) -> bool:
    value = fields.get(key)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise BadRequest(f"{key!r} must be true or false.", param=key)
    return value


def _integer(fields: Mapping[str, Any], key: str, *, default: int) -> int:
    value = fields.get(key)
    if value is None:
        return default
    if type(value) is not int:
        raise BadRequest(f"{key!r} must be a whole number.", param=key)
    return value


def new_id() -> str:
    """An id for one answer."""
    return f"cmpl-{secrets.token_hex(16)}"


def completion(
    answer_id: str, model: str, choices: list[dict[str, Any]], **more: Any
) -> dict[str, Any]:
    """An answer, or one piece of a streamed one. `more`: further members, such as ``usage``."""
    return {
        "id": answer_id,
        "object": "text_completion",
        "created": int(time.time()),
        "model": model,
        "choices": choices,
        **more,
    }


def choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    """One member of ``choices``."""
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def usage(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """The ``usage`` member."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def error_body(
    message: str, *, status: int, param: str | None = None, code: str | None = None
) -> dict[str, Any]:
    """The body of an answer that is an error, for HTTP status `status`."""
    kind = "invalid_request_error" if 400 <= status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
