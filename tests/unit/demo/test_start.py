from __future__ import annotations

import argparse
import importlib.util
import sys
import types
from typing import Any

import pytest

from tuneonce.cli import demo_serve
from tuneonce.demo import start
from tuneonce.errors import UsageError


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser()
    demo_serve.add_arguments(made)
    return made


def test_options_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    monkeypatch.setattr(start, "start", lambda **options: seen.update(options) or 7)
    options = ["--port", "0", "--preset", "cpu", "--warmup", "--model-name", "m", "--host", "::1"]
    assert demo_serve.run(parser().parse_args(options)) == 7
    assert seen == {
        "host": "::1",
        "port": 0,
        "preset": "cpu",
        "warmup": True,
        "model_name": "m",
    }


def test_defaults_of_the_command_are_those_of_the_function() -> None:
    assert vars(parser().parse_args([])) == start.start.__kwdefaults__


def test_missing_packages_are_named_with_the_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    gone = {"triton", "starlette", "uvicorn"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in gone else real(name)
    )
    with pytest.raises(UsageError) as caught:
        start.check_requirements()
    assert str(caught.value) == (
        "the demo needs triton, starlette, uvicorn: "
        "pip install triton && pip install 'tuneonce[demo]'"
    )


class TestPreset:
    @pytest.fixture(autouse=True)
    def _torch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cuda = types.SimpleNamespace(is_available=lambda: True)
        torch = types.ModuleType("torch")
        torch.cuda = self.cuda  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torch", torch)

    def test_auto_takes_the_gpu_if_there_is_one(self) -> None:
        assert start.choose_preset("auto") == "gpu"
        self.cuda.is_available = lambda: False
        assert start.choose_preset("auto") == "cpu"

    def test_auto_follows_the_interpreter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        assert start.choose_preset("auto") == "cpu"

    def test_what_is_asked_for(self) -> None:
        assert start.choose_preset("cpu") == "cpu"
        assert start.choose_preset("gpu") == "gpu"

    def test_no_gpu(self) -> None:
        self.cuda.is_available = lambda: False
        with pytest.raises(UsageError, match="needs a GPU"):
            start.choose_preset("gpu")

    def test_a_gpu_that_is_interpreted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "true")
        with pytest.raises(UsageError, match="unset TRITON_INTERPRET"):
            start.choose_preset("gpu")


class TestInterpret:
    def test_it_is_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delitem(sys.modules, "triton", raising=False)
        start.interpret()
        assert start.os.environ["TRITON_INTERPRET"] == "1"

    def test_too_late(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "triton", types.ModuleType("triton"))
        with pytest.raises(UsageError, match="triton was imported without it"):
            start.interpret()

    def test_triton_was_imported_for_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "triton", types.ModuleType("triton"))
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        start.interpret()


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("127.0.0.1", 65_536, "65536 is no port"),
        ("127.0.0.1", -1, "-1 is no port"),
        # A documentation address, which no machine has.
        ("192.0.2.1", 0, "cannot listen on 192.0.2.1 port 0: Cannot assign"),
        ("not a host", 0, "cannot listen on not a host port 0"),
    ],
)
def test_addresses_that_cannot_be_listened_on(host: str, port: int, words: str) -> None:
    pytest.importorskip("starlette")
    pytest.importorskip("uvicorn")
    pytest.importorskip("prometheus_client")
    from tuneonce.demo import server

    with pytest.raises(UsageError) as caught:
        server._listen(host, port)
    assert str(caught.value).startswith(words)
    assert "\n" not in str(caught.value)
