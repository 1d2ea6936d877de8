"""Loaded by a server as a plugin: a stand-in with SGLang's shape.

The programs run Triton's interpreter on a kernel without tensors, which needs no torch.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fakes import ROOT, last_json
from tests.processes.stand_ins import SGLANG, install
from tests.processes.test_activation import Machine, outcome

pytest.importorskip("triton")
pytest.importorskip("msgspec")

# SGLang logs through the root logger and names none: time and rank, then the message.
LINE = r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ TP\d\] tuneonce: "


@pytest.fixture
def server(tmp_path: Path) -> Machine:
    home = tmp_path / "home"
    home.mkdir()
    install(home / "site", "sglang", SGLANG)
    path = os.pathsep.join([str(home / "site"), str(ROOT / "src")])
    # What is counted is tuned, whichever phase it is first met in.
    usual = {"PYTHONPATH": path, "TUNEONCE_RAISE": None, "TUNEONCE_ON_MISS_SERVING": "tune"}
    return Machine(home, usual)  # type: ignore[arg-type]


def serve(server: Machine, *before: str, **env: str | None) -> tuple[Any, list[str], str]:
    """One start: what the processes answered, our lines, and standard error."""
    command = (*before, sys.executable, "-m", "sglang.launch_server")
    done = server.start(*command, env=server.variables(**env))
    ours = [line for line in done.stdout.splitlines() if "tuneonce" in line]
    assert all(re.match(LINE, line) for line in ours), ours
    return last_json(done.stdout), [re.sub(LINE, "", line) for line in ours], done.stderr


pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="no /proc")


def test_every_scheduler_has_it_and_is_ready_after_the_warm_up(server: Machine) -> None:
    answers, told, error = serve(server)
    assert error == ""
    # Neither the launcher nor the detokenizer imports the scheduler because of us.
    assert answers[0] == ["launcher", False, []]
    assert answers[3] == ["detokenizer", False, []]
    # What the scheduler's own method returns is returned.
    assert answers[1][:2] == ["scheduler", None]
    assert answers[1] == answers[2]
    totals = server.totals()
    assert outcome(totals) == (2, 6, 2)
    assert (totals.processes, totals.ready, totals.serving_tunes) == (2, 2, 1)
    assert totals.problems == {}
    assert [line.partition(" (")[0] for line in told] == [
        f"on, store {server.store}",
        "ready: 0 hits, 1 tunes",
        f"on, store {server.store}",
        "ready: 1 hits, 0 tunes",
    ]
    _, told, _ = serve(server)
    assert [line.partition(" (")[0] for line in told[1::2]] == ["ready: 1 hits, 0 tunes"] * 2


def test_sglangs_own_cache_directory_is_not_ours(server: Machine) -> None:
    _, told, _ = serve(server, TRITON_CACHE_DIR=None, XDG_CACHE_HOME=None)
    place = server.home / ".cache" / "sglang" / "tuneonce"
    assert told[0] == f"on, store {place}"
    assert outcome(server.totals(place)) == (2, 6, 2)


@pytest.mark.parametrize(
    "off", [{"SGLANG_PLUGINS": "another"}, {"TUNEONCE": "0"}, {"TRITON_CACHE_AUTOTUNING": "0"}],
    ids=str,
)  # fmt: skip
def test_switched_off(server: Machine, off: dict[str, str]) -> None:
    answers, told, error = serve(server, **off)
    assert (len(answers), told, error) == (4, [], "")
    assert not server.store.exists()


def test_with_tuneonce_run(server: Machine) -> None:
    _, told, error = serve(server, sys.executable, "-m", "tuneonce", "run", "--")
    assert len(told) == 4
    assert re.fullmatch(r"tuneonce: 2 hits, 2 tunes .* saved, in 2 processes\n", error)
    assert (server.totals().ready, server.totals().tunes) == (2, 2)


def test_with_tuneonce_run_where_sglang_has_no_plugins(server: Machine) -> None:
    # Older versions: results are kept, only the end of the start is not known.
    server.write("site/sglang/srt/plugins/__init__.py", "def load_plugins(): pass\n")
    for hits in (2, 6):
        _, told, _ = serve(server, sys.executable, "-m", "tuneonce", "run", "--")
        assert told == [f"on, store {server.store}"] * 2
        assert outcome(server.totals()) == (2, 6, hits)
    assert server.totals().ready == 0


def test_beside_hooks_of_other_plugins(server: Machine) -> None:
    server.write(
        "site/other_plugin.py",
        """
        from sglang.srt.plugins.hook_registry import HookRegistry, HookType

        def after(result, *args):
            return "theirs"

        def register():
            place = "sglang.srt.managers.scheduler.Scheduler.handle_freeze_gc"
            HookRegistry.register(place, after, HookType.AFTER)
        """,
    )
    about = "site/other_plugin-1.dist-info"
    server.write(f"{about}/METADATA", "Metadata-Version: 2.1\nName: other-plugin\nVersion: 1\n")
    server.write(f"{about}/entry_points.txt", "[sglang.srt.plugins]\nother = other_plugin:register")
    answers, _, error = serve(server)
    assert error == ""
    assert [answer[1] for answer in answers[1:3]] == ["theirs", "theirs"]
    assert server.totals().ready == 2


@pytest.mark.parametrize(
    "broken",
    [
        {"TUNEONCE_STORE": "nosuch://host"},
        {"TUNEONCE": "nonsense"},
        {"TUNEONCE_STORE": "/dev/null/x"},
    ],
    ids=str,
)
def test_whatever_is_broken_the_server_starts(server: Machine, broken: dict[str, Any]) -> None:
    command = (sys.executable, "-m", "sglang.launch_server")
    done = server.start(*command, env=server.variables(**broken))
    assert len(last_json(done.stdout)) == 4
    assert "Traceback" not in done.stdout + done.stderr
    assert "tuneonce" in done.stdout + done.stderr


@pytest.mark.parametrize("source", ["Scheduler = None", "class Scheduler: pass", ""])
def test_another_shape_of_the_scheduler(server: Machine, source: str) -> None:
    server.write("site/sglang/srt/managers/scheduler.py", source)
    program = """
    import json
    from sglang.srt.plugins import load_plugins
    load_plugins()
    from sglang.srt.managers import scheduler
    from sglang.srt import kernels
    print(json.dumps([kernels.launch()]))
    """
    x = server.write("x.py", program)
    done = server.start(sys.executable, x, env=server.variables())
    assert done.stderr == ""
    assert outcome(server.totals()) == (1, 3, 0)
