"""``tuneonce bench``, as users run it, on a fake server in real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ends_with
from tests.processes.bench_tell import Tell
from tuneonce.bench import procfs
from tuneonce.bench.ports import free_port, port_in_use, reserved
from tuneonce.cli import main

SERVER = [sys.executable, str(Path(__file__).with_name("bench_server.py"))]
SMALL = ["--num-prompts", "4", "--input-len", "3", "--output-len", "2", "--max-concurrency", "2"]
HOST = "127.0.0.1"


@pytest.fixture
def tell(tmp_path: Path) -> Iterator[Tell]:
    tell = Tell(tmp_path / "tell")
    yield tell
    tell.close()


def start(*words: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tuneonce", "bench", *words],
        env={**os.environ, **env},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def bench(*words: str, expect: int = 0, **env: str) -> tuple[str, str]:
    process = start(*words, **env)
    out, err = process.communicate(timeout=120)
    assert process.returncode == expect, err
    return out, err


def server(tell: Tell, *options: str) -> list[str]:
    return ["--", *SERVER, "--port", "{port}", "--tell", str(tell.path), *options]


def assert_all_gone(events: list[dict[str, Any]]) -> None:
    pids = {event["pid"] for event in events} | {e["child"] for e in events if "child" in e}
    assert pids
    assert [pid for pid in pids if procfs.find(pid) is not None] == []


def test_three_arms_two_runs_two_repeats(tell: Tell, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    options = ["--repeats", "2", "--output", str(out), "--work-dir", str(tmp_path / "work")]
    table, progress = bench(
        "restart",
        *options,
        *SMALL,
        *server(tell, "--events"),
        # Nothing of the caller's own settings may reach an arm.
        TUNEONCE="0",
        TUNEONCE_STORE="/nowhere",
        TRITON_CACHE_DIR="/nowhere",
        TRITON_CACHE_AUTOTUNING="0",
        HF_HOME="/models",
        VLLM_PORT="1",
        SGLANG_CACHE_DIR="/nowhere",
    )
    document = json.loads(out.read_bytes())
    runs = document["runs"]

    assert document["schema"] == "tuneonce.bench-restart/1"
    assert document["complete"] is True
    order = ["stock", "stock-cache", "tuneonce"]
    assert [(r["repeat"], r["arm"], r["run"]) for r in runs] == [
        (repeat, arm, run)
        for repeat, arms in ((1, order), (2, [*order[1:], order[0]]))
        for arm in arms
        for run in (1, 2)
    ]
    for run in runs:
        assert (run["successful"], run["failed"], run["errors"]) == (4, 0, {})
        assert (run["server_status"], run["server_end"]) == (-15, "terminated")
        assert len(run["ttft_samples_ms"]) == 4
        assert run["total_input_tokens"] == 12
        assert run["total_output_tokens"] == 8
        assert run["startup_s"] > 0
    tunes = {(r["arm"], r["run"]): r["events"]["tunes"] for r in runs if r["repeat"] == 2}
    assert tunes == {(a, n): int((a, n) != ("tuneonce", 2)) for a in order for n in (1, 2)}
    saved = [r["events"]["saved_s"] for r in runs if (r["arm"], r["run"]) == ("tuneonce", 2)]
    assert saved == [2.5, 2.5]

    events = tell.read()
    assert_all_gone(events)
    environments = [event["env"] for event in events if event["what"] == "start"]
    for run, env in zip(runs, environments, strict=True):
        expected = {
            "stock": ("observe", "0"),
            "stock-cache": ("observe", "1"),
            "tuneonce": ("1", None),
        }
        assert (env["TUNEONCE"], env["TRITON_CACHE_AUTOTUNING"]) == expected[run["arm"]]
        assert env["HF_HOME"] == "/models"
        assert env["VLLM_PORT"] is None
    for name in (
        "CUDA_CACHE_PATH",
        "FLASHINFER_WORKSPACE_BASE",
        "SGLANG_CACHE_DIR",
        "TILELANG_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR",
        "TRITON_CACHE_DIR",
        "TUNEONCE_STORE",
        "VLLM_CACHE_ROOT",
        "XDG_CACHE_HOME",
    ):
        # The same directory for both runs of an arm in a repeat, and for nobody else.
        pairs = [
            (cold[name], again[name])
            for cold, again in zip(environments[::2], environments[1::2], strict=True)
        ]
        assert all(first == second for first, second in pairs)
        assert len({first for first, _ in pairs}) == 6
        assert all(first.startswith(str(tmp_path / "work")) for first, _ in pairs)
    assert len({env["TUNEONCE_EVENTS"] for env in environments}) == 12

    assert "Run 2: after a restart" in table
    assert "P99 TTFT (ms)" in table
    assert "none left" in table
    assert "Medians of 2 repeats" in table
    assert "tuneonce, run 2" in progress
    again, _ = bench("show", str(out))
    assert again == table
    logs = list((tmp_path / "work").rglob("server.log"))
    assert len(logs) == 12
    assert not list((tmp_path / "work").rglob("store"))


def test_runs_after_something_was_emptied(tell: Tell, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    then = ["--then", "empty-triton-cache", "--then", "empty-store", "--then", "empty-store"]
    then += ["--then-arms", "tuneonce,stock-cache"]
    table, progress = bench(
        "restart",
        *("--arms", "stock-cache,tuneonce", "--output", str(out), *then, *SMALL),
        *server(tell, "--events", "--engine-init", "2.50", "9.75"),
    )
    document = json.loads(out.read_bytes())
    runs = {(run["arm"], run["run"]): run for run in document["runs"]}
    assert (document["runs_per_repeat"], len(runs)) == (2, 10)
    assert document["then"] == ["empty-triton-cache", "empty-store", "empty-store"]
    for arm in ("stock-cache", "tuneonce"):
        after = [runs[arm, number]["after"] for number in range(1, 6)]
        assert after == [None, None, *document["then"]]

    # Ours outlives Triton's cache and ends with its store; Triton's own is the other way round.
    tunes = [runs["tuneonce", number]["events"]["tunes"] for number in range(1, 6)]
    assert tunes == [1, 0, 0, 1, 1]
    winners = [runs["stock-cache", number]["winners"] for number in range(1, 6)]
    assert winners[0] == winners[1] != winners[2] == winners[3] == winners[4]
    assert list(winners[0]) == ["k"]
    assert all(run["engine_init_s"] == [2.5, 9.75] for run in runs.values())
    events = runs["tuneonce", 2]["events"]
    assert (events["ready"], events["serving_tunes"], events["serving_compiles"]) == (1, 0, 1)
    assert events["serving_s"] == 0.25

    for line in (
        "Run 2: after a restart",
        "Run 3: Triton's cache emptied",
        "Run 5: tuneonce's store emptied",
        "Engine init (s)",
        "Tunes while serving",
        "run 2 1 of 1, run 3 0 of 1",
    ):
        assert line in table
    assert "tuneonce, run 4 (empty-store): starting" in progress


def test_two_benchmarks_do_not_share_a_port(tell: Tell) -> None:
    port = free_port(HOST)
    with reserved(port):
        _, err = bench("restart", "--port", str(port), *SMALL, *server(tell), expect=1)
    assert f"another benchmark uses port {port}" in err
    assert tell.read() == []


def test_without_a_work_dir_nothing_remains(tell: Tell, tmp_path: Path) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    out, _ = bench(
        "restart",
        "--arms",
        "tuneonce",
        "--json",
        *SMALL,
        *server(tell),
        TMPDIR=str(temporary),
        TRITON_INTERPRET="1",
    )
    document = json.loads(out)
    assert [run["events"] for run in document["runs"]] == [None, None]
    assert any("wrote no events" in note for note in document["notes"])
    assert list(temporary.iterdir()) == []


def test_under_the_interpreter_stock_cache_is_left_out_and_it_says_so(tell: Tell) -> None:
    out, err = bench(
        "restart", "--json", "--runs", "1", *SMALL, *server(tell), TRITON_INTERPRET="1"
    )
    document = json.loads(out)
    assert [run["arm"] for run in document["runs"]] == ["stock", "tuneonce"]
    assert "stock-cache is left out" in err.replace("\n", " ")


def test_failed_requests_are_reported(tell: Tell) -> None:
    words = ["restart", "--arms", "stock", "--runs", "1", *SMALL]
    out, _ = bench(*words, *server(tell, "--fail-every", "2"), expect=1)
    assert "2 failed: HTTP 500" in out


def test_a_server_that_ends_during_the_load(tell: Tell) -> None:
    words = ["restart", "--arms", "stock", "--json", "--runs", "1", "--stop-timeout", "0.2"]
    words += SMALL
    out, err = bench(*words, *server(tell, "--exit-at", "3", "--grandchild", "session"), expect=1)
    (run,) = json.loads(out)["runs"]
    assert run["successful"] + run["failed"] == 4
    assert run["failed"] >= 1
    assert (run["server_status"], run["server_end"]) == (7, "itself")
    assert "ended by itself with status 7" in err
    assert_all_gone(tell.read())


def test_a_server_that_does_not_start(tell: Tell) -> None:
    out, err = bench("restart", *SMALL, *server(tell, "--die"), expect=1)
    assert "ended with status 3" in err
    assert "no such model" in err
    assert "Traceback" not in err
    assert out == ""


def test_a_port_in_use(tell: Tell) -> None:
    with socket.create_server((HOST, 0)) as other:
        port = str(other.getsockname()[1])
        _, err = bench("restart", "--port", port, *SMALL, *server(tell), expect=1)
    assert f"port {port} on 127.0.0.1 is in use" in err
    assert tell.read() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_during_the_load_ends_everything(
    tell: Tell, tmp_path: Path, number: signal.Signals
) -> None:
    port = free_port(HOST)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = start(
        "restart",
        "--port",
        str(port),
        "--stop-timeout",
        "0.2",
        *SMALL,
        *server(tell, "--hang", "--grandchild", "session"),
        TMPDIR=str(temporary),
    )
    tell.wait("request")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    assert_all_gone(tell.read())
    assert not port_in_use(HOST, port)
    assert list(temporary.iterdir()) == []


def test_what_was_measured_before_an_end_is_kept(tell: Tell, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    # The second start finds that it must not listen.
    words = ["--arms", "stock", "--output", str(out), *SMALL]
    flag = tmp_path / "flag"
    _, err = bench("restart", *words, *server(tell, "--die-if", str(flag)), expect=1)
    document = json.loads(out.read_bytes())
    assert "ended with status 3" in err
    assert document["complete"] is False
    assert [run["run"] for run in document["runs"]] == [1]
    assert any(note.startswith("Stopped early") for note in document["notes"])
    table, _ = bench("show", str(out))
    assert "did not run to its end" in table


def test_the_load_alone(tell: Tell, tmp_path: Path) -> None:
    port = free_port(HOST)
    out = tmp_path / "out.json"
    words = [*SERVER, "--port", str(port), "--tell", str(tell.path)]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        try:
            tell.wait("listening")
            table, _ = bench("serve", "--port", str(port), "--output", str(out), *SMALL)
        finally:
            running.terminate()
    document = json.loads(out.read_bytes())
    assert document["schema"] == "tuneonce.bench-serve/1"
    assert document["result"]["successful"] == 4
    assert document["result"]["model"] == "fake"
    for label in ("Successful requests", "Total generated tokens", "P99 TPOT (ms)"):
        assert label in table
    again, _ = bench("show", str(out))
    assert again == table
    same, _ = bench("show", str(out), "--json")
    assert json.loads(same) == document


def test_nobody_serves() -> None:
    _, err = bench("serve", "--port", str(free_port(HOST)), *SMALL, expect=1)
    assert "no answer from" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["restart"], "no server command"),
        (["restart", "--"], "no server command"),
        (["restart", "--", "serve"], "{port}"),
        (["restart", "--port", "1", "--", "serve", "--port", "2"], "--port 2"),
        (["restart", "--port", "1", "--", "serve", "--port=2"], "--port 2"),
        (["restart", "--port", "99999", "--", "serve"], "--port"),
        (["restart", "--arms", "stock,stock", "--", "serve"], "--arms"),
        (["restart", "--arms", "best", "--", "serve"], "--arms"),
        (["restart", "--then", "empty-all", "--", "serve"], "--then"),
        (["restart", "--repeats", "0", "--", "serve"], "--repeats"),
        (["restart", "--output", "/nowhere/out.json", "--", "serve", "{port}"], "/nowhere"),
        (["restart", "--output", ".", "--", "serve", "{port}"], "directory"),
        (["restart", "--", "/nowhere/serve", "{port}"], "/nowhere/serve"),
        (["serve", "--token-range", "9:3"], "--token-range"),
        (["serve", "--endpoint", "v1"], "--endpoint"),
        (["serve", "--temperature", "nan"], "--temperature"),
        (["show", "/nowhere/file"], "/nowhere/file"),
        (["show", __file__], "not a benchmark's document"),
        ([], "COMMAND"),
    ],
)
def test_wrong_input_is_one_line_and_exit_code_2(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ends_with(main, ["bench", *words]) == 2
    err = capsys.readouterr().err
    last = err.strip().splitlines()[-1]
    assert message in last
    assert "Traceback" not in err


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom tuneonce.cli import main\n"
        "try: main(['bench', 'restart', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'aiohttp', 'msgspec', 'rich', 'torch', 'triton', 'numpy'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "{port}" in done.stdout


@pytest.mark.slow
def test_the_demo_tunes_once(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    out = tmp_path / "out.json"
    load = ["--num-prompts", "1", "--input-len", "16", "--output-len", "1"]
    words = ["--device", "cpu", "--arms", "tuneonce", "--output", str(out), *load]
    subprocess.run(
        [sys.executable, "-m", "tuneonce", "demo", *words],
        check=True,
        capture_output=True,
        timeout=240,
    )
    document = json.loads(out.read_bytes())
    cold, *later = document["runs"]
    assert document["interpreted"]
    assert [run["after"] for run in later] == [None, "empty-triton-cache"]
    assert cold["failed"] == 0
    assert cold["events"]["tunes"] > 0
    for warm in later:
        assert warm["failed"] == 0
        assert warm["events"]["tunes"] == warm["events"]["candidates_measured"] == 0
        assert warm["events"]["hits"] > 0
        assert warm["output_digest"] == cold["output_digest"] is not None


def test_more_starts_in_one_arm(tell: Tell, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    then = ["--then", "restart", "--then", "empty-store", "--then-arms", "tuneonce", "--runs", "1"]
    bench("restart", "--arms", "stock,tuneonce", "--output", str(out), *then, *SMALL, *server(tell))
    runs = [(r["arm"], r["run"], r["after"]) for r in json.loads(out.read_bytes())["runs"]]
    assert runs == [
        ("stock", 1, None),
        ("tuneonce", 1, None),
        ("tuneonce", 2, "restart"),
        ("tuneonce", 3, "empty-store"),
    ]
