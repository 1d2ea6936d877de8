"""What the environment says: read once, when tuneonce is switched on, and never again.

==========================  =====================================================================
``TUNEONCE``                ``1`` on, ``0`` off, ``observe``: count what stock Triton does and
                            change nothing
``TRITON_CACHE_AUTOTUNING`` Triton's own switch; ``0`` turns tuneonce off too
``TUNEONCE_STORE``          where results are kept: a directory or a URL
``TUNEONCE_BASE``           a directory of results that lies under the store and is only read, as
                            one that is baked into an image
``TUNEONCE_REMOTE``         what several machines share, by its address (`replica`): a start pulls
                            it into the store, and pushes what it finds out
``TUNEONCE_STORE_LIMIT``    how large the store may be, as ``2GB``: what was used longest ago is
                            removed after ``ready()``; default: no limit
``TUNEONCE_EVENTS``         directory for the events files; default: one for each store, in the
                            user's cache directory, which is near; ``0`` writes none
``TUNEONCE_BAKE``           ``1``: every user may read what is written to a store's directory
``TUNEONCE_WORKERS``        processes that compile while a key is tuned, at most 256; default: the
                            cores that this process may use; ``0`` or ``1``: compile in this process
``TUNEONCE_PROGRESS``       ``0``: no progress line while a key is tuned
``TUNEONCE_RECHECK``        ``report``: measure all candidates of each key whose verdict is known,
                            and write what that says; ``fix``: and replace wrong verdicts
``TUNEONCE_FROZEN``         the file of a frozen set of winners, which answers before the store
``TUNEONCE_PROFILE``        the name under which is recorded what this program needs, for its next
                            start; default: derived from the program; ``0``: nothing is
``TUNEONCE_WARM_BUDGET``    seconds that ``ready()`` may take to make ready what the last start
                            used; default 10; ``0``: nothing is
``TUNEONCE_BINARIES_MB``    how much of compiled binaries is kept beside Triton's cache, for a
                            start that finds that one empty; default 256; ``0``: none
``TUNEONCE_TUNE_APART``     kernels that each process measures for itself, where others of the
                            machine wait for one: patterns of names with commas between, ``*``: all
``TUNEONCE_LOG``            ``debug``, ``info``, ``warning`` or ``error``: what the logger
                            ``tuneonce`` shows on standard error where no program configures logging
``TUNEONCE_RAISE``          ``1``: an internal error is raised instead of logged (our test suite)
==========================  =====================================================================

The default store is ``tuneonce/`` in the directory that people mount or bake for their server's
caches: the ``TRITON_CACHE_DIR`` that the program was *started* with; else ``VLLM_CACHE_ROOT`` of
vLLM or ``SGLANG_CACHE_DIR`` of SGLang, or their defaults in a process of theirs; else the user's
cache directory, or where `system.paths.user_directory` finds a place. TorchInductor and vLLM may
rewrite ``TRITON_CACHE_DIR`` in a running process: that does not move us. `STARTED_WITH`, which we
set, tells child processes what it was.
"""

from __future__ import annotations

import enum
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .addresses import directory_of, scheme_of
from .amounts import bytes_of
from .errors import SettingsError
from .policies import Policies, policy_complaints, read_policies
from .system.paths import may_be, user_caches, user_directory

STARTED_WITH = "TUNEONCE_TRITON_CACHE_DIR"
"""The ``TRITON_CACHE_DIR`` that the first process was started with, for its children; empty: none.

No path that the user has not set, since some launchers (Ray) give it to other machines.
"""

# The variable that moves a server's caches, and where they are otherwise, in the user's.
_SERVERS = {"vllm": ("VLLM_CACHE_ROOT", "vllm"), "sglang": ("SGLANG_CACHE_DIR", "sglang")}


class Mode(enum.Enum):
    """What tuneonce does in this process."""

    OFF = "off"
    """Nothing: Triton is exactly stock."""
    OBSERVE = "observe"
    """Counts tunes and compiles, changes nothing."""
    ON = "on"
    """Results are kept and used."""


class Recheck(enum.Enum):
    """What happens to a verdict at the first launch of its key, besides being used."""

    OFF = "off"
    """Nothing."""
    REPORT = "report"
    """All candidates are measured, and an event says what the verdict costs."""
    FIX = "fix"
    """The same, and a verdict that is proven wrong is replaced."""


# No machine compiles faster with more; arbitrary, and above the cores of any GPU server.
MOST_WORKERS = 256

# Set by tuneonce itself for processes that it starts, and not for people.
_OURS = frozenset(
    {
        STARTED_WITH,
        "TUNEONCE_BENCH_SERVER",
        "TUNEONCE_COMPILE_HELPER",
        "TUNEONCE_RUN",
        "TUNEONCE_START",
    }
)
VARIABLES = _OURS | {
    "TUNEONCE_BAKE",
    "TUNEONCE_BASE",
    "TUNEONCE_BINARIES_MB",
    "TUNEONCE_DETERMINISTIC",
    "TUNEONCE_EVENTS",
    "TUNEONCE_FROZEN",
    "TUNEONCE_LOG",
    "TUNEONCE_LOOK_SHARE",
    "TUNEONCE_EXPLORE_SHARE",
    "TUNEONCE_WORK_CLASSES",
    "TUNEONCE_NUMERICS",
    "TUNEONCE_ON_MISS_SERVING",
    "TUNEONCE_ON_MISS_STARTING",
    "TUNEONCE_PROFILE",
    "TUNEONCE_PROGRESS",
    "TUNEONCE_RAISE",
    "TUNEONCE_RECHECK",
    "TUNEONCE_REMOTE",
    "TUNEONCE_STORE",
    "TUNEONCE_STORE_LIMIT",
    "TUNEONCE_TUNE_APART",
    "TUNEONCE_WARM_BUDGET",
    "TUNEONCE_WORKERS",
}
"""Every variable that is read, besides ``TUNEONCE`` and Triton's."""

LOG_LEVELS = ("debug", "info", "warning", "error")

_FALSE = frozenset({"0", "false", "no", "off", "n"})
_TRUE = frozenset({"1", "true", "yes", "on", "y"})


@dataclass(frozen=True)
class Warm:
    """What one start keeps for the next. `profile` is its name, None for a derived one.

    `recorded`: whether anything is. `budget_s` is in seconds, `binaries_mb` in units of 2^20 bytes.
    """

    profile: str | None = None
    recorded: bool = True
    budget_s: float = 10.0
    binaries_mb: int = 256


@dataclass(frozen=True)
class Settings:
    """The settings of one process. `store` is a directory or URL, absolute.

    `older` is a directory that would have been the store's, and may still hold results. `base` is
    one whose results are read as if they were in the store. `journals` is where a tuning keeps its
    measurements while it goes on and the store is far away, `binaries` where compiled binaries are
    kept then. `frozen` is the file of a frozen set of winners. `apart` are patterns of kernels that
    each process measures for itself. `remote` is the address of what machines share. `store_limit`
    is in bytes.
    """

    mode: Mode
    store: str
    events: Path | None
    raise_errors: bool
    workers: int | None = None
    progress: bool = True
    recheck: Recheck = Recheck.OFF
    older: str | None = None
    base: str | None = None
    journals: Path | None = None
    binaries: Path | None = None
    bake: bool = False
    log: str | None = None
    policies: Policies = field(default_factory=Policies)
    warm: Warm = Warm()
    frozen: Path | None = None
    apart: tuple[str, ...] = ()
    remote: str | None = None
    store_limit: int | None = None


def read_mode(environ: Mapping[str, str], *, default: Mode = Mode.ON) -> Mode:
    """The mode that `environ` asks for. Raises `SettingsError` for a word it does not know.

    `default` is what an unset ``TUNEONCE`` means: on, where a program called ``install()``.
    """
    word = environ.get("TUNEONCE", "").strip().lower()
    if word in _FALSE:
        return Mode.OFF
    if word == "observe":
        return Mode.OBSERVE
    if word and word not in _TRUE:
        raise SettingsError(f"TUNEONCE={word!r} is not known: use 1, 0 or observe")
    if means_no(environ.get("TRITON_CACHE_AUTOTUNING")):
        return Mode.OFF
    return Mode.ON if word else default


def means_no(word: str | None) -> bool:
    """Whether the value of a variable switches something off; an unset one does not."""
    return word is not None and word.strip().lower() in _FALSE


def read(
    environ: Mapping[str, str],
    *,
    started_with: Mapping[str, str] | None = None,
    server: str | None = None,
) -> Settings:
    """All settings, for a process of `server` ("vllm", "sglang") if that is known.

    `started_with` is the environment of the process's start, where known.
    """
    store = store_location(environ, started_with=started_with, server=server)
    users = user_directory(environ)
    policies = read_policies(environ)
    recheck = _recheck(environ.get("TUNEONCE_RECHECK", "").strip().lower())
    is_servers = store in map(str, _in_servers_caches(environ, server))
    return Settings(
        mode=read_mode(environ),
        store=store,
        events=_events_directory(environ, store),
        raise_errors=environ.get("TUNEONCE_RAISE", "").strip().lower() in _TRUE,
        workers=_workers(environ.get("TUNEONCE_WORKERS", "").strip()),
        progress=not means_no(environ.get("TUNEONCE_PROGRESS")),
        recheck=Recheck.OFF if policies.deterministic else recheck,
        older=str(users) if users is not None and is_servers and store != str(users) else None,
        base=base_directory(environ, store),
        journals=journals_near(environ, store),
        binaries=binaries_near(environ, store),
        bake=read_bake(environ),
        log=_log_level(environ),
        policies=policies,
        warm=_warm(environ),
        frozen=frozen_file(environ),
        apart=_words(environ.get("TUNEONCE_TUNE_APART", "")),
        remote=_remote(environ),
        store_limit=store_limit(environ),
    )


def base_directory(environ: Mapping[str, str], store: str) -> str | None:
    """The absolute directory that lies under `store`, if there is to be one that is of use.

    Raises `SettingsError` for what is no directory.
    """
    base = _given_base(environ)
    return None if base is None or _is_within(base, store) else base


def _given_base(environ: Mapping[str, str]) -> str | None:
    given = environ.get("TUNEONCE_BASE", "").strip()
    if not given:
        return None
    # The address is not repeated: it may hold a password.
    scheme, directory = scheme_of(given), directory_of(given)
    if directory is None:
        raise SettingsError(
            f"TUNEONCE_BASE is a directory, and a {scheme}: address is none. Results that are far "
            "away are shared by pulling them: TUNEONCE_REMOTE=ADDRESS?readonly=1"
        )
    if scheme is not None and not directory.startswith("/"):
        raise SettingsError("TUNEONCE_BASE: a file: address names an absolute directory")
    return os.path.normpath(_absolute("TUNEONCE_BASE", directory))


def _is_within(base: str, store: str) -> bool:
    """Whether a directory is a store's own, or below it; by their names alone."""
    own = directory_of(store)
    return own is not None and Path(base).is_relative_to(os.path.normpath(Path(own).absolute()))


def _base_complaints(environ: Mapping[str, str]) -> list[str]:
    try:
        base, store = _given_base(environ), store_location(environ)
    except SettingsError:  # which is told by itself
        return []
    if base is None or not _is_within(base, store):
        return []
    return [f"TUNEONCE_BASE={base} is left out: it is the store itself, or lies in it"]


def frozen_file(environ: Mapping[str, str]) -> Path | None:
    """Where the frozen set of winners is, if there is to be one. Raises `SettingsError`."""
    given = environ.get("TUNEONCE_FROZEN", "").strip()
    return _absolute("TUNEONCE_FROZEN", given) if given else None


def store_limit(environ: Mapping[str, str]) -> int | None:
    """How many bytes a store may hold; None: there is no limit. Raises `SettingsError`."""
    word = environ.get("TUNEONCE_STORE_LIMIT", "").strip()
    if not word or means_no(word):
        return None
    try:
        return bytes_of(word)
    except ValueError as error:
        raise SettingsError(f"TUNEONCE_STORE_LIMIT: {error}") from None


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for part in text.split(",") if (word := part.strip()))


def _warm(environ: Mapping[str, str]) -> Warm:
    name = environ.get("TUNEONCE_PROFILE", "").strip()
    usual = Warm()
    return Warm(
        name if name and not means_no(name) else None,
        recorded=not (name and means_no(name)),
        budget_s=_number(environ, "TUNEONCE_WARM_BUDGET", usual.budget_s, "seconds"),
        binaries_mb=int(_number(environ, "TUNEONCE_BINARIES_MB", usual.binaries_mb, "megabytes")),
    )


def _number(environ: Mapping[str, str], name: str, usual: float, unit: str) -> float:
    word = environ.get(name, "").strip()
    if not word:
        return usual
    if means_no(word):
        return 0.0
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", word) is None:
        raise SettingsError(f"{name}={word!r} is no number of {unit}: 0, 5, 10, ...")
    return float(word)


def is_interpreted(environ: Mapping[str, str]) -> bool:
    """Whether Triton interprets its kernels in this environment, read as Triton reads it."""
    return environ.get("TRITON_INTERPRET", "").lower() in _TRUE


def read_bake(environ: Mapping[str, str]) -> bool:
    """Whether what is written to a store's directory is for every user. Raises `SettingsError`."""
    word = environ.get("TUNEONCE_BAKE", "").strip().lower()
    if word and word not in _TRUE | _FALSE:
        raise SettingsError(f"TUNEONCE_BAKE={word!r} is not known: use 1 or 0")
    return word in _TRUE


def complaints(environ: Mapping[str, str]) -> list[str]:
    """Sentences about settings that do not have the effect that was meant. None switches us off."""
    return [
        *_unknown_variables(environ),
        *_log_complaints(environ),
        *_worker_complaints(environ),
        *policy_complaints(environ),
        *_base_complaints(environ),
        *_limit_complaints(environ),
    ]


def _limit_complaints(environ: Mapping[str, str]) -> list[str]:
    if not (environ.get("TUNEONCE_STORE_LIMIT", "").strip() and _remote(environ)):
        return []
    return [
        "TUNEONCE_STORE_LIMIT has no effect beside TUNEONCE_REMOTE, which would bring back what is "
        "removed: use `tuneonce gc`, and the remote's own tools"
    ]


def _remote(environ: Mapping[str, str]) -> str | None:
    return environ.get("TUNEONCE_REMOTE", "").strip() or None


def _unknown_variables(environ: Mapping[str, str]) -> list[str]:
    found = []
    for name in sorted(environ):
        if not name.startswith("TUNEONCE_") or name in VARIABLES:
            continue
        # Imported where it is needed, because every Python process reads its settings.
        from difflib import get_close_matches

        known = [one.removeprefix("TUNEONCE_") for one in sorted(VARIABLES - _OURS)]
        near = get_close_matches(name.removeprefix("TUNEONCE_"), known, n=1)
        hint = f"; did you mean TUNEONCE_{near[0]}?" if near else ""
        found.append(f"{name} is not known{hint}")
    return found


def _log_level(environ: Mapping[str, str]) -> str | None:
    word = environ.get("TUNEONCE_LOG", "").strip().lower()
    return word if word in LOG_LEVELS else None


def _log_complaints(environ: Mapping[str, str]) -> list[str]:
    word = environ.get("TUNEONCE_LOG", "").strip()
    if not word or word.lower() in LOG_LEVELS:
        return []
    return [f"TUNEONCE_LOG={word!r} is not known and left out: use {', '.join(LOG_LEVELS)}"]


def _workers(word: str) -> int | None:
    if not word:
        return None
    if not (word.isascii() and word.isdigit()):
        raise SettingsError(f"TUNEONCE_WORKERS={word!r} is no number of processes: 0, 1, 2, ...")
    return MOST_WORKERS if _is_too_many(word) else int(word.lstrip("0") or 0)


def _is_too_many(word: str) -> bool:
    # By its length first: Python refuses to read a number of very many digits.
    digits = word.lstrip("0")
    return len(digits) > 9 or int(digits or 0) > MOST_WORKERS


def _worker_complaints(environ: Mapping[str, str]) -> list[str]:
    word = environ.get("TUNEONCE_WORKERS", "").strip()
    if not (word.isascii() and word.isdigit() and _is_too_many(word)):
        return []
    shown = word if len(word) < 20 else f"a number of {len(word)} digits"
    return [f"TUNEONCE_WORKERS={shown} is taken as {MOST_WORKERS}, which is the most"]


def _recheck(word: str) -> Recheck:
    if not word or word in _FALSE:
        return Recheck.OFF
    try:
        return Recheck(word)
    except ValueError:
        raise SettingsError(f"TUNEONCE_RECHECK={word!r} is not known: report or fix") from None


def store_location(
    environ: Mapping[str, str],
    *,
    started_with: Mapping[str, str] | None = None,
    server: str | None = None,
) -> str:
    """Where results are kept; see the module for the order of choices. Raises `SettingsError`."""
    explicit = environ.get("TUNEONCE_STORE", "").strip()
    if explicit:
        is_url = scheme_of(explicit) is not None
        return explicit if is_url else str(_absolute("TUNEONCE_STORE", explicit))
    triton = triton_cache_at_start(environ, started_with=started_with)
    if triton:
        return str(Path(triton, "tuneonce"))
    places = _in_servers_caches(environ, server)
    place = places[0] if places else user_directory(environ)
    if place is None:
        raise SettingsError(
            f"user {os.getuid()} has no home directory that can be written, and no directory for "
            "temporary files: set TUNEONCE_STORE"
        )
    return str(place)


def store_to_look_at(environ: Mapping[str, str]) -> str:
    """The store that a command looks at: a program's in this environment, as far as that is known.

    Nothing says here whether a server is meant: of the user's store and those of servers' default
    cache directories, the one that has changed last is. Raises `SettingsError`.
    """
    given = ("TUNEONCE_STORE", STARTED_WITH, "TRITON_CACHE_DIR", *(v for v, _ in _SERVERS.values()))
    location = store_location(environ)
    caches = user_caches(environ)
    if caches is None or any(environ.get(name, "").strip() for name in given):
        return location
    others = [str(caches / folder / "tuneonce") for _, folder in _SERVERS.values()]
    return max((location, *others), key=_changed_at)


def _changed_at(path: str) -> float:
    """When something was put into a store or its folders last; 0 if it is not there."""
    try:
        inside = [one.stat().st_mtime for one in Path(path).iterdir()]
        return max((Path(path).stat().st_mtime, *inside))
    except OSError:
        return 0.0


def triton_cache_at_start(
    environ: Mapping[str, str], *, started_with: Mapping[str, str] | None = None
) -> str:
    """The absolute ``TRITON_CACHE_DIR`` that the program was started with, or ``""``.

    Raises `SettingsError`.
    """
    given = environ.get(STARTED_WITH)
    if given is None:
        given = (environ if started_with is None else started_with).get("TRITON_CACHE_DIR", "")
    return str(_absolute("TRITON_CACHE_DIR", given.strip())) if given.strip() else ""


def _in_servers_caches(environ: Mapping[str, str], server: str | None) -> list[Path]:
    """Stores in the cache directories of servers, that of the process's own first.

    That of a server that this is not is one only if its variable says where it is.
    """
    caches = user_caches(environ)
    found: list[Path] = []
    for name in sorted(_SERVERS, key=lambda name: name != server):
        variable, folder = _SERVERS[name]
        given = environ.get(variable, "").strip()
        if given:
            found.append(_absolute(variable, given) / "tuneonce")
        elif name == server and caches is not None and may_be(caches / folder / "tuneonce"):
            found.append(caches / folder / "tuneonce")
    return found


def _events_directory(environ: Mapping[str, str], store: str) -> Path | None:
    word = environ.get("TUNEONCE_EVENTS", "").strip()
    if word:
        return None if word == "0" else _absolute("TUNEONCE_EVENTS", word)
    usual = user_directory(environ)
    if usual is None:
        return None
    return usual / "events" / _place_of(store)


def journals_near(environ: Mapping[str, str], store: str) -> Path | None:
    """Where journals of a store are if it is far away; None: nowhere."""
    usual = user_directory(environ)
    return None if usual is None else usual / "journal" / _place_of(store)


BINARIES = ".binaries-"


def binaries_folder() -> str:
    """What the folder is called that is beside a store's records; each user has one."""
    return f"{BINARIES}{os.geteuid()}"


def binaries_near(environ: Mapping[str, str], store: str) -> Path | None:
    """Where binaries are kept if they cannot be beside a store; None: nowhere."""
    usual = user_directory(environ)
    return None if usual is None else usual / "binaries" / _place_of(store)


def _place_of(store: str) -> str:
    """A folder's name: each store has processes and keys of its own."""
    return hashlib.sha256(os.fsencode(directory_of(store) or store)).hexdigest()[:12]


def _absolute(name: str, text: str) -> Path:
    try:
        return Path(text).expanduser().absolute()
    except (RuntimeError, OSError) as error:  # ~ without a home, a current directory that is gone
        raise SettingsError(f"{name}={text!r} cannot be resolved: {error}") from error


def environment_at_start() -> Mapping[str, str] | None:
    """The environment this process was started with, or None where the system does not tell.

    Linux keeps it; whatever the program changed since then is not in it. A program that sets its
    process title (vLLM does) writes over it: what is left then is nothing, or no list of variables.
    """
    try:
        raw = Path("/proc/self/environ").read_bytes()
    except OSError:
        return None
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {os.fsdecode(name): os.fsdecode(value) for name, _, value in pairs} or None
