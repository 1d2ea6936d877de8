"""Documents to draw and to store, with figures chosen by hand."""

from __future__ import annotations

from typing import Any

import msgspec

from tuneonce.bench.metrics import spread
from tuneonce.bench.result import Events, Load, Machine, Restart, Run

LOAD = Load(input_len=8, output_len=2, num_prompts=2, max_concurrency=2)


def a_run(
    arm: str, run: int, *, repeat: int = 1, seconds: float, tunes: int, **changes: Any
) -> Run:
    fields: dict[str, Any] = {
        "model": "m",
        "successful": 2,
        "failed": 0,
        "duration_s": seconds,
        "total_input_tokens": 16,
        "total_output_tokens": 4,
        "request_throughput": 2 / seconds,
        "output_token_throughput": 4 / seconds,
        "total_token_throughput": 20 / seconds,
        "ttft_ms": spread([seconds * 100, seconds * 200]),
        "tpot_ms": spread([1.0, 2.0]),
        "itl_ms": spread([]),
        "ttft_samples_ms": [seconds * 100, seconds * 200],
        "tpot_samples_ms": [1.0, 2.0],
        "itl_samples_ms": [],
        "errors": {},
        "output_digest": "d1",
        "arm": arm,
        "run": run,
        "repeat": repeat,
        "started": "2026-01-01T00:00:00+00:00",
        "startup_s": 3.0,
        "events": Events(
            processes=1,
            tunes=tunes,
            candidates_measured=10 * tunes,
            compiles=10 * tunes,
            disk_loads=0,
            tune_s=float(tunes),
            compile_s=0.0,
            load_s=0.0,
            hits=0,
            provisional=0,
            misses=tunes,
            saved_s=0.0,
        ),
        "server_status": -15,
        "server_end": "terminated",
    }
    return Run(**{**fields, **changes})


def while_serving(run: Run, *, tunes: int, compiles: int) -> Run:
    """The run, of a server that said when its start-up was over."""
    assert run.events is not None
    events = msgspec.structs.replace(
        run.events, ready=1, serving_tunes=tunes, serving_compiles=compiles, serving_s=1.5
    )
    return msgspec.structs.replace(run, events=events)


def a_restart(*runs: Run, **changes: Any) -> Restart:
    fields: dict[str, Any] = {
        "created": "2026-01-01T00:00:00+00:00",
        "complete": True,
        "tuneonce": "0.1.0",
        "command": ["tuneonce", "bench", "restart"],
        "server_command": ["serve"],
        "machine": Machine(
            platform="Linux", cpu_count=4, cpu_usable=2, cpu_model="A CPU", python="3.11.7"
        ),
        "gpu": None,
        "versions": {"torch": "2.0", "triton": "3.0", "vllm": None},
        "load": LOAD,
        "arms": {arm: {} for arm in dict.fromkeys(run.arm for run in runs)},
        "repeats": max((run.repeat for run in runs), default=1),
        "runs_per_repeat": 2,
        "runs": list(runs),
    }
    return Restart(**{**fields, **changes})
