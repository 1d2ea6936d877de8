"""What a benchmark leaves behind: one JSON document, complete enough to be redrawn years later.

Two schemas: ``tuneonce.bench-restart/1`` (`Restart`) and ``tuneonce.bench-serve/1`` (`Serve`).
Fields may be added under the same number; a field that changes its meaning gets a new one. Raw
samples stay in the document, so every mean and percentile can be computed again.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal

import msgspec

from ..errors import UsageError

RESTART: Final = "tuneonce.bench-restart/1"
SERVE: Final = "tuneonce.bench-serve/1"


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """A load, by the names of vLLM's ``vllm bench serve``.

    `input_len` counts tokens with ``prompt_format="tokens"`` (ids drawn from `token_low` to
    `token_high`, both included) and one-letter words with ``"text"``; with `input_len_to` a prompt
    has any number from the one to the other, both included, drawn from `seed`, or from
    `lengths_seed` where loads of equal lengths are to have different prompts. `max_concurrency`
    None means all requests at once, `model` None the first that the server lists.
    """

    input_len: int
    output_len: int
    num_prompts: int
    max_concurrency: int | None = None
    ignore_eos: bool = False
    temperature: float = 0.0
    seed: int = 0
    prompt_format: Literal["tokens", "text"] = "tokens"
    token_low: int = 32
    token_high: int = 126
    model: str | None = None
    endpoint: str = "/v1/completions"
    request_timeout_s: float = 3600.0
    input_len_to: int | None = None
    lengths_seed: int | None = None


class Spread(msgspec.Struct, frozen=True, kw_only=True):
    """Mean, median and 99th percentile in milliseconds; None where there are no samples."""

    mean: float | None
    median: float | None
    p99: float | None


class LoadResult(msgspec.Struct, frozen=True, kw_only=True):
    """One load, measured at the client, with vLLM's definitions.

    Throughputs are counts of the successful requests over `duration_s`, the time from the first
    request sent to the last answer complete. Samples are those of successful requests, in the
    order of the prompts. `errors` maps the text of an error to how many requests met it; their
    counts sum up to `failed`. `output_digest` is the SHA-256 of all generated text in that order,
    None when a request failed.
    """

    model: str
    successful: int
    failed: int
    duration_s: float
    total_input_tokens: int
    total_output_tokens: int
    request_throughput: float
    output_token_throughput: float
    total_token_throughput: float
    ttft_ms: Spread
    tpot_ms: Spread
    itl_ms: Spread
    ttft_samples_ms: list[float]
    tpot_samples_ms: list[float]
    itl_samples_ms: list[float]
    errors: dict[str, int]
    output_digest: str | None = None


class Events(msgspec.Struct, frozen=True, kw_only=True):
    """What the processes of one server counted themselves, summed up; seconds end in ``_s``.

    `ready` counts the processes that said that their start-up was over, `serving_tunes`,
    `serving_compiles` and `serving_s` what they did after it. With `ready` 0 that is not known.
    """

    processes: int
    tunes: int
    candidates_measured: int
    compiles: int
    disk_loads: int
    tune_s: float
    compile_s: float
    load_s: float
    hits: int
    provisional: int
    misses: int
    saved_s: float
    ready: int = 0
    serving_tunes: int = 0
    serving_compiles: int = 0
    serving_s: float = 0.0


class Run(LoadResult, frozen=True, kw_only=True):
    """One life of the server in one arm. Run 1 is the cold start, run 2 the restart.

    `after` says what was done to the arm's directories before this run, which otherwise finds them
    as the one before left them. `new_lengths` counts the requests whose prompts have a length that
    no run before had; None where all prompts have one length.

    `startup_s` runs from the start of the process to its first healthy answer. `events` is None
    when no process of the server wrote any. `server_status` is the exit status as the shell of a
    parent sees it (negative: ended by that signal), `server_end` how it came about: the server
    was ``terminated`` as asked, had to be ``killed``, or had ended by ``itself`` before.

    `engine_init_s` is read from vLLM's log, one figure for each engine core that wrote it; None
    where the log has none. `winners` are the tuning results that were stored when the server had
    ended, by kernel and key; None for an arm that stores none.
    """

    arm: str
    run: int
    repeat: int
    started: str
    startup_s: float
    events: Events | None
    server_status: int | None
    server_end: Literal["terminated", "killed", "itself"]
    after: str | None = None
    engine_init_s: list[float] | None = None
    winners: dict[str, dict[str, str]] | None = None
    new_lengths: int | None = None


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    platform: str
    cpu_count: int
    cpu_usable: int
    cpu_model: str | None
    python: str


class Gpu(msgspec.Struct, frozen=True, kw_only=True):
    """The GPUs that ``nvidia-smi`` lists; `visible` is CUDA_VISIBLE_DEVICES, if set."""

    name: str
    count: int
    driver: str
    visible: str | None = None


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """A restart benchmark. `complete` is false while it runs and if it was stopped early.

    `arms` says which environment variables set the arms apart (None: removed). `then` are the
    runs that follow the `runs_per_repeat` ones, by what is done before each (`Run.after`).
    `interpreted`: in Triton's interpreter, where nothing is compiled. With `Load.input_len_to` the
    prompts of each run have other lengths, the same in every arm and repeat.
    """

    schema: Literal["tuneonce.bench-restart/1"] = RESTART
    created: str
    complete: bool
    tuneonce: str
    command: list[str]
    server_command: list[str]
    machine: Machine
    gpu: Gpu | None
    versions: dict[str, str | None]
    load: Load
    arms: dict[str, dict[str, str | None]]
    repeats: int
    runs_per_repeat: int
    runs: list[Run]
    notes: list[str] = []
    then: list[str] = []
    interpreted: bool = False


class Serve(msgspec.Struct, frozen=True, kw_only=True):
    """One load on a server that runs already."""

    schema: Literal["tuneonce.bench-serve/1"] = SERVE
    created: str
    tuneonce: str
    command: list[str]
    base_url: str
    machine: Machine
    load: Load
    result: LoadResult


class _Head(msgspec.Struct):
    schema: str


def encode(document: Restart | Serve) -> bytes:
    """Return the document as indented JSON."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n"


def decode(data: bytes, *, source: str) -> Restart | Serve:
    """Read a document of any schema known here. `source` names it in errors.

    Raises `UsageError` for anything else.
    """
    try:
        schema = msgspec.json.decode(data, type=_Head).schema
        if schema == RESTART:
            return msgspec.json.decode(data, type=Restart)
        if schema == SERVE:
            return msgspec.json.decode(data, type=Serve)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UsageError(f"{source} is not a benchmark's document: {error}") from error
    raise UsageError(f"{source} has schema {schema!r}; this version reads {RESTART} and {SERVE}")


def load_document(path: Path) -> Restart | Serve:
    """Read the document in a file. Raises `UsageError` if it is not one or cannot be read."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    return decode(data, source=str(path))


def save_document(path: Path, document: Restart | Serve) -> None:
    """Write the document so that a reader sees the old file or the whole new one."""
    write_whole(path, encode(document))


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old one or the whole new one. Raises OSError."""
    with replacing(path) as file:
        file.write(data)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of another one when all of it was written, or not at all.

    Raises OSError.
    """
    # Not mkstemp, which makes files private: a result is as readable as any file of its author.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(path: Path) -> None:
    """Raise `UsageError` now rather than lose a result after an hour of measuring."""
    if path.is_dir():
        raise UsageError(f"cannot write {path}: it is a directory")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"cannot write {path}: no permission in {path.parent}")
