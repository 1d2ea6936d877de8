"""Metrics as prometheus_client tells them, of this process and of a server's."""

from __future__ import annotations

import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prometheus_client")

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.fakes import run_python
from tuneonce import metrics
from tuneonce.activation import install
from tuneonce.events.families import FAMILIES
from tuneonce.events.follower import Follower
from tuneonce.events.log import EventLog
from tuneonce.events.totals import Totals
from tuneonce.metrics import register, register_server

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/metrics.md"


def told(registry: CollectorRegistry) -> dict[str, float]:
    """What a scrape says: ``name{label="value"}`` and its value."""
    text = generate_latest(registry).decode()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry(auto_describe=True)


def test_nothing_is_told_where_it_is_off(registry: CollectorRegistry) -> None:
    register(registry)
    assert told(registry) == {}


def test_this_process(registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    counted = Totals(processes=1)
    monkeypatch.setattr(install, "totals", lambda: counted)
    register(registry)
    assert told(registry)['tuneonce_keys_total{outcome="miss",phase="serving"}'] == 0
    counted.add({"e": "resolve", "outcome": "miss", "reason": "unknown"}, serving=True)
    counted.add({"e": "compile", "seconds": 1.5, "waited": True})
    found = told(registry)
    assert found['tuneonce_keys_total{outcome="miss",phase="serving"}'] == 1
    assert found['tuneonce_keys_not_hit_total{reason="unknown"}'] == 1
    assert found['tuneonce_compile_seconds_total{phase="starting"}'] == 1.5
    assert found["tuneonce_processes"] == 1


def test_what_is_told_is_what_the_table_says(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = Totals(
        reasons={"a": 1}, untuned={"a": 1}, outputs_left_out={"a": 1}, problems={'a "b"\n': 1}
    )
    monkeypatch.setattr(install, "totals", lambda: counted)
    register(registry)
    text = generate_latest(registry).decode()
    found = {
        (family.name, family.type): {tuple(sorted(sample.labels)) for sample in family.samples}
        for family in text_string_to_metric_families(text)
    }
    assert found == {
        (family.name.removesuffix("_total"), family.kind): {tuple(sorted(family.labels))}
        for family in FAMILIES
    }


def test_registering_reads_nothing_and_twice_is_an_error(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "totals", lambda: pytest.fail("asked"))
    monkeypatch.setattr(install, "events_directory", lambda: pytest.fail("asked"))
    register(registry)
    with pytest.raises(ValueError, match="tuneonce"):
        register_server(registry)


def test_an_error_of_ours_ends_no_page(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> Any:
        raise ValueError("of ours")

    monkeypatch.setattr(install, "totals", broken)
    register(registry)
    assert told(registry) == told(registry) == {}
    assert [record.getMessage() for record in caplog.records] == [
        "tuneonce: no metrics: ValueError('of ours')"
    ]


def test_hosts_that_look_for_their_own_collectors_find_none_in_ours(
    registry: CollectorRegistry,
) -> None:
    # vLLM removes those whose `_name` begins with its own.
    register(registry)
    assert not any(hasattr(one, "_name") for one in registry._collector_to_names)


def test_a_server_tells_of_what_it_has_started(registry: CollectorRegistry, tmp_path: Path) -> None:
    register_server(registry, directory=tmp_path)
    log = EventLog(tmp_path, mode="on", store="")
    log.emit("ready")
    log.emit("tune", seconds=2.0, waited_s=2.0)
    assert told(registry)['tuneonce_tunes_total{phase="serving"}'] == 1


def test_a_servers_events_are_where_its_own_would_be(
    registry: CollectorRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(install, "events_directory", lambda: tmp_path)
    monkeypatch.setenv("TUNEONCE_RUN", "71.5.1")
    register_server(registry)
    EventLog(tmp_path, mode="on", store="").emit("tune", seconds=2.0)
    first = {"schema": "tuneonce.events/1", "run": "71.5.1"}
    (tmp_path / "29991114T221300.000000-5.jsonl").write_text(
        f"{json.dumps(first)}\n" + '{"e":"tune"}\n'
    )
    assert told(registry)['tuneonce_tunes_total{phase="starting"}'] == 2


def test_a_server_that_is_off_tells_nothing(
    registry: CollectorRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "Follower", lambda *args, **kwargs: pytest.fail("followed"))
    register_server(registry)
    assert told(registry) == {}


def test_the_directory_of_a_program_that_is_on(tmp_path: Path) -> None:
    program = (
        "import tuneonce; from tuneonce.activation import install\n"
        "off = install.events_directory()\n"
        "tuneonce.install()\n"
        "print(off, install.totals(), install.events_directory())"
    )
    said = run_python("-c", program, TUNEONCE_EVENTS=str(tmp_path))
    assert said.split() == ["None", "None", str(tmp_path)]


def test_without_prometheus_client_it_says_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "prometheus_client.py").write_text("raise ImportError('not here')")
    done = subprocess.run(
        [sys.executable, "-c", "import tuneonce.metrics"],
        env={"PYTHONPATH": f"{tmp_path}:{ROOT / 'src'}"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    last = done.stderr.splitlines()[-1]
    assert last.startswith("ImportError: ")
    assert "pip install 'tuneonce[metrics]'" in last


@pytest.mark.parametrize("function", [register, register_server])
def test_the_public_functions_are_documented(function: Any) -> None:
    assert function.__name__ in metrics.__all__
    assert (function.__doc__ or "").strip()
    signature = inspect.signature(function)
    names = [
        "registry=REGISTRY",
        *(["*", "directory=None"] if len(signature.parameters) > 1 else []),
    ]
    text = f"`tuneonce.metrics.{function.__name__}({', '.join(names)}) -> None`"
    assert text in (ROOT / "docs/api.md").read_text()


# -- the page ------------------------------------------------------------------------------------


def rows() -> dict[str, list[str]]:
    """The page's table of metrics: type, labels and meaning by name."""
    lines = re.findall(r"^\| `(tuneonce_\w+)` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert len({name for name, _ in lines}) == len(lines)
    return {name: rest.split(" | ") for name, rest in lines}


def test_the_page_names_all_metrics_and_no_others() -> None:
    expected = {}
    for family in FAMILIES:
        labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
        expected[family.name] = [family.kind, labels, family.meaning]
    assert rows() == expected


def test_the_page_says_how_late_it_may_be() -> None:
    from tuneonce.events import follower

    text = PAGE.read_text()
    assert f"{follower.EVERY_S:.0f} seconds" in text
    assert f"{follower.WAIT_S * 1000:.0f} ms" in text
    assert f"{follower.MOST_BYTES >> 10} kB" in text
    assert Follower.__name__ not in text  # no name that is not public


def test_the_queries_on_the_page_are_of_metrics_that_are_there() -> None:
    names = {family.name for family in FAMILIES}
    used = set(re.findall(r"\btuneonce_\w+", PAGE.read_text()))
    assert used <= names
