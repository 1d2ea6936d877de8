"""A completion server of the standard library that misbehaves on request.

It tells what happens over a pipe named by --tell: one JSON line per event, so that tests wait for
facts and not for time.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SHOWN = (
    "HF_HOME",
    "TORCHINDUCTOR_CACHE_DIR",
    "TRITON_CACHE_AUTOTUNING",
    "TRITON_CACHE_DIR",
    "TRITON_INTERPRET",
    "TUNEONCE",
    "TUNEONCE_EVENTS",
    "TUNEONCE_STORE",
    "VLLM_CACHE_ROOT",
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
    """Leave what a process with tuneonce would: in mode on, the second start finds its results."""
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
    parser.add_argument("--grandchild", choices=("same", "session", "orphan", "bare"))
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
    if args.never:
        tell(args, "waiting")
        threading.Event().wait()
    server = ThreadingHTTPServer(("127.0.0.1", args.port), make_handler(args))
    server.daemon_threads = True
    tell(args, "listening")
    server.serve_forever()


def start_grandchild(args: argparse.Namespace) -> None:
    """A child that outlives a polite end, in our session or in one of its own.

    `orphan` has lost its parent as well, `bare` has a parent and no inherited environment.
    """
    code = (
        "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (1, 2, 15)];"
        "print('ready', flush=True); time.sleep(600)"
    )
    if args.grandchild == "orphan":
        code = (
            "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', "
            f"{code!r}], start_new_session=True); print(p.pid, flush=True)"
        )
    child = subprocess.Popen(
        [sys.executable, "-S", "-c", code],
        stdout=subprocess.PIPE,
        start_new_session=args.grandchild != "same",
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
        child.stdout.readline()
    tell(args, "grandchild", child=pid)


if __name__ == "__main__":
    main()
