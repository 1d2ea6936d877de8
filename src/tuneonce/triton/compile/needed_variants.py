"""What a key will need to be compiled, by the record that another start has left of it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from ...model.key import Candidate, KernelId, Key
from ...model.records import Variants
from ...model.world import World
from ...resolution.resolver import Question, Resolver
from ...tuning.expectations import Expectations
from ...tuning.race import RULES
from ..kernel.candidates import candidates_of
from ..kernel.identity import innermost, kernel_id, reads
from ..seams import autotuners, digests, sources
from .code_texts import CodeTexts
from .variant_grammar import find
from .variants import join, rebuild

logger = logging.getLogger("tuneonce")


@dataclass(frozen=True)
class NeededVariant:
    """One to compile: Triton's source of it, and its options.

    `texts` are those of its key. `seconds` is what compiling it has taken elsewhere, infinite if
    that is unknown.
    """

    source: Any
    options: dict[str, Any]
    texts: CodeTexts
    seconds: float


@dataclass(frozen=True)
class Recorded(Candidate):
    """A candidate of which a record holds no more than the digest."""

    digest: str = ""


@dataclass(frozen=True)
class _Kernel:
    """One that is loaded: what all its records have in common. `jit` is a copy of the kernel.

    `configs` are the live candidates by digest.
    """

    jit: Any
    id: KernelId
    candidates: list[Candidate]
    configs: dict[str, Any]
    invents_candidates: bool  # its pruning function may return some that are not in its list


class NeededVariants:
    """Reads records in one world, of kernels that can be compiled before they are launched.

    Until its first launch a program may change what a kernel reads. Globals that Triton's digest
    covers (constexprs that it reads itself) change the key of its binary, and are no obstacle; for
    others (a dtype, what is read through a module) Triton would launch what was compiled before,
    under the key that the program comes to use; and functions that it calls keep their digests, and
    with them the globals that they were made with.
    """

    def __init__(self, resolver: Resolver, world: World) -> None:
        self._resolver, self._world = resolver, world
        self._kernels: dict[str, _Kernel | None] = {}  # None: may still change
        self._seen: set[tuple[str, str, tuple[str, ...]]] = set()

    def of(self, record: Variants) -> Iterator[NeededVariant]:
        """The winner if it is known, else what a race will ask for first; each key once."""
        try:
            kernel = self._kernel(record.kernel)
            if kernel is None:
                return
            question = self._question(record, kernel)
            digests = question.digests
            key = question.key.digest, question.work_class, tuple(digests)
            if key in self._seen:
                return
            wanted = self._wanted(question)
            texts = CodeTexts()
            for digest, seconds in wanted:
                if (rest := record.each.get(digest)) is not None:
                    variant = join(kernel.jit, record.common, rest)
                    source, options = rebuild(kernel.jit, variant, kernel.configs.get(digest))
                    functions = [
                        v for v in sources.sides(source).constants.values() if hasattr(v, "fn")
                    ]
                    if not any(map(_reads_globals, functions)):
                        yield NeededVariant(source, options, texts, seconds)
            if record.each.keys() >= dict(wanted).keys():
                self._seen.add(key)
        except Exception:  # another kernel of that name, a value that is gone
            logger.debug("tuneonce: %s is not compiled ahead", record.kernel, exc_info=True)

    def _wanted(self, question: Question) -> list[tuple[str, float]]:
        """Digests of candidates, and what it takes to compile them."""
        winner = self._resolver.resolve(question).winner
        if winner is not None:
            return [(winner, math.inf)]
        prior = self._resolver.expected(question)
        expectations = Expectations(
            range(len(question.digests)),
            known={},
            prior=prior.times,
            compile_s=prior.compile_s,
            trust=RULES.trust,
            seed=question.seed,
        )
        return [
            (question.digests[position], prior.compile_s.get(position, math.inf))
            for position in expectations.first()
        ]

    def _kernel(self, name: str) -> _Kernel | None:
        """None if it reads globals that may still change. Raises ValueError if it is not loaded."""
        if name not in self._kernels:
            module, _, qualname = name.partition(":")
            autotuner = _autotuner(find(module, qualname))
            jit = innermost(autotuner)
            read = reads(jit)
            if read.others or not all(digests.covers(c, jit) for c in read.constants.values()):
                self._kernels[name] = None
            else:
                configs = list(autotuner.configs)
                candidates = candidates_of(configs)
                self._kernels[name] = _Kernel(
                    digests.double_to_digest(jit),
                    kernel_id(autotuner.fn),
                    candidates,
                    {c.digest: config for c, config in zip(candidates, configs, strict=True)},
                    autotuners.makes_up_candidates(autotuner),
                )
        return self._kernels[name]

    def _question(self, record: Variants, kernel: _Kernel) -> Question:
        """The record's key in this world and with this source, and its live candidates."""
        tuning = tuple(
            (name.removeprefix("key."), json.loads(text))
            for name, text in record.key
            if name.startswith("key.")
        )
        recorded = set(record.candidates)
        live = [c for c in kernel.candidates if c.digest in recorded]
        if kernel.invents_candidates:  # those of the last start are the best guess
            found = {candidate.digest for candidate in live}
            live += [Recorded((), digest) for digest in record.candidates if digest not in found]
        key = Key(kernel.id, tuning, self._world.parts, self._world.name)
        return Question(key, record.work_class, None, live)


def longest_first(found: list[NeededVariant]) -> list[NeededVariant]:
    """In the order in which they are best compiled: the last to come is waited for."""
    return sorted(found, key=attrgetter("seconds"), reverse=True)


def _reads_globals(function: Any) -> bool:
    read = reads(function)
    return read.others or bool(read.constants)


def _autotuner(found: Any) -> Any:
    """The autotuner under any decorators. Raises ValueError."""
    for _ in range(32):
        if autotuners.is_autotuner(found):
            return found
        found = getattr(found, "fn", None)
    raise ValueError("no autotuner")
