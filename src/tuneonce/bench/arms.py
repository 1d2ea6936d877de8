"""The arms of the restart benchmark: one server command in three surroundings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

# Read by the server and different in every arm, so nothing of the caller's may shine through.
_OURS = (
    "TUNEONCE",
    "TUNEONCE_STORE",
    "TUNEONCE_EVENTS",
    "TRITON_CACHE_AUTOTUNING",
    "TRITON_CACHE_DIR",
    "FLA_CACHE_RESULTS",
)
# Both would spoil every arm alike: the first tunes nothing, and the second is taken by a vLLM
# for ports of its own, whichever port its command names.
_UNWANTED = ("VLLM_TRITON_FORCE_FIRST_CONFIG", "VLLM_PORT")

# What may be emptied before a run, and the variable that names the directory.
EMPTIED = {"empty-triton-cache": "TRITON_CACHE_DIR", "empty-store": "TUNEONCE_STORE"}


@dataclass(frozen=True, kw_only=True)
class Arm:
    """`settings` sets environment variables, or removes those with None."""

    name: str
    about: str
    settings: Mapping[str, str | None]


# `observe` counts tunes, compiles and loads and changes nothing; without it there would be no
# figures for the stock arms but those scraped from logs.
_ALL = (
    Arm(
        name="stock",
        about="Triton alone, tuning results not kept",
        # flash-linear-attention, and servers that carry a copy of it, turn Triton's cache on for
        # every kernel unless its own variable says no.
        settings={
            "TUNEONCE": "observe",
            "TRITON_CACHE_AUTOTUNING": "0",
            "FLA_CACHE_RESULTS": "0",
        },
    ),
    Arm(
        name="stock-cache",
        about="Triton alone, tuning results in Triton's own cache",
        settings={"TUNEONCE": "observe", "TRITON_CACHE_AUTOTUNING": "1"},
    ),
    Arm(
        name="tuneonce",
        about="tuneonce with its defaults",
        settings={"TUNEONCE": "1", "TRITON_CACHE_AUTOTUNING": None},
    ),
)
ARMS: dict[str, Arm] = {arm.name: arm for arm in _ALL}


def environment(
    arm: Arm,
    *,
    base: Mapping[str, str],
    caches: Path,
    events: Path,
    activate: Callable[[dict[str, str]], dict[str, str]],
) -> dict[str, str]:
    """Return the environment of one run.

    `caches` is kept over the runs of an arm and holds everything that could make a second start
    faster; `events` is new for each run. `activate` returns its argument with
    what makes a Python child start with tuneonce in it.
    """
    env = {
        name: value for name, value in base.items() if name not in _OURS and name not in _UNWANTED
    }
    # XDG_CACHE_HOME moves below. Downloads are not what is measured, so they stay where they are.
    cache_home = Path(base.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
    env.setdefault("HF_HOME", str(cache_home / "huggingface"))
    env.setdefault("TORCH_HOME", str(cache_home / "torch"))
    env.update(
        TRITON_CACHE_DIR=str(caches / "triton"),
        TUNEONCE_STORE=str(caches / "store"),
        TORCHINDUCTOR_CACHE_DIR=str(caches / "inductor"),
        VLLM_CACHE_ROOT=str(caches / "vllm"),
        SGLANG_CACHE_DIR=str(caches / "sglang"),
        FLASHINFER_WORKSPACE_BASE=str(caches / "flashinfer"),
        TILELANG_CACHE_DIR=str(caches / "tilelang"),
        CUDA_CACHE_PATH=str(caches / "cuda"),
        XDG_CACHE_HOME=str(caches / "xdg"),
        TUNEONCE_EVENTS=str(events),
    )
    env = dict(activate(env))
    for name, value in arm.settings.items():
        if value is None:
            env.pop(name, None)
        else:
            env[name] = value
    return env
