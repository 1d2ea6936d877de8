"""`tuneonce tune` and `tuneonce bench regret` over small programs on a simulated GPU."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT, ends_with
from tuneonce.cli import main
from tuneonce.store.files import FileStore

pytest.importorskip("triton")
pytest.importorskip("torch")

WORK = """
import os, sys
import torch, triton, triton.language as tl
from tuneonce.testing import SimulatedGPU

@triton.autotune([triton.Config({"BLOCK": size}) for size in (64, 128, 256)], ["n"])
@triton.jit
def copy(x, out, n, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + i, tl.load(x + i, mask=i < n), mask=i < n)

best = int(os.environ.get("BEST", "128"))
times = lambda one: 0.1 if one.constants["BLOCK"] == best else 0.15
product = os.environ.get("PRODUCT", "NVIDIA H200")

with SimulatedGPU(product=product, times=times, do_bench=True):
    for n in map(int, sys.argv[1:]):
        copy[lambda meta: (triton.cdiv(n, meta["BLOCK"]),)](torch.ones(n), torch.ones(n), n)
        print("ran", n, flush=True)
"""

# Without tensors, in Triton's interpreter: without torch it starts in a tenth of the time.
QUICK = """
import os, sys
import triton, triton.language as tl

def bench(call, quantiles):
    call()
    return [0.1, 0.1, 0.1]

@triton.autotune([triton.Config({"BLOCK": size}) for size in (64, 128)], ["n"], do_bench=bench)
@triton.jit
def nothing(n, BLOCK: tl.constexpr):
    tl.program_id(0) * BLOCK + n

for n in map(int, sys.argv[1:]):
    nothing[(1,)](n)
    print("ran", n, flush=True)
"""
INTERPRETED = {"TRITON_INTERPRET": "1"}


@dataclass
class Shell:
    """A directory with the program in it, and a way to type `tuneonce` there."""

    home: Path

    def environment(self, **more: str) -> dict[str, str]:
        return {
            **os.environ,
            "HOME": str(self.home),
            "TRITON_CACHE_DIR": str(self.home / "triton"),
            "TRITON_DEFAULT_FP_FUSION": "1",
            "PYTHONPATH": str(ROOT / "src"),
            "COLUMNS": "120",
            **more,
        }

    def __call__(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "tuneonce", *words],
            env=self.environment(**more),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def json(self, *words: str, **more: str) -> Any:
        done = self(*words, **more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "work.py").write_text(WORK)
    return Shell(tmp_path)


def test_tune_fills_a_store_and_tells(shell: Shell) -> None:
    done = shell("tune", "--store", "store", "--output", "out.json", "work.py", "1000", "3000")
    assert done.returncode == 0, done.stderr
    assert "ran 1000\nran 3000\n" in done.stdout
    words = " ".join(done.stdout.split())
    for text in ("__main__:copy", "1.50×", "2 keys tuned", "0 known before", "BLOCK=128"):
        assert text in words
    document = json.loads((shell.home / "out.json").read_text())
    assert (document["schema"], document["status"]) == ("tuneonce.tune/1", 0)
    assert document["command"] == ["work.py", "1000", "3000"]
    assert [one["key"].split()[-1] for one in document["tuned"]] == ["n=1000", "n=3000"]
    for one in document["tuned"]:
        assert one["winner"].startswith("BLOCK=128 ")
        assert one["gain"] == pytest.approx(1.5)
        assert 0 < one["measure_s"] < one["seconds"]
    with FileStore(shell.home / "store") as store:
        assert len([name for name in store.list("") if name.endswith(".verdict.json")]) == 2
    # The events were of this run alone and are gone; what is known is counted.
    assert not (shell.home / "store" / ".events").exists()
    document = shell.json("tune", "--store", "store", "--json", "work.py", "1000", "64")
    assert (len(document["tuned"]), document["known"]) == (1, 1)


def test_what_was_borrowed_from_another_product_is_tuned_later(shell: Shell) -> None:
    """A server of a new kind of GPU starts at once, and somebody tunes when there is time."""
    on_h100 = {"PRODUCT": "NVIDIA H100 80GB HBM3", "BEST": "256"}
    policy = {"TUNEONCE_ON_MISS_STARTING": "borrow", "TUNEONCE_STORE": str(shell.home / "store")}
    assert shell("tune", "work.py", "1000", "3000", **on_h100, **policy).returncode == 0
    done = shell("run", "--", sys.executable, "work.py", "1000", "3000", **policy)
    assert done.returncode == 0, done.stderr
    assert "0 tunes" in done.stderr
    wanted = shell.json("ls", "--wanted", "--json", **policy)["keys"]
    assert [one["world"].split(" · ")[0] for one in wanted] == ["NVIDIA H200"] * 2
    tuned = shell.json("tune", "--json", "work.py", "1000", "3000", **policy)["tuned"]
    assert [one["winner"].split()[0] for one in tuned] == ["BLOCK=128"] * 2
    assert shell.json("ls", "--wanted", "--json", **policy)["keys"] == []
    entries = shell.json("ls", "--json", **policy)["entries"]
    assert sorted((one["world"][7:11], one["winner"].split()[0]) for one in entries) == [
        *[("H100", "BLOCK=256")] * 2,
        *[("H200", "BLOCK=128")] * 2,
    ]


def test_json_has_standard_output_for_itself(shell: Shell) -> None:
    (shell.home / "quick.py").write_text(QUICK)
    done = shell("tune", "--json", "quick.py", "64", **INTERPRETED)
    assert json.loads(done.stdout)["tuned"]
    assert "ran 64" in done.stderr
    assert "1 key tuned" in done.stderr


def test_a_module_and_options_of_the_programs(shell: Shell) -> None:
    (shell.home / "package").mkdir()
    (shell.home / "package" / "tool.py").write_text("import sys; print(sys.argv[1:])")
    words = ["--json", "x", "--", "-m", "y"]
    done = shell("tune", "-m", "package.tool", *words)
    assert str(words) in done.stdout
    assert "No process of it launched an autotuned kernel" in done.stdout
    (shell.home / "plain.py").write_text("import sys; print(sys.argv[1:])")
    assert str(words) in shell("tune", "plain.py", *words).stdout
    assert not (shell.home / "x").exists()


@pytest.mark.parametrize(
    ("end", "status"),
    [("sys.exit(3)", 3), ("1 / 0", 1), ("os.kill(os.getpid(), 9)", 137)],
)
def test_a_program_that_fails_has_its_table_and_its_exit_code(
    shell: Shell, end: str, status: int
) -> None:
    (shell.home / "fails.py").write_text(f"{QUICK}\n{end}\n")
    done = shell("tune", "fails.py", "64", **INTERPRETED)
    assert done.returncode == status
    assert "1 key tuned" in done.stdout
    assert f"exit code {status}" in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_interrupts_it_is_told_what_was_tuned(shell: Shell, number: int) -> None:
    (shell.home / "waits.py").write_text(f"{QUICK}\nimport time\ntime.sleep(100)\n")
    running = subprocess.Popen(
        [sys.executable, "-m", "tuneonce", "tune", "waits.py", "64"],
        env=shell.environment(**INTERPRETED),
        cwd=shell.home,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "ran 64\n"
        began = time.monotonic()
        if number == signal.SIGINT:  # as a terminal does
            os.killpg(running.pid, number)
        else:
            running.send_signal(number)
        out, _ = running.communicate(timeout=60)
    finally:
        running.kill()
    assert time.monotonic() - began < 60
    assert "1 key tuned" in out
    assert running.returncode in (1, 128 + number)


@pytest.mark.parametrize(
    ("words", "more"),
    [
        (["work.py"], {"TUNEONCE": "0"}),
        (["work.py"], {"TUNEONCE": "observe"}),
        (["work.py"], {"TRITON_CACHE_AUTOTUNING": "0"}),
        (["--store", "nonsense://x", "work.py"], {}),
        (["--output", "no/such/place", "work.py"], {}),
        (["nothing.py"], {}),
        (["-m"], {}),
        ([], {}),
        (["--store", "memory:", "work.py"], {}),
    ],
)
@pytest.mark.parametrize("command", [["tune"], ["bench", "regret"]])
def test_what_cannot_work_is_one_line(
    shell: Shell,
    command: list[str],
    words: list[str],
    more: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(shell.home)
    for name, text in shell.environment(**more).items():
        monkeypatch.setenv(name, text)
    code = ends_with(main, [*command, *words])
    said = capsys.readouterr()
    assert (code, said.out, len(said.err.splitlines())) == (2, "", 1)


def test_a_program_that_launches_no_kernel_is_the_wrong_one(shell: Shell) -> None:
    """A flag's value, as somebody meant it, is a program as well."""
    plain = shell.home / "train.py"
    plain.write_text("print('precious')\n")
    done = shell("tune", "--json", "train.py", "config.yaml")
    assert done.returncode == 2
    assert "launched no autotuned kernel" in done.stderr.splitlines()[-1]
    assert plain.read_text() == "print('precious')\n"


# -- regret --------------------------------------------------------------------------------------


def test_regret_is_told_and_fixed(shell: Shell) -> None:
    shell("tune", "work.py", "64", "1000", "3000")
    document = shell.json("bench", "regret", "--json", "work.py", "64", "1000")
    assert document["schema"] == "tuneonce.regret/1"
    assert [one["regret"] for one in document["checked"]] == [0, 0]
    [kernel] = document["kernels"]
    assert (kernel["checked"], kernel["wrong"], kernel["max_regret"]) == (2, 0, 0)
    assert [one["key"].split()[-1] for one in document["not_met"]] == ["n=3000"]

    done = shell("bench", "regret", "work.py", "64", "1000", "9", BEST="256")
    words = " ".join(done.stdout.split())
    assert done.returncode == 0
    for text in ("50.0 %", "2 wrong", "--fix replaces", "1 key had no verdict", "n=3000"):
        assert text in words
    document = shell.json("bench", "regret", "--fix", "--json", "work.py", "64", BEST="256")
    [one] = document["checked"]
    assert (one["wrong"], one["fixed"]) == (True, True)
    assert one["best"].startswith("BLOCK=256 ")
    assert one["regret"] == pytest.approx(0.5, abs=1e-3)
    document = shell.json("bench", "regret", "--fix", "--json", "work.py", "64", BEST="256")
    assert [one["regret"] for one in document["checked"]] == [0]
    entries = shell.json("ls", "--json")["entries"]
    origins = {one["key"]["n"]: one["origin"] for one in entries}
    assert (origins["64"], origins["1000"]) == ("rechecked", "measured")
