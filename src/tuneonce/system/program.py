"""What a program is called: the same at every start, and in all processes of one start.

Of the arguments those are left out that differ from start to start, or between ranks and machines:
ports, addresses, ranks, seeds, places for output, and whatever looks like one of these.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePath

# Words of an option's name (``--master-port``, ``--log_dir``) that mean such a value.
_DIFFERS = re.compile(
    r"(?:^|-)(?:addr|address|addresses|date|dir|endpoints?|fds?|file|handle|host|hostname|id|ips?|"
    r"key|log|logdir|logfile|name|namespace|nic|node|out|outdir|output|path|pid|ports?|rank|secret|"
    r"seed|session|sockets?|tag|time|timestamp|tmp|tmpdir|token|uri|url|uuid)(?:-|$)"
)
# But these say what is served, and differ between programs.
_STAYS = re.compile(
    r"(?:draft-|served-|speculative-draft-)?(?:model|tokenizer|config)(?:-(?:dir|file|id|name|path))?"
)
_VALUE = re.compile(
    r"/(?:tmp|run|proc|dev|var/run|var/tmp)(?:/|$)"  # a place of this start
    r"|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-"  # a UUID
    r"|^(?:[a-z+]+://)?(?:\d{1,3}(?:\.\d{1,3}){3}|localhost|\[?[0-9a-fA-F:]*::[0-9a-fA-F:]*\]?)"
    r"(?::\d+)?(?:/.*)?$"  # an address
    r"|^\d{9,}$|^[0-9a-fA-F]{16,}$"  # a time, a random name
)
# What many programs call the file that they are started by: its folder tells them apart.
_COMMON = re.compile(r"__main__|main|run|cli|app|server?|serve|start|launch|launch_server")


def program_name(argv: Sequence[str], code: str | None = None) -> str:
    """A name such as ``vllm 3f9a0c2b7d11``: the program, and a digest of its arguments.

    `code` is what ``python -c`` was given.
    """
    if code is not None and code.startswith("from multiprocessing."):
        code = None  # a child's, which says nothing of the program
    program = _program(argv[0] if argv else "")
    arguments = [*lasting(argv[1:]), *([code] if code and program == "python" else [])]
    digest = hashlib.sha256("\0".join(arguments).encode("utf-8", "surrogateescape")).hexdigest()
    return f"{program} {digest[:12]}"


def _program(first: str) -> str:
    if first in ("", "-c", "-"):
        return "python"
    path = PurePath(first)
    stem = path.stem if path.suffix in (".py", ".pyc", ".pyz") else path.name
    name = f"{path.parent.name}-{stem}" if _COMMON.fullmatch(stem) and path.parent.name else stem
    return "-".join(name.split()) or "python"


def lasting(arguments: Iterable[str]) -> Iterator[str]:
    """The arguments that are the same at the next start."""
    before = ""
    for word in arguments:
        option, equals, value = word.partition("=")
        if not word.startswith("-"):  # an option's value, or an argument of its own
            option, value = before, word
        before = "" if equals or option is before else option
        if _stays(option) or not (_differs(option) or _VALUE.search(value)):
            yield word


def _words(option: str) -> str:
    return option.lstrip("-").lower().replace("_", "-").replace(".", "-")


def _stays(option: str) -> bool:
    return _STAYS.fullmatch(_words(option)) is not None


def _differs(option: str) -> bool:
    return _DIFFERS.search(_words(option)) is not None
