"""What one key costs in stores of different sizes: prints one JSON document.

    python benchmarks/store_scaling.py > benchmarks/results/store-scaling.json

A store of N records is laid out as ``<kernel>/<world>/<key>/<record>.json``, ten records to a key,
keys spread evenly over up to fifty kernels in one world. Keys are then drawn at random from the
whole store, with everything in the page cache, and single calls are timed:

* ``get_hit``, ``get_miss``: one record that is there, one that is not in a key's folder that is;
* ``put_if_absent``: a new record in a key's folder, without and with waiting for the disk; and
  one whose name is taken;
* ``put_if_absent_new_key``: the first record of a key, which makes its folder;
* ``list_key``: the names of one key.

Times are microseconds of wall time around the call, in one process. Whatever else the machine does
meanwhile is in the 99th percentiles; the medians hardly notice.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import psutil
from documents import give

from tuneonce.bench.machine import cpu_model
from tuneonce.store import Store, open_store

KERNELS = 50
RECORDS_PER_KEY = 10
RECORD = b"x" * 700  # about what a measurement takes
WORLD = "cuda-90-0123456789abcdef"


def main(argv: list[str] | None = None) -> None:
    options = parse(argv)
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        measure(Path(folder) / "warm-up", 10, 100)
        sizes = [
            measure(Path(folder) / str(count), count, options.samples)
            for count in sorted(options.records)
        ]
        filesystem = filesystem_of(folder)
    document = {
        "schema": "tuneonce.benchmark.store-scaling/1",
        "command": " ".join(["python", *sys.argv]),
        "at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "machine": {
            "system": f"{platform.system()} {platform.release()} {platform.machine()}",
            "cpu": cpu_model() or "",
            "cpus": os.cpu_count(),
            "filesystem": filesystem,
            "python": platform.python_version(),
        },
        "layout": {
            "kernels": KERNELS,
            "records_per_key": RECORDS_PER_KEY,
            "bytes_per_record": len(RECORD),
            "samples": options.samples,
            "page_cache": "warm",
        },
        "unit": "microseconds",
        "sizes": sizes,
    }
    give(document, None)


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--records", type=int, nargs="+", default=[10, 1_000, 100_000])
    parser.add_argument("--samples", type=int, default=2_000, help="timed calls per operation")
    parser.add_argument("--directory", type=Path, help="where to make the stores; removed after")
    return parser.parse_args(argv)


def measure(root: Path, records: int, samples: int) -> dict[str, object]:
    store = open_store(root)
    keys = [
        f"kernel{n % KERNELS:02}/{WORLD}/{n:032x}" for n in range(-(-records // RECORDS_PER_KEY))
    ]
    names = [f"{keys[n // RECORDS_PER_KEY]}/{n:032x}.json" for n in range(records)]
    started = time.perf_counter()
    for name in names:
        store.put(name, RECORD, durable=False)
    fill_s = time.perf_counter() - started
    os.sync()  # so that the disk is not busy with the filling while we measure

    chance = random.Random(records)
    drawn_names = [chance.choice(names) for _ in range(samples)]
    drawn_keys = [chance.choice(keys) for _ in range(samples)]
    for name in drawn_names:  # into the page cache, all of the measured ones
        assert store.get(name) == RECORD
    few = max(1, samples // 10)

    def new(kind: str) -> Iterator[str]:
        return (f"{key}/{kind}-{number}.json" for number, key in enumerate(drawn_keys))

    def new_keys() -> Iterator[str]:
        for number, key in enumerate(drawn_keys[:few]):
            yield f"{key.rpartition('/')[0]}/new-{number}/first.json"

    def put(store: Store, durable: bool) -> Callable[[str], object]:
        return lambda name: store.put_if_absent(name, RECORD, durable=durable)

    # Readings first: what is put for the measurements below adds to the folders.
    timings = {
        "get_hit": timed(store.get, drawn_names),
        "get_miss": timed(store.get, new("absent")),
        "list_key": timed(lambda key: list(store.list(key + "/")), drawn_keys),
        "put_if_absent_taken": timed(put(store, False), drawn_names),
        "put_if_absent_new_key": timed(put(store, False), new_keys()),
        "put_if_absent_durable": timed(put(store, True), list(new("durable"))[:few]),
    }
    # In folders of their own, ten to each, so that a small store's few folders do not fill up.
    fresh = [f"kernel00/{WORLD}/fresh-{n // RECORDS_PER_KEY}/{n}.json" for n in range(samples)]
    for name in fresh[::RECORDS_PER_KEY]:
        store.put(name.replace(".json", ".made"), RECORD, durable=False)
    timings["put_if_absent"] = timed(put(store, False), fresh)
    return {"records": records, "keys": len(keys), "fill_s": round(fill_s, 3), "timings": timings}


def timed(call: Callable[[str], object], arguments: Iterator[str] | list[str]) -> dict[str, float]:
    """Median and 99th percentile (nearest rank) of single calls, in microseconds."""
    times = []
    for argument in arguments:
        start = time.perf_counter_ns()
        call(argument)
        times.append(time.perf_counter_ns() - start)
    times.sort()
    rank = -(-99 * len(times) // 100) - 1
    return {
        "calls": len(times),
        "median": round(statistics.median_high(times) / 1000, 1),
        "p99": round(times[rank] / 1000, 1),
    }


def filesystem_of(folder: str) -> str:
    """The type of the file system that holds `folder`, where the system tells."""
    real = Path(folder).resolve()
    around = [
        one for one in psutil.disk_partitions(all=True) if real.is_relative_to(one.mountpoint)
    ]
    # What was mounted last hides what is mounted at the same place.
    found = max(reversed(around), key=lambda one: len(one.mountpoint), default=None)
    return "unknown" if found is None else found.fstype


if __name__ == "__main__":
    main()
