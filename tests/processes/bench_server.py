"""A completion server of the standard library that misbehaves on request.

It tells what happens over a pipe named by --tell: one JSON line per event, so that tests wait for
facts and not for time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHOWN = (
    "CUDA_CACHE_PATH",
    "FLASHINFER_WORKSPACE_BASE",
    "HF_HOME",
    "SGLANG_CACHE_DIR",
    "TILELANG_CACHE_DIR",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_AUTOTUNING",
    "TRITON_CACHE_DIR",
    "TRITON_INTERPRET",
    "TUNEONCE",
    "TUNEONCE_EVENTS",
    "TUNEONCE_STORE",
    "VLLM_CACHE_ROOT",
    "VLLM_PORT",
    "XDG_CACHE_HOME",
)

_tell_lock = threading.Lock()


def tell(args: argparse.Namespace, what: str, **more: object) -> None:
    if args.tell:
        with _tell_lock, args.tell.open("a") as file:
            file.write(json.dumps({"what": what, "pid": os.getpid(), **more}) + "\n")


def make_handler(args: argparse.Namespace) -> type[BaseHTTPRequestHandler]:
    count = iter(range(1, 1_000_000))
    unhealthy = iter(range(args.unhealthy))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *values: object) -> None:
            print(format % values, flush=True)

        def answer(self, status: int, data: object = None) -> None:
            body = json.dumps(data).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            if self.path == "/health" and not args.no_health:
                self.answer(503 if next(unhealthy, None) is not None else 200)
            elif self.path == "/v1/models":
                self.answer(200, {"data": [{"id": "fake"}]})
            else:
                self.answer(404)

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            number = next(count)
            tell(args, "request", number=number)
            if args.exit_at == number:
                os._exit(7)
            if args.hang:
                threading.Event().wait()
            if args.fail_every and number % args.fail_every == 0:
                self.answer(500, {"error": "as asked"})
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for index in range(body["max_tokens"]):
                self.send_event({"choices": [{"index": 0, "text": f"t{index}"}]})
            self.send_event(
                {
                    "choices": [],
                    "usage": {
                        "prompt_tokens": len(body["prompt"]),
                        "completion_tokens": body["max_tokens"],
                    },
                }
            )
            self.send_chunk(b"data: [DONE]\n\n")
            self.send_chunk(b"")

        def send_event(self, data: object) -> None:
            self.send_chunk(b"data: " + json.dumps(data).encode() + b"\n\n")

        def send_chunk(self, data: bytes) -> None:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    return Handler


def write_events() -> None:
    """Leave what a process with tuneonce would: in mode on, the second start finds its results.

    Of stock Triton's cache: a winner that is another one in each process that has to look for it.
    """
    directory, mode = os.environ.get("TUNEONCE_EVENTS"), os.environ.get("TUNEONCE")
    if not directory:
        return
    known = Path(os.environ["TUNEONCE_STORE"], "known")
    header = {
        "schema": "tuneonce.events/1",
        "pid": os.getpid(),
        "started": time.time(),
        "mode": "on" if mode == "1" else "observe",
        "argv": sys.argv,
        "store": str(known.parent),
    }
    if mode == "1" and known.exists():
        events = [{"t": 0, "e": "resolve", "kernel": "k", "outcome": "hit", "saved_s": 2.5}]
    else:
        events = [
            {"t": 0, "e": "compile", "kernel": "k", "seconds": 0.5},
            {"t": 0, "e": "measure", "kernel": "k", "candidate": "a", "seconds": 0.5},
            {"t": 0, "e": "measure", "kernel": "k", "candidate": "b", "seconds": 0.5},
            {"t": 0, "e": "tune", "kernel": "k", "candidates": 2, "measured": 2, "seconds": 2.5},
        ]
        known.parent.mkdir(parents=True, exist_ok=True)
        known.touch()
    if os.environ.get("TRITON_CACHE_AUTOTUNING") == "1" and mode != "1":
        entry = Path(os.environ["TRITON_CACHE_DIR"], "DIGEST", "k.autotune.json")
        if not entry.exists():
            entry.parent.mkdir(parents=True)
            best = {"kwargs": {"BLOCK": os.getpid()}, "num_warps": 4, "maxnreg": None}
            other = {"kwargs": {"BLOCK": 0}, "num_warps": 4, "maxnreg": None}
            timings = [[other, [2.0, 2.0, 2.0]], [best, [1.0, 1.0, 1.0]]]
            entry.write_text(json.dumps({"key": [64], "configs_timings": timings}))
    events.append({"t": 1, "e": "ready"})
    events.append({"t": 2, "e": "compile", "kernel": "first", "seconds": 0.25})
    name = f"20260101T000000-{os.getpid()}.jsonl"
    lines = "".join(json.dumps(line) + "\n" for line in [header, *events])
    Path(directory, name).write_text(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--tell", type=Path)
    parser.add_argument("--events", action="store_true")
    parser.add_argument("--unhealthy", type=int, default=0, help="answers of 503 before health")
    parser.add_argument("--no-health", action="store_true", help="there is no /health")
    parser.add_argument("--never", action="store_true", help="run without listening")
    parser.add_argument("--die", action="store_true", help="end at once")
    parser.add_argument("--die-if", type=Path, help="end at once if this exists, else make it")
    parser.add_argument("--hang", action="store_true", help="never answer a completion")
    parser.add_argument("--exit-at", type=int, default=0, help="end at this request")
    parser.add_argument("--fail-every", type=int, default=0)
    parser.add_argument("--ignore-sigterm", action="store_true")
    parser.add_argument("--die-after-child", action="store_true")
    kinds = ("same", "session", "orphan", "bare", "title", "engine")
    parser.add_argument("--grandchild", choices=kinds)
    parser.add_argument("--ends-child", action="store_true", help="at SIGTERM: the child, then us")
    parser.add_argument("--share-port", action="store_true", help="listen with SO_REUSEPORT")
    parser.add_argument("--engine-init", nargs="*", default=[], help="said as vLLM says it")
    args = parser.parse_args()

    tell(args, "start", env={name: os.environ.get(name) for name in SHOWN})
    print("fake server starting", flush=True)
    if args.die or (args.die_if and args.die_if.exists()):
        print("no such model", file=sys.stderr)
        sys.exit(3)
    if args.die_if:
        args.die_if.touch()
    if args.ignore_sigterm:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if args.grandchild:
        start_grandchild(args)
    if args.die_after_child:
        sys.exit(4)
    if args.events:
        write_events()
    for core, seconds in enumerate(args.engine_init):
        print(
            f"(EngineCore_DP{core} pid=1) INFO 01-01 00:00:00 [core.py:349] init engine (profile, "
            f"create kv cache, warmup model) took {seconds} s (compilation: 0.50 s)",
            flush=True,
        )
    if args.never:
        tell(args, "waiting")
        threading.Event().wait()
    server = ThreadingHTTPServer(("127.0.0.1", args.port), make_handler(args), False)
    server.daemon_threads = True
    if args.share_port:
        server.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    server.server_bind()
    server.server_activate()
    tell(args, "listening")
    server.serve_forever()


# Ignores all polite requests.
_STUBBORN = """
import signal, time
for number in (1, 2, 15):
    signal.signal(number, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""

# Starts the one above in a session of its own and ends.
_BETWEEN = f"""
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {_STUBBORN!r}], start_new_session=True)
print(child.pid, flush=True)
"""

# Overwrites the environment it was started with, as programs do that set a title for ps.
_TITLED = f"""
import ctypes
with open("/proc/self/stat", "rb") as file:
    fields = file.read().rpartition(b")")[2].split()
start, end = int(fields[47]), int(fields[48])
ctypes.memset(start, 0, end - start)
with open("/proc/self/environ", "rb") as file:
    assert not file.read().strip(bytes(1)), "the environment can still be read"
{_STUBBORN}
"""

# Ends when its standard input does, and says so if a signal came before.
_ENGINE = """
import os, signal, sys, threading
def asked(number, frame):
    with open(sys.argv[1], "a") as file:
        file.write('{"what": "asked", "pid": %d}\\n' % os.getpid())
    os._exit(0)
signal.signal(signal.SIGTERM, asked)
print("ready", flush=True)
sys.stdin.read()
"""


def start_grandchild(args: argparse.Namespace) -> None:
    """A child that outlives a polite end, in our session or in one of its own.

    `orphan` has lost its parent as well, `bare` has a parent and no inherited environment, `title`
    has overwritten its own. `engine` is in our session and ends like anybody else.
    """
    code = {"orphan": _BETWEEN, "title": _TITLED, "engine": _ENGINE}.get(args.grandchild, _STUBBORN)
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", code, str(args.tell)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=args.grandchild not in ("same", "engine"),
        env={} if args.grandchild == "bare" else None,
    )
    assert child.stdout is not None
    pid = child.pid
    if args.grandchild == "orphan":
        # One line from the process between us, one from the orphan itself, in any order.
        lines = [child.stdout.readline(), child.stdout.readline()]
        pid = next(int(line) for line in lines if line.strip().isdigit())
        child.wait()
    else:
        assert child.stdout.readline(), "the child did not start"
    tell(args, "grandchild", child=pid)
    if args.ends_child:

        def end(number: int, frame: object) -> None:
            assert child.stdin is not None
            child.stdin.close()
            child.wait()
            tell(args, "ended in order")
            os._exit(0)

        signal.signal(signal.SIGTERM, end)


if __name__ == "__main__":
    main()
