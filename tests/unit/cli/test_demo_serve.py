"""`tuneonce demo serve`."""

from __future__ import annotations

import pytest

from tuneonce.cli import main


def test_demo_serve_is_the_servers_own_command(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("tuneonce.demo.start.start", lambda **options: seen.append(options) or 0)
    assert main(["demo", "serve", "--port", "1234", "--preset", "cpu"]) == 0
    assert seen[0]["port"] == 1234
    assert seen[0]["preset"] == "cpu"
