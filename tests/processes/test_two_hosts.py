"""Two hosts, each with a network of its own and a clock that is ten minutes from the other's."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.servers import moto_server, redis_server, s3_environment
from tests.processes.test_rank_starts import CANDIDATES, KEYS, Ranks, the_same

# Two networks of two addresses each, which nobody routes to: the server's, and a host's.
NETWORKS = (("198.18.77.1", "198.18.77.2"), ("198.18.77.5", "198.18.77.6"))


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextlib.contextmanager
def host(number: int) -> Iterator[list[str]]:
    """The command that runs a program on a host of its own."""
    server, own = NETWORKS[number]
    name = f"tuneonce-{os.getpid()}-{number}"
    link, end = f"tn{os.getpid() % 100000}-{number}", f"te{os.getpid() % 100000}-{number}"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", link, "type", "veth", "peer", "name", end, "netns", name)
        _ip("addr", "add", f"{server}/30", "dev", link)
        _ip("link", "set", link, "up")
        for words in (
            ["addr", "add", f"{own}/30", "dev", end],
            ["link", "set", end, "up"],
            ["link", "set", "lo", "up"],
            ["route", "add", "default", "via", server],
        ):
            _ip("netns", "exec", name, "ip", *words)
        yield ["ip", "netns", "exec", name]
    finally:
        _ip("netns", "del", name)


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Ranks]]:
    pytest.importorskip("triton")
    pytest.importorskip("torch")
    if shutil.which("ip") is None or os.geteuid() != 0:
        pytest.skip("only root, with iproute2, makes networks")
    with contextlib.ExitStack() as stack:
        try:
            commands = [stack.enter_context(host(number)) for number in range(2)]
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no networks can be made here: {error.stderr!r}")
        made = [Ranks(tmp_path_factory.mktemp("host"), within=command) for command in commands]
        yield made
        for one in made:
            one.close()


@pytest.fixture(params=["redis", "s3"])
def remote(request: pytest.FixtureRequest, hosts: list[Ranks]) -> Iterator[dict[str, Any]]:
    address = NETWORKS[0][0]
    if request.param == "redis":
        with redis_server(host=address) as port:
            yield {"remote": f"redis://{address}:{port}"}
    else:
        with moto_server("results", host=address) as url:
            yield {"remote": "s3://results/fleet", "environ": s3_environment(url)}


def test_one_of_two_hosts_measures(hosts: list[Ranks], remote: dict[str, Any]) -> None:
    for number, one in enumerate(hosts):
        one.begin(2, clock_s=600.0 * number, patient=True, **remote)
    found = [one.end() for one in hosts]
    winners = [winner for host_winners, _ in found for winner in host_winners]
    assert None not in winners
    assert the_same(winners)
    told = found[0][1] + found[1][1]
    assert (told["tune"], told["measure"]) == (len(KEYS), len(KEYS) * CANDIDATES)
    # Neither sees the other's cache. Who waits compiles meanwhile, until there is a winner.
    assert CANDIDATES < told["compile"] <= 2 * CANDIDATES
    assert not {name for name in told if name.startswith(("internal", "remote_"))}


def test_the_server_is_reached_by_the_network_alone(hosts: list[Ranks], tmp_path: Path) -> None:
    """What is on this machine's own loopback is on neither host."""
    with redis_server() as port:
        _, told = hosts[0].start(1, remote=f"redis://127.0.0.1:{port}")
    assert told["remote_failed"] == 1
    assert told["tune"] == len(KEYS)
