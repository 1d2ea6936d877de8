"""What a fleet asks of its remote, in requests and bytes, as one JSON document.

    python benchmarks/fleet_traffic.py benchmarks/results/fleet-traffic.json

So many machines (the couriers of their programs, each with a store of its own in memory) start
together on a Redis server and on moto's S3, which run on this machine:

    cold    nobody knows a key. All machines meet the same keys at the same moment, one after the
            other: one measures, the others listen until its verdict is there and pull it
    warm    all keys are there, and no machine has any

Nobody waits here: while a key is measured, which is said to take `--tune-s` seconds, a listener's
clock goes on and its requests are made. (Redis is asked once in 2.5 s of listening, by a call that
the server answers when there is news; one that comes later would be made again.)

`requests`, `round_trips`, `received` and `sent` are what `Traffic` counts, of all machines
together: bytes of bodies, without headers and names. `net_received` and `net_sent` are what the
Redis server itself counts, all of it. `lines` are straight lines through the numbers of 1, 10 and
100 machines, with what they say of a fleet that was counted, too, and of 1,000 machines. The
records are verdicts over 25 candidates, made up. Durations are not measured.
"""

from __future__ import annotations

import argparse
import itertools
import os
import queue
import statistics
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from documents import ROOT, give
from far_remote import engines, verdicts

sys.path.insert(0, str(ROOT))

from tests.contract.servers import s3_environment
from tuneonce.replica import Replica, open_replica
from tuneonce.replica.exchange import push
from tuneonce.replica.in_packs import PackReplica
from tuneonce.replica.service import News, Service, Wishes
from tuneonce.replica.shared import shelf_of
from tuneonce.replica.wishes import Said, Turn, Wish
from tuneonce.store.memory import MemoryStore

SCHEMA = "tuneonce.benchmark.fleet_traffic/1"
COUNTED = ("requests", "round_trips", "received", "sent")
NET = {"total_net_output_bytes": "net_received", "total_net_input_bytes": "net_sent"}
PATIENCE_S = 120.0
THOUSAND = 1000


class Machine:
    """The courier of one program, in a thread, as `courier_process` has it in a process."""

    def __init__(self, address: str, number: int) -> None:
        self._address = address
        self.store = MemoryStore()
        self.replica = open_replica(address)
        self._wishes: Wishes = queue.SimpleQueue()
        self._said: queue.SimpleQueue[Said] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._asked: list[tuple[str, str]] = []
        self._listener: Replica | None = None
        self._is_behind = False
        self._service = Service(
            self.store,
            self.replica,
            self._wishes,
            self._said.put,
            owner=f"machine-{number}",
            listen=lambda shelf, since: self._asked.append((shelf, since)),
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._service.pull()
        self._service.run()

    def wish(self, *wishes: Wish | News) -> list[Said]:
        """What is said until these are granted."""
        number = str(next(self._numbers))
        for wish in (*wishes, Wish("finish", number)):
            self._wishes.put(wish)
        said: list[Said] = []
        while (word := self._said.get(timeout=PATIENCE_S)) != Said("finished", number):
            assert word.what not in ("failed", "note"), word.message
            said.append(word)
        return said

    def keep(self, name: str, data: bytes) -> None:
        """It has measured a key. What it pushes is news to its own cursor, too."""
        self.store.put(name, data)
        self._is_behind = True
        self.wish(Wish("kept", name))

    def claim(self, name: str) -> Turn:
        """Whose turn it is."""
        [turn] = [word.turn for word in self.wish(Wish("claim", name)) if word.what == "turn"]
        assert turn is not None
        return turn

    def listen(self, seconds: float) -> bool:
        """Make the requests that listening takes for so long; whether there was news.

        A server that answers only when there is news is not asked before there is.
        """
        if self._listener is None:
            self._listener = open_replica(self._address)
        if isinstance(self._listener, PackReplica):
            now = [0.0]
            self._listener._clock = lambda: now[0]
            self._listener._pause = lambda pause: now.__setitem__(0, now[0] + pause)
        elif seconds > 0 and not self._is_behind:
            return False
        [(shelf, since)] = self._asked
        return self._listener.await_news(shelf, since, max(1.0, seconds))

    def hear(self) -> None:
        """Pull what came."""
        [(shelf, _)] = self._asked
        self._asked.clear()
        self._is_behind = False
        self.wish(News(shelf))

    def end(self) -> dict[str, int]:
        """What it has cost."""
        self._wishes.put(None)
        self._thread.join(PATIENCE_S)
        replicas = [self.replica, *([] if self._listener is None else [self._listener])]
        for replica in replicas:
            replica.close()
        return {what: sum(getattr(r.traffic, what) for r in replicas) for what in COUNTED}


def cold(machines: list[Machine], records: dict[str, bytes], tune_s: float) -> None:
    """All meet each key at once; another one measures it each time."""
    for number, (name, data) in enumerate(records.items()):
        first = number % len(machines)
        measurer, *others = machines[first:] + machines[:first]
        assert measurer.claim(name) is Turn.OURS
        for other in others:
            assert other.claim(name) is Turn.THEIRS
            while other.listen(tune_s):
                other.hear()
        measurer.keep(name, data)
        for other in others:
            assert other.listen(0.0)
            other.hear()
            assert other.store.get(name) == data


def one_fleet(kind: str, address: str, count: int, keys: int, tune_s: float) -> dict[str, int]:
    """What a fleet has cost, all machines together, in an empty namespace."""
    store = verdicts(keys)
    records = {name: store.get(name) or b"" for name in sorted(store.list(""))}
    assert len({shelf_of(name) for name in records}) == 1
    if kind == "warm":
        with open_replica(address) as replica:
            push(store, replica)
    before = net(address)
    machines = [Machine(address, number) for number in range(count)]
    for machine in machines:
        machine.wish()  # it has begun
    if kind == "cold":
        cold(machines, records, tune_s)
    costs = [machine.end() for machine in machines]
    found = {what: sum(cost[what] for cost in costs) for what in COUNTED}
    for machine in machines:
        assert {name: machine.store.get(name) for name in machine.store.list("")} == records
    return found | {what: now - before[what] for what, now in net(address).items()}


def net(address: str) -> dict[str, int]:
    """What the server itself has counted, if it does."""
    if not address.startswith("redis:"):
        return {}
    import redis

    with redis.Redis.from_url(address.partition("?")[0]) as somebody:
        found = somebody.info("stats")
    return {what: int(found[name]) for name, what in NET.items()}


def lines(results: list[dict[str, Any]], fitted: list[int]) -> Iterator[dict[str, Any]]:
    """Of each engine and kind of fleet, what grows with the number of machines, and how."""
    groups: dict[tuple[str, str, int], list[dict[str, Any]]] = {}
    for one in results:
        groups.setdefault((one["engine"], one["fleet"], one["keys"]), []).append(one)
    for (engine, kind, keys), found in groups.items():
        line: dict[str, Any] = {"engine": engine, "fleet": kind, "keys": keys, "of": {}}
        for what in [what for what in (*COUNTED, *NET.values()) if what in found[0]]:
            points = [(one["machines"], one[what]) for one in found if one["machines"] in fitted]
            slope, intercept = statistics.linear_regression(*zip(*points, strict=True))
            line["of"][what] = {
                "machine": round(slope, 2),
                "fleet": round(intercept, 1),
                "checked": [
                    {
                        "machines": one["machines"],
                        "counted": one[what],
                        "said": round(intercept + slope * one["machines"]),
                    }
                    for one in found
                    if one["machines"] not in fitted
                ],
                "thousand": round(intercept + slope * THOUSAND),
            }
        yield line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--keys", type=int, default=12, help="of a cold fleet")
    parser.add_argument("--warm-keys", type=int, default=100, help="of a warm one")
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--check", type=int, nargs="+", default=[200])
    parser.add_argument("--tune-s", type=float, default=2.0, help="what a key takes")
    args = parser.parse_args()
    fleets = {"cold": args.keys, "warm": args.warm_keys}
    results: list[dict[str, Any]] = []
    namespaces = itertools.count()
    with engines() as servers:
        for (engine, (port, address)), count, (kind, keys) in itertools.product(
            servers.items(), [*args.machines, *args.check], fleets.items()
        ):
            os.environ.update(s3_environment(f"http://127.0.0.1:{port}"))
            where = f"{address.format(port=port)}?namespace=n{next(namespaces)}"
            found = one_fleet(kind, where, count, keys, args.tune_s)
            print(engine, kind, count, found, file=sys.stderr)
            results.append(
                {"engine": engine, "fleet": kind, "keys": keys, "machines": count, **found}
            )
    document = {
        "schema": SCHEMA,
        "command": f"python benchmarks/fleet_traffic.py --keys {args.keys} "
        f"--warm-keys {args.warm_keys} --machines {' '.join(map(str, args.machines))} "
        f"--check {' '.join(map(str, args.check))} --tune-s {args.tune_s:g}",
        "tune_s": args.tune_s,
        "results": results,
        "lines": list(lines(results, args.machines)),
    }
    give(document, args.out)


if __name__ == "__main__":
    main()
