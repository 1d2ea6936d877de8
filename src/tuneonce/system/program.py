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
    skip = False
    for word in arguments:
        if skip and not word.startswith("-"):
            skip = False
            continue
        name, equals, value = word.partition("=")
        skip = False
        if name.startswith("-") and _differs(name):
            skip = not equals
        elif not _VALUE.search(value if equals else word):
            yield word


def _differs(option: str) -> bool:
    name = option.lstrip("-").lower().replace("_", "-").replace(".", "-")
    return _STAYS.fullmatch(name) is None and _DIFFERS.search(name) is not None
