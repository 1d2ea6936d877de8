from __future__ import annotations

from pathlib import Path

import pytest

from tuneonce.bench.readings import engine_init_s

TOOK = "init engine (profile, create kv cache, warmup model) took"


@pytest.mark.parametrize(
    ("log", "seconds"),
    [
        ("", None),
        ("INFO starting\nINFO ready\n", None),
        (f"INFO 02-18 08:50:25 llm_engine.py:429] {TOOK} 3.87 seconds\n", [3.87]),
        (f"(EngineCore pid=1) INFO [core.py:349] {TOOK} 212.68 s (compilation: 13.01 s)", [212.68]),
        (f"(EngineCore_DP1) {TOOK} 9.4 s\nother\n(EngineCore_DP0) {TOOK} 10 s\n", [9.4, 10.0]),
        (f"{TOOK} long\n{TOOK} . s\n", None),
    ],
)
def test_what_vllm_says_of_its_engine(
    tmp_path: Path, log: str, seconds: list[float] | None
) -> None:
    path = tmp_path / "log"
    path.write_text(log)
    assert engine_init_s(path) == seconds


def test_a_log_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"\xff\xfe\0 " + TOOK.encode() + b" 1.5 s\xff\n")
    assert engine_init_s(path) == [1.5]
    assert engine_init_s(tmp_path / "none") is None
