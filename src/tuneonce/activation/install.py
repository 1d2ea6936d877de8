"""Switches tuneonce on and off in this process.

Nothing is imported until it is needed: `install` reads the settings; if Triton's autotuner is
loaded it is hooked at once, otherwise a finder on ``sys.meta_path`` waits for it. A program that
never imports Triton pays for neither the hook nor its imports.

Ways in: ``tuneonce.install()``; ``TUNEONCE=1`` through the ``.pth`` file of an ordinary
installation; ``tuneonce run -- ...``, which sets it and also puts `bootstrap_dir` on ``PYTHONPATH``
for installations whose ``.pth`` files Python does not read (``pip install --target``); vLLM's
plugin entry point.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from .imports import server, when_imported

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ..events.totals import Totals

_AUTOTUNER = "triton.runtime.autotuner"

_lock = threading.RLock()
_installed: _Installation | None = None


def _renew_lock() -> None:
    """In a forked child, where a thread that was just installing does not exist."""
    global _lock
    _lock = threading.RLock()


os.register_at_fork(after_in_child=_renew_lock)


class _Installation:
    """What `install` changed, so that `uninstall` can put it back."""

    def __init__(self, settings: Any, environ: dict[str, str]) -> None:
        self.settings = settings
        self.environ = environ
        self.cancel: Callable[[], None] | None = None
        self.hook: Any = None
        self.events: Any = None
        self.live: Any = None
        self.phases: Any = None
        self.replay: Any = None
        self.remote: Any = None
        self.says_ready = False
        self.watched = False
        self.patience: Any = None
        self.frozen: Any = None
        self.exported: dict[str, tuple[str | None, str]] = {}

    def export(self, name: str, value: str) -> None:
        """Set a variable that children inherit."""
        if os.environ.get(name) != value:
            self.exported[name] = (os.environ.get(name), value)
            os.environ[name] = value

    def fixed(self, totals: Any = None) -> str:
        """Whether winners are fixed, for the end of a sentence in a log; empty if they are not.

        With `totals`, how many keys had none and run their first candidate.
        """
        words = []
        if self.settings.policies.deterministic and self.settings.mode.value == "on":
            words.append("deterministic")
            if totals is not None:
                words.append(f"{totals.reasons.get('first_candidate', 0)} first candidates")
        if self.frozen is not None:
            words.append(f"frozen winners {self.frozen.name}")
        return "".join(f", {word}" for word in words)

    def restore_environment(self) -> None:
        for name, (before, value) in self.exported.items():
            if os.environ.get(name) != value:
                continue  # the program has set it since: it is theirs
            if before is None:
                del os.environ[name]
            else:
                os.environ[name] = before


def install() -> bool:
    """Switch tuneonce on in this process; idempotent.

    Takes no arguments: the environment says the rest, and is read here. Works before and after
    Triton is imported and kernels are decorated. Returns whether tuneonce is on:
    ``TUNEONCE=0`` and ``TRITON_CACHE_AUTOTUNING=0`` keep it off, and so does a setting that cannot
    be read, with a warning. Also True with ``TUNEONCE=observe``, and where a Triton that comes
    later turns out not to fit. Raises nothing, unless ``TUNEONCE_RAISE=1`` lets an error of ours
    through.
    """
    global _installed
    from .. import settings as settings_module
    from ..errors import SettingsError

    with _lock:
        if _installed is not None:
            return True
        try:
            mode = settings_module.read_mode(os.environ)
            if mode is settings_module.Mode.OFF:
                return False
            started_with = settings_module.environment_at_start()
            at_start = settings_module.triton_cache_at_start(os.environ, started_with=started_with)
            environ = {**os.environ, settings_module.STARTED_WITH: at_start}
            settings = settings_module.read(environ)
            frozen = None
            if settings.frozen is not None and mode is settings_module.Mode.ON:
                from ..resolution.frozen_file import read_frozen

                # Once, and now: whoever asks is told whether it is on, and it never changes.
                frozen = read_frozen(settings.frozen)
        except SettingsError as error:
            _warn("stays off: %s", error)
            return False
        if settings.log is not None:
            from . import logs

            logs.configure(settings.log)
        for complaint in settings_module.complaints(os.environ):
            _warn("%s", complaint)
        installation = _Installation(settings, environ)
        installation.frozen = frozen
        if mode is settings_module.Mode.ON:
            # Resolved once: a child may run in another directory, or be told another cache.
            installation.export(settings_module.STARTED_WITH, at_start)
            if not os.environ.get("TUNEONCE_START"):
                installation.export("TUNEONCE_START", os.urandom(6).hex())
            if os.environ.get("TUNEONCE_STORE", "").strip():
                installation.export("TUNEONCE_STORE", settings.store)
            if settings.base is not None:
                installation.export("TUNEONCE_BASE", settings.base)
            if settings.frozen is not None:
                installation.export("TUNEONCE_FROZEN", str(settings.frozen))
        if "TUNEONCE_EVENTS" in os.environ and settings.events is not None:
            installation.export("TUNEONCE_EVENTS", str(settings.events))
        _installed = installation
        _tell_at_the_end(installation)
        installation.cancel = when_imported(_AUTOTUNER, lambda m: _hook(m, installation))
        return True


def uninstall() -> None:
    """Switch tuneonce off again and restore what was there before `install`.

    Triton's method and the variables that `install` set for child processes are put back; what is
    stored stays. Where a program has wrapped Triton's method since, the wrapper stays and calls
    stock. Does nothing where tuneonce is not on. Raises nothing.
    """
    global _installed
    with _lock:
        installation, _installed = _installed, None
        if installation is None:
            return
        if installation.cancel is not None:
            installation.cancel()
        if installation.replay is not None:
            installation.replay.close()
        if installation.hook is not None:
            installation.hook.uninstall()
        if installation.remote is not None:
            installation.remote.close()
        if installation.events is not None:
            installation.events.close()
        installation.restore_environment()


def prepare() -> None:
    """Begin in the background what the first kernel would wait for; changes no result.

    For servers' integrations: in a process that will launch kernels, before it loads weights.
    """
    installation = _installed
    if installation is not None and installation.hook is not None and installation.hook.active:
        from ..triton.compile import preparation

        preparation.begin()


def ready() -> None:
    """Say that start-up is over and serving begins: events and statistics are split here.

    For servers' integrations, in each process that launches kernels, after the warm-up. A second
    call in a process does nothing, nor does one where tuneonce is off or Triton is not imported.
    Logs one line, at INFO, with what the start found, tuned and saved (in seconds), if it met any
    kernel. Ends the compile helper; a later cold key starts it again.
    """
    installation = _installed
    if installation is None or installation.live is None or installation.live.ready:
        return
    check()
    if not installation.watched:
        warm()
    patience = _patience(installation)
    if installation.hook is not None:
        with patience.waiting() as left:
            installation.hook.finish(left)
    if installation.remote is not None:
        installation.remote.hear()
    totals = installation.live.now()
    installation.events.emit("ready")
    installation.phases.serve()
    if installation.replay is not None:
        installation.replay.serve(patience, watched=installation.watched)
    remembered = totals.replayed or totals.restored
    if totals.hits or totals.provisional or totals.misses or totals.compiles or remembered:
        _log("ready: %s%s", totals.sentence(), installation.fixed(totals))


def warm() -> None:
    """Make ready what the last starts of this program used and this process does not have yet.

    Verdicts are read, variants of kernels are taken up and their modules loaded, what is used most
    first, within ``TUNEONCE_WARM_BUDGET`` seconds. To be called when the program has imported its
    kernels and configured them; `ready` does it. Does nothing where tuneonce is off or Triton is
    not imported. Raises nothing.
    """
    installation = _installed
    if installation is not None and installation.replay is not None:
        installation.replay.warm(_patience(installation))


def _patience(installation: _Installation) -> Any:
    """How long a start still waits for the store: one for all that it waits for."""
    if installation.patience is None:
        from ..system.patience import Patience

        installation.patience = Patience()
    return installation.patience


def warm_before_watch() -> None:
    """For servers' integrations: `warm`, where the server takes what is compiled later for a fault.

    `ready` makes nothing ready any more then: what could not be would be told of as that.
    """
    installation = _installed
    if installation is not None and not installation.watched:
        installation.watched = True
        warm()


def await_ready() -> None:
    """For servers' integrations that will call `ready`: nothing is made ready before that."""
    installation = _installed
    if installation is not None:
        installation.says_ready = True
        if installation.replay is not None:
            installation.replay.await_ready()


def check() -> None:
    """Warn, once, if ``Autotuner.run`` was replaced since `install`."""
    installation = _installed
    if installation is not None and installation.hook is not None:
        installation.hook.check()


def totals() -> Totals | None:
    """What this process has found, tuned and loaded so far; None where it has no part in it yet."""
    installation = _installed
    live = None if installation is None else installation.live
    return None if live is None else live.now()


def events_directory() -> Path | None:
    """Where the processes that this one starts write their events; None: nowhere, or it is off.

    Raises SettingsError.
    """
    installation = _installed
    if installation is None:
        return None
    settings = installation.settings
    if installation.live is None:  # without Triton it is not settled whose process this is
        from ..settings import read

        settings = read(installation.environ, server=server())
    directory: Path | None = settings.events
    return directory


def is_installed() -> bool:
    """Whether tuneonce is switched on in this process by `install`."""
    return _installed is not None


def bootstrap_dir() -> Path:
    """A directory that, first on ``PYTHONPATH``, activates tuneonce where TUNEONCE is set."""
    from pathlib import Path

    return Path(__file__).parents[1] / "_bootstrap"


def child_environment(environ: dict[str, str], *, mode: str = "1") -> dict[str, str]:
    """A copy of `environ` under which a Python child starts with tuneonce in `mode`.

    The child's Python must be able to import tuneonce: nothing of this environment is put in front
    of its packages.
    """
    inherited = [p for p in environ.get("PYTHONPATH", "").split(os.pathsep) if p]
    bootstrap = str(bootstrap_dir())
    paths = [bootstrap, *[p for p in inherited if p != bootstrap]]
    return {**environ, "TUNEONCE": mode, "PYTHONPATH": os.pathsep.join(paths)}


def _tell_at_the_end(installation: _Installation) -> None:
    """In the first process of a ``tuneonce run``: print what all of them came to as it ends."""
    run = os.environ.get("TUNEONCE_RUN")
    if not run:
        return
    import atexit

    from ..events import runs

    pid = os.getpid()
    if not runs.is_first(run):
        return

    def tell() -> None:
        if os.getpid() == pid:  # not in a forked child
            live = installation.live
            runs.tell(run, installation.settings.events, None if live is None else live.now())

    atexit.register(tell)


def _log(message: str, *args: object) -> None:
    import logging

    logging.getLogger("tuneonce").info(f"tuneonce: {message}", *args)


def _warn(message: str, *args: object) -> None:
    # Imported here: every Python process in which TUNEONCE is set imports this file.
    import logging

    logging.getLogger("tuneonce").warning(f"tuneonce: {message}", *args)


def _hook(module: Any, installation: _Installation) -> None:
    """Build the parts and put the hook in place. Raises nothing unless errors are to be raised."""
    try:
        from .parts import put_together

        put_together(module, installation, _log)
    except Exception as error:
        if installation.settings.raise_errors:
            raise
        _warn("stays off, Triton is stock: %r", error)
