"""Servers that start at the same time over one store: is anything tuned twice?

Starts several copies of a server command at once, sends each a small load, ends them, and starts
them again. They share the store and nothing else: each has a Triton cache of its own, as servers on
several machines have. Prints one JSON document.

    python benchmarks/one_store.py --out OUT.json --copies 2 -- vllm serve MODEL --port {port}
    python benchmarks/one_store.py --out OUT.json -- vllm serve MODEL -dp 2 --port {port}

Copies on one GPU need to be told to share its memory (for vLLM ``--gpu-memory-utilization 0.3``),
and their times disturb each other: what counts here is what is tuned, not how long it takes.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "src"))

from documents import vars_of  # noqa: E402

from tuneonce.activation.install import child_environment  # noqa: E402
from tuneonce.bench.arms import ARMS, environment  # noqa: E402
from tuneonce.bench.interrupts import Interrupts  # noqa: E402
from tuneonce.bench.load import run_load  # noqa: E402
from tuneonce.bench.machine import (  # noqa: E402
    describe_gpu,
    describe_machine,
    installed_versions,
)
from tuneonce.bench.ports import free_port  # noqa: E402
from tuneonce.bench.process import Server  # noqa: E402
from tuneonce.bench.readings import engine_init_s  # noqa: E402
from tuneonce.bench.result import Load  # noqa: E402
from tuneonce.events.log import read_processes  # noqa: E402
from tuneonce.events.totals import summarise  # noqa: E402

SCHEMA = "tuneonce.one-store/1"
HOST = "127.0.0.1"
COUNTED = ("processes", "hits", "provisional", "misses", "tunes", "compiles", "disk_loads")


def tuned_keys(events: Path) -> Counter[str]:
    """How often each key was tuned, by its digest."""
    found: Counter[str] = Counter()
    for process in read_processes(events):
        found.update(str(event.get("key")) for event in process if event.get("e") == "tune")
    return found


def start(number: int, options: argparse.Namespace, root: Path) -> dict[str, Any]:
    """All copies once, from their start to their end."""
    load = Load(
        input_len=options.input_len,
        output_len=options.output_len,
        num_prompts=options.num_prompts,
        max_concurrency=4,
        ignore_eos=True,
        prompt_format=options.prompt_format,
    )
    copies: list[dict[str, Any]] = []
    with Interrupts() as interrupts, contextlib.ExitStack() as stack:
        servers = []
        for copy in range(options.copies):
            port = free_port(HOST)
            home = root / f"copy-{copy}"
            events = home / f"events-{number}"
            events.mkdir(parents=True)
            env = environment(
                ARMS["tuneonce"],
                base=os.environ,
                caches=home / "caches",
                events=events,
                activate=child_environment,
            )
            env["TUNEONCE_STORE"] = str(root / "store")
            command = [word.replace("{port}", str(port)) for word in options.command]
            log = home / f"server-{number}.log"
            server = Server(command, env=env, log=log, host=HOST, port=port, interrupts=interrupts)
            stack.enter_context(server)
            servers.append((server, port, events, log))
        for server, port, _, _ in servers:
            startup_s = server.wait_healthy(timeout=options.startup_timeout)
            copies.append({"startup_s": round(startup_s, 2), "port": port})
        urls = [f"http://{HOST}:{port}" for _, port, _, _ in servers]
        with ThreadPoolExecutor(len(urls)) as pool:
            loads = pool.map(lambda url: run_load(url, load, interrupts=interrupts), urls)
            for found, result, (_, _, _, log) in zip(copies, loads, servers, strict=True):
                found["successful"] = result.successful
                found["engine_init_s"] = engine_init_s(log)
        for server, *_ in servers:
            server.stop()
    together: Counter[str] = Counter()
    for (_, _, events, _), copy_found in zip(servers, copies, strict=True):
        totals = summarise(events)
        copy_found.update({name: getattr(totals, name) for name in COUNTED})
        together.update(tuned_keys(events))
    return {
        "start": number,
        "copies": copies,
        "keys_tuned": len(together),
        "keys_tuned_more_than_once": sum(count > 1 for count in together.values()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--copies", type=int, default=1)
    parser.add_argument("--starts", type=int, default=2)
    parser.add_argument("--input-len", type=int, default=1000)
    parser.add_argument("--output-len", type=int, default=1)
    parser.add_argument("--num-prompts", type=int, default=8)
    parser.add_argument("--prompt-format", choices=("tokens", "text"), default="tokens")
    parser.add_argument("--startup-timeout", type=float, default=400.0)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="-- SERVER COMMAND")
    options = parser.parse_args()
    options.command = options.command[options.command[:1] == ["--"] :]
    if not any("{port}" in word for word in options.command):
        parser.error("which port will the server use? Write {port} where its command names it")
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
        "machine": vars_of(describe_machine()),
        "gpu": vars_of(describe_gpu()),
        "versions": installed_versions(),
        "copies": options.copies,
        "starts": [],
    }
    with tempfile.TemporaryDirectory(prefix="tuneonce-one-store-") as directory:
        for number in range(1, options.starts + 1):
            document["starts"].append(start(number, options, Path(directory)))
            options.out.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(document["starts"], indent=1))


if __name__ == "__main__":
    main()
