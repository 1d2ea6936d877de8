"""Whether somebody has replaced threads, sockets or child processes."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import pytest

from tuneonce.system.greenlets import patched_by

GEVENT = "import gevent.monkey; gevent.monkey."
EVENTLET = "import eventlet; eventlet.monkey_patch("


def asked(first: str) -> str:
    """What a new process says after `first`."""
    package = first.split()[1].split(".")[0].rstrip(";")
    if importlib.util.find_spec(package) is None:  # not imported here, where it would stay
        pytest.skip(f"{package} is not installed")
    code = f"{first}\nfrom tuneonce.system.greenlets import patched_by; print(patched_by())"
    command = [sys.executable, "-W", "ignore", "-c", code]
    return subprocess.run(
        command, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


@pytest.mark.parametrize(
    ("first", "by"),
    [
        (GEVENT + "patch_all()", "gevent"),
        (GEVENT + "patch_all(thread=False)", "gevent"),
        (GEVENT + "patch_thread()", "gevent"),
        (GEVENT + "patch_socket()", "gevent"),
        (GEVENT + "patch_subprocess()", "gevent"),
        (GEVENT + "patch_time()", "None"),
        (GEVENT + "is_module_patched('threading')", "None"),
        (EVENTLET + ")", "eventlet"),
        (EVENTLET + "thread=True, os=False, select=False, socket=False)", "eventlet"),
        (EVENTLET + "time=True, os=False)", "None"),
        ("import socket", "None"),
    ],
)
def test_real_ones(first: str, by: str) -> None:
    assert asked(first) == by


def test_nothing_is_imported() -> None:
    code = (
        "import sys; from tuneonce.system.greenlets import patched_by\n"
        "patched_by(); print(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert "gevent" not in done.stdout
    assert "eventlet" not in done.stdout


def test_what_goes_wrong_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(name: str) -> bool:
        raise TypeError

    monkeypatch.setitem(sys.modules, "gevent.monkey", SimpleNamespace(is_module_patched=wrong))
    monkeypatch.setitem(sys.modules, "eventlet.patcher", SimpleNamespace())
    assert patched_by() is None
    yes = SimpleNamespace(is_monkey_patched=lambda name: name == "thread")
    monkeypatch.setitem(sys.modules, "eventlet.patcher", yes)
    assert patched_by() == "eventlet"
