"""What a process started in this environment would do: settings, versions, Triton's seams.

Nothing here imports Triton or torch; the seams are looked at in a child process.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import site
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from .._version import __version__
from ..activation.install import bootstrap_dir
from ..errors import SettingsError, StoreError
from ..inspect.kept_files import kept_files
from ..policies import read_policies
from ..resolution.frozen_file import read_frozen
from ..settings import (
    Mode,
    base_directory,
    binaries_folder,
    complaints,
    frozen_file,
    read,
    read_mode,
    store_to_look_at,
)
from ..store import open_base, open_store
from ._common import why_unreadable
from ._remote import RemotePlace, describe_remote

# Distributions under which the module `triton` is installed.
_TRITONS = ("triton", "pytorch-triton", "pytorch-triton-rocm", "pytorch-triton-xpu", "triton-rocm")

# Importing Triton takes a second or two; on a slow network file system, many more. Arbitrary.
PROBE_LIMIT_S = 60.0

_PROBE = """
import importlib, json, sys
module = importlib.import_module("triton.runtime.autotuner")
sys.path.append(sys.argv[1])
from tuneonce.triton.seams import hookable, probing
seams = hookable.find(module)
found = {name: getattr(seams, name) for name in ("version", "missing", "foreign", "usable")}
found["off"] = probing.everything_off()
print(json.dumps(found))
"""


class StorePlace(msgspec.Struct, frozen=True):
    """`why` names what decided; for an address that is wrong, `error` is all there is."""

    url: str
    why: str
    location: str = ""
    kind: str = ""
    writable: bool = False
    note: str = ""
    readable: bool = True
    error: str | None = None


class BasePlace(msgspec.Struct, frozen=True):
    """The directory that lies under the store; if it cannot be used, `error` says why."""

    directory: str
    error: str | None = None


class FrozenPlace(msgspec.Struct, frozen=True):
    """The file of a frozen set of winners; if it cannot be used, `error` says why."""

    file: str
    sha256: str | None = None
    winners: int = 0
    error: str | None = None


class Seams(msgspec.Struct, frozen=True):
    """What was found in the Triton at hand; `state` is ``found``, ``failed``, ``no triton`` or
    ``not looked``. `missing` is not as expected, `foreign` has replaced ``Autotuner.run``. `off`
    says what is switched off though Triton is usable, and for want of which seams."""

    state: str
    version: str | None = None
    usable: bool = False
    missing: list[str] = []
    foreign: str | None = None
    error: str | None = None
    off: dict[str, list[str]] = {}


class Replay(msgspec.Struct, frozen=True):
    """What is kept for the next start. `profile` is the name that was given; None: derived from the
    program. `binaries` is where compiled binaries are, None where none are; `megabytes` how much
    they take, of at most `limit_mb`."""

    recorded: bool = True
    profile: str | None = None
    binaries: str | None = None
    megabytes: float = 0.0
    limit_mb: int = 0


class Environment(msgspec.Struct, frozen=True):
    """`mode` is that of a Python process started here, `startup` the file that switches it on.

    `complaints` are sentences about settings that do not have the effect that was meant. `workers`
    is None where it is not set. `deterministic`: nothing is tuned and nothing is stored.
    """

    schema: str
    tuneonce: str
    python: str
    executable: str
    mode: str
    why: str
    startup: str | None
    store: StorePlace
    events: str | None
    triton_cache: str
    raise_errors: bool
    workers: int | None
    complaints: list[str]
    versions: dict[str, str | None]
    seams: Seams
    deterministic: bool = False
    frozen: FrozenPlace | None = None
    replay: Replay = Replay()
    base: BasePlace | None = None
    remote: RemotePlace | None = None


def describe_environment(
    environ: Mapping[str, str], *, store: str | None, probe: bool
) -> Environment:
    """Everything that `tuneonce env` tells. `store` is the one of the command line."""
    chosen = {} if store is None else {"TUNEONCE_STORE": store}
    everything = {**environ, **chosen}
    mode, why = explain_mode(environ)
    place, deterministic = _store(everything, explicit=store is not None), _deterministic(environ)
    return Environment(
        schema="tuneonce.env/1",
        tuneonce=__version__,
        python=platform.python_version(),
        executable=sys.executable,
        mode=mode,
        why=why,
        startup=startup_file(environ),
        store=place,
        events=_events(everything),
        triton_cache=triton_cache_directory(environ),
        workers=_workers(environ),
        complaints=complaints(environ),
        raise_errors=read({"TUNEONCE_RAISE": environ.get("TUNEONCE_RAISE", "")}).raise_errors,
        versions={
            "triton": triton_version(),
            **{name: distribution_version(name) for name in ("torch", "vllm")},
        },
        seams=probe_seams(environ) if probe else Seams("not looked"),
        deterministic=deterministic,
        frozen=_frozen(environ),
        replay=_replay(everything),
        base=_base(everything),
        remote=describe_remote(
            environ,
            keeps=place.kind != "memory",
            writable=place.writable,
            deterministic=deterministic,
        ),
    )


def _replay(environ: Mapping[str, str]) -> Replay:
    try:
        settings = read({**environ, "TUNEONCE": "1"})
        info = open_store(settings.store).describe()
    except (SettingsError, StoreError):
        return Replay(recorded=False)
    warm = settings.warm
    beside = Path(info.location, binaries_folder()) if info.kind == "files" else None
    places = [place for place in (beside, settings.binaries) if place is not None]
    found = next(iter(kept_files(places)), None)
    return Replay(
        recorded=warm.recorded,
        profile=warm.profile,
        binaries=None if found is None else found.directory,
        megabytes=0.0 if found is None else round(found.bytes / (1 << 20), 1),
        limit_mb=warm.binaries_mb,
    )


def explain_mode(environ: Mapping[str, str]) -> tuple[str, str]:
    """The mode of a process started in `environ`, and the variable that decides it."""
    word = environ.get("TUNEONCE", "").strip()
    try:
        mode = read_mode(environ, default=Mode.OFF)
        installed = read_mode(environ)
    except SettingsError as error:
        return Mode.OFF.value, str(error)
    others = {n: text for n, text in environ.items() if n != "TRITON_CACHE_AUTOTUNING"}
    if installed is Mode.OFF and read_mode(others) is not Mode.OFF:
        return mode.value, f"TRITON_CACHE_AUTOTUNING={environ['TRITON_CACHE_AUTOTUNING']}"
    if word:
        return mode.value, f"TUNEONCE={word}"
    return mode.value, (
        "TUNEONCE is not set: on under `tuneonce run`, after tuneonce.install(), in vLLM and SGLang"
    )


def _store(environ: Mapping[str, str], *, explicit: bool) -> StorePlace:
    places = ("TUNEONCE_STORE", "TRITON_CACHE_DIR", "VLLM_CACHE_ROOT", "SGLANG_CACHE_DIR")
    why = next(
        (name for name in places if environ.get(name, "").strip()),
        "XDG_CACHE_HOME" if environ.get("XDG_CACHE_HOME", "").strip() else "the user's cache",
    )
    try:
        with open_store(store_to_look_at(environ)) as store:
            info = store.describe()
            unreadable = why_unreadable(store)
    except SettingsError as error:
        return StorePlace("", "--store" if explicit else why, error=str(error))
    return StorePlace(
        url=info.url,
        why="--store" if explicit else why,
        location=info.location,
        kind=info.kind,
        writable=info.writable,
        note="; ".join(text for text in (unreadable, info.note) if text),
        readable=unreadable is None,
    )


def triton_cache_directory(environ: Mapping[str, str]) -> str:
    """Where Triton keeps compiled binaries."""
    chosen = environ.get("TRITON_CACHE_DIR", "").strip()
    if chosen:
        return str(Path(chosen).absolute())
    home = environ.get("TRITON_HOME", "").strip() or environ.get("HOME", "").strip() or "/"
    return str(Path(home, ".triton", "cache").absolute())


def _workers(environ: Mapping[str, str]) -> int | None:
    try:
        return read({"TUNEONCE_WORKERS": environ.get("TUNEONCE_WORKERS", "")}).workers
    except SettingsError:
        return None


def _deterministic(environ: Mapping[str, str]) -> bool:
    try:
        return read_policies(environ).deterministic
    except SettingsError:  # which leaves everything off
        return False


def _frozen(environ: Mapping[str, str]) -> FrozenPlace | None:
    try:
        file = frozen_file(environ)
        if file is None:
            return None
        found = read_frozen(file)
    except SettingsError as error:
        return FrozenPlace(environ["TUNEONCE_FROZEN"], error=str(error))
    return FrozenPlace(str(file), found.sha256, len(found.winners))


def _base(environ: Mapping[str, str]) -> BasePlace | None:
    try:
        directory = base_directory(environ, store_to_look_at(environ))
    except SettingsError as error:
        # Not what was given, which may have a password.
        return BasePlace("", error=str(error)) if environ.get("TUNEONCE_BASE") else None
    if directory is None:  # or one that is of no use, which is a complaint
        return None
    try:
        with open_base(directory) as base:
            return BasePlace(directory, error=why_unreadable(base))
    except StoreError as error:
        return BasePlace(directory, error=str(error))


def winners_text(found: Environment) -> str | None:
    """What is said of winners that are fixed, in a sentence; None if none are."""
    place = found.frozen
    if place is not None and place.sha256 is None:
        return f"off: {place.error} (from TUNEONCE_FROZEN)"
    words = ["deterministic (TUNEONCE_DETERMINISTIC)"] if found.deterministic else []
    if place is not None and place.sha256 is not None:
        words.append(f"{place.winners} frozen in {place.file}, digest {place.sha256[:12]}")
    return ", ".join(words) or None


def _events(environ: Mapping[str, str]) -> str | None:
    """The directory, None for no events, or what is wrong with the setting."""
    try:
        settings = {name: text for name, text in environ.items() if name != "TUNEONCE"}
        found = read({**settings, "TUNEONCE_STORE": store_to_look_at(environ)}).events
    except SettingsError as error:
        return str(error)
    return None if found is None else str(found)


def startup_file(environ: Mapping[str, str]) -> str | None:
    """What switches us on when this interpreter starts: the ``.pth`` file of an installation, or
    what `tuneonce run` put on ``PYTHONPATH``. None if it reads neither."""
    if sys.flags.no_site:
        return None
    if str(bootstrap_dir()) in environ.get("PYTHONPATH", "").split(os.pathsep):
        return str(bootstrap_dir() / "sitecustomize.py")
    directories = site.getsitepackages()
    if site.ENABLE_USER_SITE:
        directories.append(site.getusersitepackages())
    found = (Path(directory) / "tuneonce.pth" for directory in directories)
    return next((str(path) for path in found if path.is_file()), None)


def triton_version() -> str | None:
    """Triton's version by its metadata."""
    versions = (distribution_version(name) for name in _TRITONS)
    return next((version for version in versions if version is not None), None)


def distribution_version(name: str) -> str | None:
    """The version of an installed package by its metadata; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def probe_seams(environ: Mapping[str, str], *, limit_s: float = PROBE_LIMIT_S) -> Seams:
    """Import Triton in a child process, with us switched off, and look at its seams."""
    if importlib.util.find_spec("triton") is None:
        return Seams("no triton")
    ours = str(Path(__file__).parents[2])
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE, ours],
            env={**environ, "TUNEONCE": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=limit_s,
        )
    except subprocess.TimeoutExpired:
        return Seams("failed", error=f"importing Triton took longer than {limit_s:g} s")
    except OSError as error:
        return Seams("failed", error=f"{sys.executable} does not start: {error.strerror}")
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines()
        return Seams("failed", error=lines[-1] if lines else f"exit code {done.returncode}")
    try:
        # Whatever is imported may print; the last line is ours.
        answer = json.loads(done.stdout.splitlines()[-1])
        return msgspec.convert({"state": "found", **answer}, Seams)
    except (ValueError, IndexError, TypeError, msgspec.ValidationError) as error:
        return Seams("failed", error=f"no answer from the child process: {error}")


def seams_text(seams: Seams) -> str:
    """What was found, in a sentence."""
    if seams.state == "not looked":
        return "not looked at (--no-probe)"
    if seams.state == "no triton":
        return "Triton is not installed"
    if seams.state == "failed":
        return f"could not be looked at: {seams.error}"
    if seams.usable and seams.off:
        without = "; ".join(f"{what} ({', '.join(why)})" for what, why in seams.off.items())
        return f"Triton {seams.version} is used without {without}"
    if seams.usable:
        return f"all found in Triton {seams.version}"
    wrong = [f"no usable {', '.join(seams.missing)}"] if seams.missing else []
    if seams.foreign:
        wrong.append(f"Autotuner.run is {seams.foreign}")
    return f"Triton {seams.version} is left alone: {'; '.join(wrong)}"
