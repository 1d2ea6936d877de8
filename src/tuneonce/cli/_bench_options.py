"""The options that the benchmark commands share, and the types of their values."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import UsageError
from ._numbers import above_zero, not_negative, port, positive
from ._output import add_output_options

if TYPE_CHECKING:
    from ..bench.result import Load

ARM_NAMES = ("stock", "stock-cache", "tuneonce")
THEN_NAMES = ("restart", "empty-triton-cache", "empty-store")


class Subparsers(Protocol):
    """What ``argparse.ArgumentParser.add_subparsers`` returns, which has no public name."""

    def add_parser(self, name: str, **kwargs: Any) -> argparse.ArgumentParser: ...


def add_load_arguments(
    parser: argparse.ArgumentParser,
    *,
    input_len: int | None,
    output_len: int | None,
    num_prompts: int | None,
    max_concurrency: int | None,
) -> None:
    """Add the options of a load, named as vLLM names them. A default of None is chosen later."""
    group = parser.add_argument_group("load")

    def count(option: str, default: int | None, text: str) -> None:
        shown = text if default is None else f"{text} (default: {default})"
        group.add_argument(option, type=positive, default=default, metavar="N", help=shown)

    count("--num-prompts", num_prompts, "requests to send")
    count("--input-len", input_len, "random tokens in a prompt")
    count("--input-len-to", None, "or any number from --input-len to this; in each start others")
    count("--output-len", output_len, "tokens to generate")
    count("--max-concurrency", max_concurrency, "requests at a time")
    group.add_argument(
        "--ignore-eos", action="store_true", help="do not stop before --output-len tokens"
    )
    group.add_argument(
        "--temperature", type=not_negative, default=0.0, metavar="T", help="default: 0, greedy"
    )
    group.add_argument("--seed", type=int, default=0, metavar="N", help="of the random prompts")
    group.add_argument(
        "--prompt-format",
        choices=("tokens", "text"),
        default="tokens",
        help="prompts as token ids, or as random letters for servers that take only text",
    )
    group.add_argument(
        "--token-range",
        type=token_range,
        default=(32, 126),
        metavar="LOW:HIGH",
        help="token ids to draw from (default: 32:126)",
    )
    group.add_argument("--model", help="default: the first that the server lists")
    group.add_argument(
        "--endpoint", default="/v1/completions", metavar="PATH", help="default: /v1/completions"
    )
    group.add_argument(
        "--request-timeout",
        type=above_zero,
        default=3600.0,
        metavar="S",
        help="seconds after which a request has failed (default: 3600)",
    )


def add_restart_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of a restart benchmark, whatever the server."""
    parser.add_argument(
        "--arms",
        type=arms,
        help=f"what to compare, of {','.join(ARM_NAMES)} (default: all that make sense here)",
    )
    parser.add_argument(
        "--repeats", type=positive, default=1, metavar="N", help="of everything (default: 1)"
    )
    parser.add_argument(
        "--runs",
        type=positive,
        default=2,
        metavar="N",
        help="starts per arm and repeat, the first of them cold (default: 2)",
    )
    parser.add_argument(
        "--then",
        action="append",
        choices=THEN_NAMES,
        default=[],
        help="one more start after those, with this done before it; may be given again",
    )
    parser.add_argument(
        "--then-arms",
        type=arms,
        metavar="ARMS",
        help="the arms that do what --then says (default: all of --arms)",
    )
    parser.add_argument(
        "--port", type=port, default=0, metavar="N", help="of the server (default: a free one)"
    )
    parser.add_argument(
        "--startup-timeout",
        type=above_zero,
        default=1800.0,
        metavar="S",
        help="seconds in which the server must become healthy (default: 1800)",
    )
    parser.add_argument(
        "--stop-timeout",
        type=above_zero,
        default=60.0,
        metavar="S",
        help="seconds in which all of it must end before it is killed (default: 60)",
    )
    parser.add_argument(
        "--work-dir",
        type=Path,
        metavar="DIR",
        help="for caches and logs; logs stay there (default: a temporary directory)",
    )
    parser.add_argument("--keep", action="store_true", help="keep caches and logs at the end")
    add_output_options(parser)


def plan_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the options of `add_restart_arguments` and the load say of a plan."""
    return {
        "repeats": args.repeats,
        "runs": args.runs,
        "then": tuple(args.then),
        "then_arms": args.then_arms,
        "load": load_from(args),
        "startup_timeout_s": args.startup_timeout,
        "stop_timeout_s": args.stop_timeout,
        "work_dir": args.work_dir,
        "keep": args.keep,
    }


def load_from(args: argparse.Namespace) -> Load:
    """Return the load that the options describe."""
    from ..bench.result import Load

    low, high = args.token_range
    if not args.endpoint.startswith("/"):
        raise UsageError(f"--endpoint {args.endpoint} must start with /")
    if args.input_len_to is not None and args.input_len_to < args.input_len:
        raise UsageError(f"--input-len-to {args.input_len_to} is less than {args.input_len}")
    return Load(
        input_len=args.input_len,
        input_len_to=args.input_len_to,
        output_len=args.output_len,
        num_prompts=args.num_prompts,
        max_concurrency=args.max_concurrency,
        ignore_eos=args.ignore_eos,
        temperature=args.temperature,
        seed=args.seed,
        prompt_format=args.prompt_format,
        token_low=low,
        token_high=high,
        model=args.model,
        endpoint=args.endpoint,
        request_timeout_s=args.request_timeout,
    )


def token_range(text: str) -> tuple[int, int]:
    """``LOW:HIGH``, both included."""
    low, _, high = text.partition(":")
    if not 0 <= int(low) <= int(high):
        raise ValueError
    return int(low), int(high)


def arms(text: str) -> tuple[str, ...]:
    """Names of arms separated by commas, each at most once."""
    names = tuple(text.split(","))
    unknown = [name for name in names if name not in ARM_NAMES]
    if unknown or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(
            f"{text!r}: choose from {', '.join(ARM_NAMES)}, each once, separated by commas"
        )
    return names
