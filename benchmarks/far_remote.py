"""What sharing takes where the remote is far away, as one JSON document.

    python benchmarks/far_remote.py benchmarks/results/far-remote.json

A Redis server and moto's S3 run on this machine, behind a proxy through which every byte takes half
the delay in each direction, and a new connection the whole of it. The records are verdicts over
25 candidates, made up. Medians of several runs, the engines and delays in turn:

    push_s      all keys, into an empty remote
    again_s     a push that finds all of them there, by a process that knows nothing
    known_s     a reader that knows nothing has all records in its memory
    stored_s    the same, and has them in an empty store, checked
    nothing_s   the reader asks what is new, and nothing is
    program_s   a program has all in an empty store, from when it begins; its courier is a process
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import queue
import random
import socket
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from documents import ROOT, give

sys.path.insert(0, str(ROOT))

from tests.contract.servers import moto_server, redis_server, s3_environment
from tests.factories import make_key, make_verdict
from tuneonce.model.records import pack
from tuneonce.replica import Replica, open_replica
from tuneonce.replica.exchange import pull, push
from tuneonce.replica.link import Link
from tuneonce.store.files import FileStore
from tuneonce.store.memory import MemoryStore
from tuneonce.system.patience import Patience

SCHEMA = "tuneonce.benchmark.far_remote/1"


class Far:
    """A way to a port on which everything takes a while: `delay_s` there and back."""

    def __init__(self, port: int, delay_s: float) -> None:
        self._target, self._delay_s = port, delay_s
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._server.accept()
                far = socket.create_connection(("127.0.0.1", self._target))
                for one in (near, far):
                    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                # What is sent first has to wait for the connection, too.
                self._carry(near, far, self._delay_s)
                self._carry(far, near, 0.0)

    def _carry(self, source: socket.socket, target: socket.socket, once_s: float) -> None:
        parts: queue.Queue[tuple[float, bytes]] = queue.Queue()

        def read() -> None:
            data, first = b"-", time.monotonic() + once_s
            while data:
                try:
                    data = source.recv(1 << 20)
                except OSError:
                    data = b""
                parts.put((max(time.monotonic(), first) + self._delay_s / 2, data))

        def write() -> None:
            while True:
                at, data = parts.get()
                time.sleep(max(0.0, at - time.monotonic()))
                with contextlib.suppress(OSError):
                    if not data:
                        target.shutdown(socket.SHUT_WR)
                        return
                    target.sendall(data)

        for work in (read, write):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        self._server.close()


def verdicts(count: int) -> MemoryStore:
    """A store of so many keys."""
    store, some = MemoryStore(), random.Random(1)
    for number in range(count):
        key = make_key(f"kernel_{number % 20}", tuning={"n": number, "x.dtype": "torch.bfloat16"})
        times = {
            2**block: (some.lognormvariate(0, 1), some.random(), some.random())
            for block in range(25)
        }
        verdict = make_verdict(key, times)
        name = key.verdict_name(verdict.work_class, verdict.candidates)
        store.put(name, pack(verdict))
    return store


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds, and what it returned."""
    began = time.perf_counter()
    found = call()
    return time.perf_counter() - began, found


def everything(replica: Replica) -> tuple[str, int]:
    """The last cursor of the last shelf, and how many records there are."""
    count, cursor = 0, ""
    for shelf in replica.shelves():
        cursor = ""
        while True:
            page = replica.pull(shelf, cursor)
            count, cursor = count + len(page.entries), page.cursor
            if not page.more:
                break
    return cursor, count


def one_run(address: str, store: MemoryStore, folder: Path) -> dict[str, float]:
    """What everything takes once, in an empty namespace, and a folder that is not there yet."""
    found: dict[str, float] = {}
    with open_replica(address) as one:
        found["push_s"], done = timed(lambda: push(store, one))
        assert done.unusable == 0
        for name in ("round_trips", "requests", "sent"):
            found[f"push_{name}"] = getattr(one.traffic, name)
    with open_replica(address) as one:
        found["again_s"], done = timed(lambda: push(store, one))
        found["again_round_trips"] = one.traffic.round_trips
        assert done.new == 0
    with open_replica(address) as one:
        found["known_s"], (cursor, count) = timed(lambda: everything(one))
        assert count == done.known
        for name in ("round_trips", "requests", "received"):
            found[f"known_{name}"] = getattr(one.traffic, name)
        (shelf,) = one.shelves()
        before = one.traffic.round_trips
        found["nothing_s"], page = timed(lambda: one.pull(shelf, cursor))
        found["nothing_round_trips"] = one.traffic.round_trips - before
        assert not page.entries
    with open_replica(address) as one:
        found["stored_s"], taken = timed(lambda: pull(FileStore(folder), one))
        assert taken.new == count
    with tempfile.TemporaryDirectory() as folder:
        link = Link(folder, address, patience=Patience(60.0))
        (name, *_) = store.list("")
        found["program_s"], pulled = timed(lambda: link.await_pulled(name))
        assert pulled
        assert len(list(FileStore(folder).list(""))) == count
        link.close()
    return found


@contextlib.contextmanager
def engines() -> Iterator[dict[str, tuple[int, str]]]:
    """By name the port of each server and the address of its remote."""
    with redis_server() as redis, moto_server("bucket") as url:
        port = int(url.rpartition(":")[2])
        yield {"redis": (redis, "redis://127.0.0.1:{port}/0"), "s3": (port, "s3://bucket")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path)
    parser.add_argument("--keys", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--delays", type=float, nargs="+", default=[0.0, 20.0], help="ms")
    args = parser.parse_args()
    store = verdicts(args.keys)
    raw = sum(len(store.get(name) or b"") for name in store.list(""))
    runs: dict[tuple[str, float], list[dict[str, float]]] = {}
    namespaces = itertools.count()
    # Emptied at the end: for half a minute after files were deleted, ext4 takes several times as
    # long to make new ones, since it does not use their inodes again so soon and looks past them.
    with engines() as servers, tempfile.TemporaryDirectory() as folders:
        for _ in range(args.runs):
            for delay, (name, (port, address)) in itertools.product(args.delays, servers.items()):
                far = Far(port, delay / 1000)
                os.environ.update(s3_environment(f"http://127.0.0.1:{far.port}"))
                namespace = f"n{next(namespaces)}"
                where = f"{address.format(port=far.port)}?namespace={namespace}"
                took = one_run(where, store, Path(folders, namespace))
                runs.setdefault((name, delay), []).append(took)
                far.close()
    results = [
        {
            "engine": name,
            "delay_ms": delay,
            **{what: statistics.median(run[what] for run in found) for what in found[0]},
        }
        for (name, delay), found in runs.items()
    ]
    document = {
        "schema": SCHEMA,
        "command": f"python benchmarks/far_remote.py --keys {args.keys} --runs {args.runs}",
        "keys": args.keys,
        "bytes": raw,
        "cores": os.cpu_count(),
        "results": results,
    }
    give(document, args.out)


if __name__ == "__main__":
    main()
