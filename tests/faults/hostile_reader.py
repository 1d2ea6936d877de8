"""Reads hostile stores as launches and commands do, watched: run by `test_hostile_records.py`.

For each line on standard input, the plans of one store, it answers with a line: what was done that
must not be, and what was raised. Nothing may be evaluated, imported or started, nothing opened or
changed outside of the store and of the events.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

from tests.factories import process, record, resolved, write_events
from tests.fakes import RememberedEvents
from tests.faults.hostile import KINDS, asked_about, honest, hostile
from tuneonce.cli import main
from tuneonce.cli._render import plain
from tuneonce.resolution.profiles import Profiles
from tuneonce.resolution.resolver import Resolver
from tuneonce.settings import journals_near
from tuneonce.store.files import FileStore

ROOT = Path(sys.argv[1]).resolve()
STORE, EVENTS = ROOT / "store", ROOT / "events"
ALLOWED = (str(STORE), str(EVENTS), str(journals_near(os.environ, str(STORE))))

# One of each for a store, by turns, for people and as JSON by turns.
COMMANDS = (
    (["ls"], ["ls", "--profiles"], ["show", "add"], ["why", "kernels:add"], ["verify"]),
    (
        ["verify", "--set-aside"],
        ["rm", "add", "--world", "h*", "--older-than", "1", "--yes"],
        ["rm", "--all", "--yes"],
    ),
)

# -- the watch -----------------------------------------------------------------------------------

FORBIDDEN = ("exec", "compile", "import", "code.__new__", "subprocess.", "socket.", "ctypes.",
             "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.kill", "pty.",
             "pickle.", "marshal.", "shutil.", "tempfile.", "os.putenv", "os.chdir", "mmap.",
             "urllib.", "sqlite3.", "webbrowser.", "winreg.", "fcntl.", "signal.")  # fmt: skip
CHANGES = ("os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod",
           "os.chown", "os.truncate", "os.utime", "os.setxattr", "os.removexattr")  # fmt: skip
watching = threading.local()
seen: list[str] = []


def inside(path: Any, folder: int = -1) -> bool:
    """Whether a path is of the store or the events, where it really is."""
    if isinstance(path, int):
        return True  # opened before, and that was seen
    where = Path(os.fsdecode(path))
    if folder not in (-1, None):
        where = Path(f"/proc/self/fd/{folder}").readlink() / where
    if where.parent == Path("/proc/self/fd"):
        where = where.readlink()
    return where.is_absolute() and str(where).startswith(ALLOWED)


def watch(event: str, args: tuple[Any, ...]) -> None:
    if not getattr(watching, "on", False):
        return
    watching.on = False
    try:
        if event.startswith(FORBIDDEN):
            seen.append(f"{event} {str(args)[:200]}")
        elif event == "open":
            # The folder of a relative path is not told; there is none but in a folder's descriptor,
            # since the current folder has been removed.
            path, flags = args[0], args[2]
            relative = isinstance(path, str) and "/" not in path
            known = inside(path) or relative or str(path).startswith("/proc/self/")
            if not known and not (path == str(ROOT) and not flags & (os.O_WRONLY | os.O_RDWR)):
                seen.append(f"open {args!r}")
        elif event in ("os.listdir", "os.scandir", "glob.glob"):
            if not inside(args[0]):
                seen.append(f"{event} {args!r}")
        elif event.startswith(CHANGES):
            texts = [arg for arg in args if isinstance(arg, (str, bytes))]
            folders = [arg for arg in args if isinstance(arg, int)][-len(texts) :] or [-1]
            for number, path in enumerate(texts):
                if not inside(path, folders[min(number, len(folders) - 1)]):
                    seen.append(f"{event} {args!r}")
    finally:
        watching.on = True


# -- what launches and commands do -----------------------------------------------------------------


def fill(plans: list[tuple[str, list[int]]]) -> None:
    for number, (kind, plan) in enumerate(plans):
        asked = asked_about(number)
        put(*hostile(KINDS[kind], asked, tuple(plan)))  # type: ignore[arg-type]
        if plan[0] % 3 == 0:  # an honest one beside it
            put(*honest(KINDS["variants" if kind == "verdict" else "verdict"], asked))


def put(name: str, data: bytes) -> None:
    path = STORE / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.write_bytes(data)


def launches(count: int) -> None:
    resolver = Resolver(FileStore(STORE), RememberedEvents())
    for number in range(count):
        asked = asked_about(number)
        found = resolver.resolve(asked)
        assert found.winner is None or found.winner in asked.digests
        if number % 20 == 0:  # reads many of the others
            prior = resolver.expected(asked)
            for times in (prior.times, prior.compile_s):
                assert all(0 <= c < 3 and 0 < ms < float("inf") for c, ms in times.items())
        if found.winner is None:
            known = {m.candidate: m for m in [KINDS["measurement"].make(asked)]}
            for one in known.values():
                record(resolver, asked, one)
            resolver.publish(asked, known, asked.digests[0], origin="measured", tune_s=1.0)
    for variants in resolver.variants():
        assert variants.kernel
    profiles = Profiles(resolver.access, lambda: "server 1", clock=lambda: 2000.0)
    before = profiles.load()
    profiles.tidy()
    assert len(profiles.load().variants) >= len(before.variants)
    world = KINDS["shared"].name(asked_about(0)).rpartition("/")[2].removesuffix(".shared.json")
    for _ in range(2):
        assert len(profiles.load(world=world).variants) >= len(before.variants)
        profiles.share()


def commands(turn: int) -> list[str]:
    wrong = []
    as_json = turn % 2 == 1
    for words in [some[turn // 2 % len(some)] for some in COMMANDS]:
        out, err = io.StringIO(), io.StringIO()
        options = ["--store", str(STORE)] + (["--events", str(EVENTS)] if words[0] == "why" else [])
        options += ["--json"] * as_json
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([*words, *options])
        text = out.getvalue() + err.getvalue()
        text.encode()
        if code not in (0, 1, 2) or any(ord(c) < 32 and c != "\n" for c in text):
            wrong.append(f"{words}: exit {code}, {text[-300:]!r}")
        if as_json and out.getvalue():
            json.loads(out.getvalue())
    return wrong


def play(plans: list[tuple[str, list[int]]]) -> list[str]:
    """Fill a store and do everything with it; what was wrong."""
    shutil.rmtree(STORE, ignore_errors=True)
    STORE.mkdir(mode=0o700)
    seen.clear()
    wrong: list[str] = []
    turn = sum(plan[1] for _, plan in plans)
    for step in (lambda: launches(len(plans)), lambda: commands(turn)):
        shutil.rmtree(STORE)
        STORE.mkdir(mode=0o700)
        fill(plans)
        watching.on = True
        try:
            wrong += step() or []  # type: ignore[no-untyped-call]
        except BaseException:
            watching.on = False
            wrong.append(traceback.format_exc(limit=-6))
        finally:
            watching.on = False
    return [*wrong, *seen]


def warm_up() -> None:
    """Whatever is imported and opened once, for good records and bad ones."""
    plain("\ud800\0")
    every = [(kind, [how, 0, 1, 2, 3]) for kind in KINDS for how in range(8)]
    for turn in range(24):
        # The second has an honest verdict beside it, of which every command has something to say.
        some = [("verdict", [0, turn, 0, 0, 0]), ("measurement", [0, 0, 0, 0, 0])]
        play([*some, *every[: 24 if turn < 2 else 0]])


def check_the_watch() -> None:
    """It sees what must not be done."""
    forbidden = (
        lambda: eval("1"),
        lambda: Path("/etc/hostname").open().close(),
        lambda: os.open("/dev/zero", os.O_RDONLY | os.O_CLOEXEC),
        lambda: (ROOT / "made").mkdir(),
        lambda: (ROOT / "made").rename(ROOT / "moved"),
        lambda: (ROOT / "moved").rmdir(),
        lambda: list(Path("/").iterdir()),
        lambda: __import__("this_is_no_module"),
        lambda: subprocess.run(["true"], check=True),
        lambda: socket.socket().close(),
    )
    for act in forbidden:
        seen.clear()
        watching.on = True
        with contextlib.suppress(OSError, ImportError):
            act()
        watching.on = False
        assert seen, act
    seen.clear()


def run() -> None:
    os.environ["COLUMNS"] = "80"
    os.fsync = lambda fd: None  # type: ignore[assignment]
    logging.disable()
    # The rotated events of a process that missed some of the keys.
    missed = [resolved(asked_about(number).key, "miss") for number in range(5)]
    write_events(EVENTS, process(*missed))
    folder = ROOT / "nowhere"
    folder.mkdir()
    os.chdir(folder)
    folder.rmdir()
    sys.addaudithook(watch)
    check_the_watch()
    warm_up()
    for line in sys.stdin:
        print(json.dumps(play(json.loads(line))), flush=True)


run()
