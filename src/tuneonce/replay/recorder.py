"""Writes down what this process needs, for the next start: variants of kernels, keys, binaries.

What launches tell of (a variant was compiled or loaded, a winner was launched) goes into a queue,
which takes a microsecond. A thread looks up the rest while nobody waits for it, and writes parts of
the profile (`model.profiles`) as it goes, so that a kill loses the last moment. A launch whose
variant is known tells of nothing.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from ..events.log import EventLog
from ..model.codec import Unencodable
from ..model.profiles import PhaseWord, ProfilePart, Start, UsedKey, UsedVariant
from ..phase import Phases
from ..resolution.profiles import Profiles
from ..system.forks import renew_in_child
from ..system.greenlets import patched_by
from ..system.patience import Patience
from ..system.threads import start_thread
from ..triton.compile import variant_grammar as grammar
from ..triton.compile.variants import describe_source
from ..triton.kernel.identity import fingerprint, innermost
from ..triton.seams import caches, compiled, kernels, probing, sources
from ..triton.seams.seam import Feature
from .kept_binaries import KeptBinaries

# The compiler tells of a variant before the kernel has it. So often is it looked for, and after so
# many seconds each time. Arbitrary: milliseconds pass in between.
_TRIES, _PAUSE_S = 100, 0.02

# What is met is written when nothing new was met for so many seconds, and after so many in any
# case: a thread of ours opens and closes files then, and a program that closes every descriptor
# after its first launches must not find it in the middle of that. Arbitrary.
_QUIET_S, _LONGEST_S = 0.1, 1.0

# Seconds that the thread which looks up and writes is waited for, by a server that is about to
# serve and by the end of a process. Arbitrary: it takes milliseconds, unless something is not found
# at all, or the store is slow.
_AT_READY_S, _AT_THE_END_S = 0.5, 2.0

# A part is written anew with each thing that is met, until it holds so many. Arbitrary.
_OF_A_PART = 64

# At most so much waits to be looked up. Arbitrary: several times what a start needs.
_MOST_WAITING = 20_000


# An option in the name of a variant. Not parsed as Python: that is not safe while another thread,
# which may be one that launches, has Python parse a kernel ("AST constructor recursion depth").
_OPTION = re.compile(
    r"'([A-Za-z_]\w*)': (?:(-?\d{1,19})|(True|False|None)|'([^'\\\\]*)')(?:, (?=')|(?=\}$))"
)
_WORDS = {"True": True, "False": False, "None": None}


class NotRecorded(Exception):
    """What cannot be made ready from a record. `reason` is one of a few words."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


@dataclass(frozen=True)
class _Met:
    """Something that was met. `source` is Triton's source of a variant, or `entry` is complete.

    Of a variant that is not `launched` only the binary is kept.
    """

    phase: PhaseWord
    at: float
    source: Any = None
    binary: str = ""
    entry: UsedVariant | UsedKey | None = None
    launcher: tuple[str, str] | None = None
    launched: bool = True
    tries: int = _TRIES


class Recorder:
    """What one process has met. Raises nothing into a launch. Thread-safe.

    `start` names the start of the program, in all its processes; `keep(what, call, patience)` makes
    a call that may fail, which is then counted, and waits for it as long as there is patience;
    without any given, as a thread does for which nobody waits.
    """

    def __init__(
        self,
        profiles: Profiles,
        events: EventLog,
        phases: Phases,
        *,
        start: str,
        keep: Callable[[str, Callable[[], Any], Patience | None], Any],
        binaries: KeptBinaries | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._profiles, self._events, self._phases = profiles, events, phases
        self._start = Start(start, clock())
        self._keep, self._binaries, self._clock = keep, binaries, clock
        self._seen: set[Any] = set()
        self.on_new: Callable[[], None] = lambda: None
        """Called when a launch has met something new; returns at once."""
        self.renew()
        renew_in_child(self)

    def renew(self) -> None:
        """Also in a forked child, which writes parts of its own."""
        self._queue: deque[_Met] = deque(maxlen=_MOST_WAITING)
        self._working = threading.Lock()
        self._thread: threading.Thread | None = None
        self._met_at = 0.0
        self._hurried = False
        self._folders: dict[str, str] = {}
        self._writing = threading.RLock()
        self._process = f"{os.getpid()}-{secrets.token_hex(4)}"
        self._number = 0
        self._variants: list[UsedVariant] = []
        self._keys: list[UsedKey] = []
        self._changed = self._ending = False
        self._left_out: dict[str, int] = {}

    # -- what launches tell ------------------------------------------------------------------

    def compiled(self, source: Any, binary: str) -> None:
        """A variant was compiled, or loaded from Triton's cache, for a launch."""
        self._note(_Met(self._phase, self._clock(), source=source, binary=binary))

    def launched(self, variant: Any) -> None:
        """A winner was launched: `variant` is what Triton's launch returned."""
        if compiled.is_compiled(variant):
            self.compiled(compiled.source_of(variant), compiled.binary_of(variant))

    def used(self, entry: UsedVariant) -> None:
        """What was made ready is launched for the first time."""
        self._note(_Met(self._phase, self._clock(), entry=entry))

    def met_key(self, kernel: str, verdict: str, winner: str) -> None:
        """A key was launched for the first time; `verdict` is the name of its record."""
        entry = UsedKey(kernel, verdict, winner, self._phase, [], 0.0)
        self._note(_Met(self._phase, self._clock(), entry=entry))

    def keep(self, variant: Any) -> None:
        """What was made ready, though no start has launched it, is to be there at the next one."""
        source, binary = compiled.source_of(variant), compiled.binary_of(variant)
        self._note(_Met(self._phase, self._clock(), source=source, binary=binary, launched=False))

    def took_launcher(self, folder: str, file: str) -> None:
        """A file in no group was taken from a folder of Triton's cache."""
        self._note(_Met(self._phase, self._clock(), launcher=(folder, file)))

    @property
    def _phase(self) -> PhaseWord:
        return "serving" if self._phases.now.value == "serving" else "starting"

    def _note(self, met: _Met) -> None:
        self._queue.append(met)
        self._met_at = time.monotonic()
        if met.launcher is None and met.launched:
            self.on_new()
        self._begin()

    def _begin(self) -> bool:
        """Have a thread look up what is in the queue, unless one does. False: there can be none."""
        if patched_by() is not None:  # else at the end
            return False
        if self._working.locked() or not self._working.acquire(blocking=False):
            return True
        try:
            self._thread = start_thread(self._work, name="tuneonce-profile", args=(self._working,))
        except RuntimeError:  # no more threads, or the interpreter ends
            self._working.release()
            return False
        return True

    # -- what is made of it ------------------------------------------------------------------

    def _work(self, working: threading.Lock) -> None:
        while True:
            try:
                by = time.monotonic() + _LONGEST_S
                waiting = self._look_up()
                while waiting or self._queue or not self._is_quiet(by):
                    if not self._ending:
                        time.sleep(_PAUSE_S)
                    waiting = self._look_up(waiting, last=self._ending)
                self._write_down()
            finally:
                working.release()
            # Looked at again after it is free: something may have come before.
            if not (self._queue or self._changed) or not working.acquire(blocking=False):
                return

    def _is_quiet(self, by: float) -> bool:
        return self._hurried or time.monotonic() >= min(self._met_at + _QUIET_S, by)

    def serve(self, patience: Patience) -> None:
        """The start has got as far as serving: have that written, and what was met until now.

        Waits for it a moment, if there is `patience`; it is written all the same.
        """
        self._complete()
        self._hurried = True
        if self._begin():
            with patience.waiting(_AT_READY_S) as seconds:
                self._await_thread(seconds)
            self._hurried = False
        else:
            self._hurried = False
            self._queue.extend(self._look_up())
            self._write_down(patience)
        self._tell_left_out()

    def finish(self, patience: Patience, *, complete: bool) -> None:
        """Write what is met until now: the process ends, or its recording does.

        `complete`: the start has got as far as serving, or to its end.
        """
        self._ending = self._hurried = True
        with patience.waiting(_AT_THE_END_S) as seconds:
            self._await_thread(seconds)
        if complete:
            self._complete()
        with patience.waiting() as seconds:  # that thread may be writing still
            is_free = self._writing.acquire(timeout=seconds)
        if is_free:
            try:
                self._look_up(last=True)
                self._write_down(patience)
            finally:
                self._writing.release()
        self._tell_left_out()

    def _complete(self) -> None:
        self._start = Start(self._start.id, self._start.at, complete=True)
        self._changed = True

    def _await_thread(self, seconds: float) -> None:
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(seconds)

    def _tell_left_out(self) -> None:
        if self._left_out:
            left_out, self._left_out = self._left_out, {}
            self._events.emit("profile", left_out=left_out)

    def _look_up(self, waiting: list[_Met] | None = None, *, last: bool = False) -> list[_Met]:
        """Look up what is in the queue. What the kernel does not have yet is left."""
        left = []
        with self._writing:
            items = list(waiting or ())
            while self._queue:
                with contextlib.suppress(IndexError):  # another thread may take it, at the end
                    items.append(self._queue.popleft())
            for met in items:
                with _counted(self._left_out):
                    if not self._take(met):
                        if met.tries <= 0 or last:
                            raise NotRecorded("not_found")
                        left.append(_Met(**{**vars(met), "tries": met.tries - 1}))
        return left

    def _write_down(self, patience: Patience | None = None) -> None:
        """Write a part if there is anything new, and keep binaries, which takes longer."""
        with self._writing:
            if self._changed:
                self._changed = False
                self._keep("profile", self._write, patience)
            if self._folders:
                folders, self._folders = self._folders, {}
                self._keep("binaries", lambda: self._keep_files(folders), patience)

    def _take(self, met: _Met) -> bool:
        """Add something. False: the kernel does not have it yet. Raises NotRecorded."""
        if met.launcher is not None:
            self._folders[met.launcher[0]] = ""
            return True
        if not met.launched:
            self._keep_folder(sources.kernel_of(met.source), met.binary)
            return True
        entry = met.entry
        if entry is None:
            if (id(sources.kernel_of(met.source)), met.binary) in self._seen:
                return True
            entry = self._entry(met)
            if entry is None:
                return False
            self._seen.add((id(sources.kernel_of(met.source)), met.binary))
        elif (met.phase == "starting", entry.identity) in self._seen:
            return True
        self._seen.add((met.phase == "starting", entry.identity))
        self._add(_now(entry, self._start.id, met.phase, met.at))
        return True

    def _entry(self, met: _Met) -> UsedVariant | None:
        # Asked here, not where the parts are made: Triton may be half imported there.
        if probing.missing(Feature.PROFILE):
            raise NotRecorded("another_triton")
        jit = sources.kernel_of(met.source)
        if not kernels.is_kernel(jit):
            raise NotRecorded("no_kernel")
        held = [(key, one) for key, one in compiled.in_memory(jit) if one.hash == met.binary]
        if not held:
            return None
        self._keep_folder(jit, met.binary)
        key, one = held[0]
        return described(jit, key, one)

    def _keep_folder(self, jit: Any, binary: str) -> None:
        found = fingerprint(jit)
        # Without one, Triton's key may not hold all that the kernel reads.
        if found is not None and not probing.missing(Feature.WARM):
            self._folders[caches.folder_of(binary)] = found.digest

    def _keep_files(self, folders: dict[str, str]) -> None:
        if self._binaries is None:
            return
        for folder, of_kernel in folders.items():
            with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                place = caches.directory_of(folder)
                if place is not None:
                    self._binaries.keep(place, caches.group_names(place), of_kernel)

    def _add(self, entry: UsedVariant | UsedKey) -> None:
        self._changed = True
        if isinstance(entry, UsedVariant):
            self._variants.append(entry)
        else:
            self._keys.append(entry)

    def _write(self) -> None:
        """Write what this process has met, in parts that are full and one that is not yet."""
        while True:
            name = f"{self._start.id}-{self._process}-{self._number}"
            variants = self._variants[:_OF_A_PART]
            keys = self._keys[: _OF_A_PART - len(variants)]
            self._profiles.keep(
                ProfilePart(self._profiles.name, name, [self._start], variants, keys)
            )
            if len(variants) + len(keys) < _OF_A_PART:
                return
            self._number += 1
            del self._variants[: len(variants)], self._keys[: len(keys)]
            if not (self._variants or self._keys):
                return


def described(jit: Any, key: str, one: Any) -> UsedVariant:
    """A variant of a kernel as a record has it. Raises NotRecorded."""
    name = _name_of(jit)
    try:
        variant = describe_source(compiled.source_of(one))
        options = options_in(key)
    except Unencodable as error:
        raise NotRecorded(f"not_encodable:{error.type_name}") from error
    binary, digest = compiled.binary_of(one), digest_of(key)
    return UsedVariant(name, variant, options, binary, digest, "starting", [], 0.0)


def _name_of(jit: Any) -> str:
    """The name under which the next start finds a kernel. Raises NotRecorded.

    That of its function; or of what its module holds, where a function has made it: a library
    writes kernels of its own at run time, and puts them into modules under other names.
    """
    module = jit.fn.__module__
    by_function = _held(module, jit.fn.__qualname__)
    if by_function is jit:
        return f"{module}:{jit.fn.__qualname__}"
    for name in grammar.names_in(module):
        if _held(module, name) is jit:
            return f"{module}:{name}"
    raise NotRecorded("not_found_by_name" if by_function is None else "another_of_its_name")


def _held(module: str, name: str) -> Any:
    """The kernel under a name; None if there is none."""
    try:
        return innermost(grammar.find(module, name))
    except Exception:  # no such name, or no kernel
        return None


def digest_of(key: str) -> str:
    """A digest of the name under which a kernel's own cache has a variant."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def options_in(key: str) -> list[tuple[str, Any]]:
    """The options that a launch gave, in its order, from the name that Triton made of them.

    Raises NotRecorded and Unencodable.
    """
    options: list[tuple[str, Any]] = []
    at = key.rfind("]{") + 2
    while at > 1 and key[at:] != "}":
        found = _OPTION.match(key, at)
        if found is None:
            raise NotRecorded("options")
        name, number, word, text = found.groups()
        value = int(number) if number else _WORDS[word] if word else text
        options.append((name, value))
        at = found.end()
    if at < 2:
        raise NotRecorded("options")
    # But what is on was asked for, by the launch or by the kernel: it is asked for again.
    while options and options[-1][0] in kernels.ADDED_OPTIONS and options[-1][1] is not True:
        options.pop()
    return [(str(name), grammar.check_option(str(name), value)) for name, value in options]


def _now(entry: Any, start: str, phase: PhaseWord, at: float) -> Any:
    return msgspec.structs.replace(entry, starts=[start], phase=phase, at=at)


@contextlib.contextmanager
def _counted(reasons: dict[str, int]) -> Any:
    """Count why something is not recorded."""
    try:
        yield
    except NotRecorded as error:
        reasons[error.reason] = reasons.get(error.reason, 0) + 1
    except Exception as error:  # what a program's object does when it is looked at
        name = f"failed:{type(error).__name__}"
        reasons[name] = reasons.get(name, 0) + 1
