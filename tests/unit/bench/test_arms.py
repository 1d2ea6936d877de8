from __future__ import annotations

from pathlib import Path

import pytest

from tuneonce.bench.arms import ARMS, EMPTIED, environment
from tuneonce.cli._bench_options import THEN_NAMES

CALLER = {
    "PATH": "/bin",
    "HOME": "/home/me",
    "TUNEONCE": "0",
    "TUNEONCE_RAISE": "1",
    "TUNEONCE_STORE": "/mine",
    "TUNEONCE_EVENTS": "/mine",
    "TRITON_CACHE_AUTOTUNING": "0",
    "TRITON_CACHE_DIR": "/mine",
    "TRITON_PRINT_AUTOTUNING": "1",
    "XDG_CACHE_HOME": "/caches",
}


def made(arm: str, base: dict[str, str] = CALLER) -> dict[str, str]:
    return environment(
        ARMS[arm],
        base=base,
        caches=Path("/arm"),
        events=Path("/run"),
        activate=lambda env: {**env, "PYTHONPATH": "/boot", "TUNEONCE": "1"},
    )


@pytest.mark.parametrize(
    ("arm", "mode", "caching"),
    [("stock", "observe", "0"), ("stock-cache", "observe", "1"), ("tuneonce", "1", None)],
)
def test_what_sets_the_arms_apart(arm: str, mode: str, caching: str | None) -> None:
    env = made(arm)
    assert env["TUNEONCE"] == mode
    assert env.get("TRITON_CACHE_AUTOTUNING") == caching
    assert env["PYTHONPATH"] == "/boot"
    assert env["TUNEONCE_EVENTS"] == "/run"
    directories = {name: value for name, value in env.items() if value.startswith("/arm/")}
    assert set(directories) == {
        "CUDA_CACHE_PATH",
        "FLASHINFER_WORKSPACE_BASE",
        "SGLANG_CACHE_DIR",
        "TILELANG_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
        "TUNEONCE_STORE",
        "VLLM_CACHE_ROOT",
        "XDG_CACHE_HOME",
    }
    assert len(set(directories.values())) == len(directories)


def test_what_is_not_measured_stays_the_callers() -> None:
    env = made("stock")
    for name in ("PATH", "HOME", "TUNEONCE_RAISE", "TRITON_PRINT_AUTOTUNING"):
        assert env[name] == CALLER[name]


def test_what_would_spoil_every_arm_is_not_passed_on() -> None:
    env = made("stock", {**CALLER, "VLLM_PORT": "1", "VLLM_TRITON_FORCE_FIRST_CONFIG": "1"})
    assert not {"VLLM_PORT", "VLLM_TRITON_FORCE_FIRST_CONFIG"} & set(env)


def test_what_may_be_emptied_is_of_the_arm_alone() -> None:
    assert ("restart", *EMPTIED) == THEN_NAMES
    assert all(made("stock")[name].startswith("/arm/") for name in EMPTIED.values())


def test_downloaded_models_stay_where_they_are() -> None:
    assert made("stock")["HF_HOME"] == "/caches/huggingface"
    assert made("stock")["TORCH_HOME"] == "/caches/torch"
    assert made("stock", {"HF_HOME": "/hf"})["HF_HOME"] == "/hf"
    assert made("stock", {})["HF_HOME"].endswith("/.cache/huggingface")
