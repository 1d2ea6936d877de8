"""Make a Qwen3-Next-like model with random weights, for servers of Hugging Face Transformers.

Gated DeltaNet layers and full attention three to one, with the head dimensions of Qwen3-Next
(128 and 256), and a dense MLP in place of the experts: it is the Triton kernels of
flash-linear-attention that are measured, and experts have none. Nothing is downloaded.

    python benchmarks/transformers_model.py DIR --size h200
    python benchmarks/transformers_model.py --check     # do the layers call FLA's kernels?

The weights are drawn from a fixed seed on the CPU. The model never ends a text by itself, and
each of its tokens is a piece of ASCII text, so that a server streams every one as it is made.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import inspect
import json
import string
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SEED = 0
MODELING = "transformers.models.qwen3_next.modeling_qwen3_next"

# What the layers call (Transformers' name of its own reference implementation), and the package
# whose kernel takes its place where that package can be imported.
KERNELS = {
    "torch_chunk_gated_delta_rule": "fla",
    "torch_recurrent_gated_delta_rule": "fla",
    "causal_conv1d_fn": "causal_conv1d",
    "causal_conv1d_update": "causal_conv1d",
}

# Head dimensions are Qwen3-Next's in both; `h200` has its width and its number of heads as well.
SIZES: dict[str, dict[str, int]] = {
    "tiny": {
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "linear_num_key_heads": 1,
        "linear_num_value_heads": 2,
    },
    "h200": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 8,
        "num_attention_heads": 16,
        "num_key_value_heads": 2,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
    },
}


def make_tokenizer() -> Any:
    """Return a tokenizer for printable ASCII: a character is a token, with a space before it too.

    So "a b c" is three tokens, and a prompt of N letters that are separated by spaces is N.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    space = "Ġ"  # as byte-level tokenizers write it
    visible = string.digits + string.ascii_letters + string.punctuation
    tokens = [space, *visible, *(space + character for character in visible)]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=[(space, character) for character in visible],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def make_model(directory: Path, *, size: str, dtype: str) -> int:
    """Write configuration, weights and tokenizer to `directory`; return the number of weights."""
    import torch
    from transformers import AutoModelForCausalLM, GenerationConfig, Qwen3NextConfig

    tokenizer = make_tokenizer()
    shape = SIZES[size]
    config = Qwen3NextConfig(
        vocab_size=len(tokenizer),
        head_dim=256,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        linear_conv_kernel_dim=4,
        mlp_only_layers=list(range(shape["num_hidden_layers"])),
        max_position_embeddings=32768,
        **shape,
    )
    torch.manual_seed(SEED)
    model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    # Greedy, and with no end-of-text token: as much is generated as is asked for.
    model.generation_config = GenerationConfig(do_sample=False)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return sum(weights.numel() for weights in model.parameters())


def bound(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a function calls that Transformers lets a package's kernel take the place of.

    Transformers binds it while the model's module is imported, and keeps it in a closure.
    """
    while True:
        inside = inspect.getclosurevars(inspect.unwrap(function, stop=_has_choice)).nonlocals
        if "implementation" in inside:
            return inside["implementation"]  # type: ignore[no-any-return]
        if not hasattr(function, "__wrapped__"):
            return function
        function = function.__wrapped__


def _has_choice(function: Callable[..., Any]) -> bool:
    return "implementation" in getattr(getattr(function, "__code__", None), "co_freevars", ())


def check() -> dict[str, Any]:
    """Return which implementation each of the layers' functions is bound to, and the versions."""
    modeling = importlib.import_module(MODELING)
    found = {}
    for name, package in KERNELS.items():
        implementation = inspect.unwrap(bound(getattr(modeling, name)))
        module = implementation.__module__
        found[name] = {
            "calls": f"{module}.{implementation.__qualname__}",
            "kernels": module.partition(".")[0] == package,
        }
    versions: dict[str, str | None] = {}
    for package in ("transformers", "torch", "triton", "fla-core", "flash-linear-attention"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {"functions": found, "versions": versions}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", nargs="?", type=Path, help="where to write the model")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    parser.add_argument(
        "--check", action="store_true", help="say what the layers call; exit 1 if it is not FLA"
    )
    args = parser.parse_args()
    if args.directory is None and not args.check:
        parser.error("name a directory, or --check")
    if args.directory is not None:
        began = time.perf_counter()
        count = make_model(args.directory, size=args.size, dtype=args.dtype)
        seconds = time.perf_counter() - began
        print(
            f"{args.directory}: {count / 1e6:.1f} million weights, made in {seconds:.1f} s",
            file=sys.stderr,
        )
    if args.check:
        report = check()
        print(json.dumps(report, indent=1))
        return 0 if report["functions"]["torch_chunk_gated_delta_rule"]["kernels"] else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
