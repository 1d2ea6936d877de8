from __future__ import annotations

from pathlib import Path

import pytest

from tuneonce.bench.arms import ARMS, environment

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


def test_downloaded_models_stay_where_they_are() -> None:
    assert made("stock")["HF_HOME"] == "/caches/huggingface"
    assert made("stock")["TORCH_HOME"] == "/caches/torch"
    assert made("stock", {"HF_HOME": "/hf"})["HF_HOME"] == "/hf"
    assert made("stock", {})["HF_HOME"].endswith("/.cache/huggingface")
