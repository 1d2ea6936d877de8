"""Kernels of a profile as they are in this process: found by name, and asked to warm themselves up.

A kernel is left out with a counted reason, one of those in `warm_up`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..events.log import EventLog
from ..model.codec import Unencodable
from ..model.profiles import UsedVariant
from ..triton.compile import variant_grammar as grammar
from ..triton.compile.variants import Variant, describe_source
from ..triton.kernel.identity import innermost
from ..triton.seams import compiled, kernels, run_hooks
from .first_launch import Unlaunched
from .recorder import digest_of
from .stand_ins import NoStandIn, annotated, arguments, takes_positions


class LeftOut(Exception):
    """Why something is not made ready; `reason` is one of a few words."""

    def __init__(self, reason: str, detail: str = "") -> None:
        self.reason = reason
        super().__init__(f"{reason}: {detail}" if detail else reason)


@dataclass
class LiveKernel:
    """One that is loaded. `names` are its parameters, of which some are `annotated`.

    `held` are digests of what it has already. `unlaunched`: what it was before it was touched,
    where the program has not launched it yet.
    """

    jit: Any
    names: list[str]
    annotated: frozenset[str]
    held: set[str]
    unlaunched: Unlaunched | None

    @property
    def may_become_another(self) -> bool:
        """Whether the binary that it finds in Triton's cache may be that of what it was before."""
        return self.unlaunched is not None and not self.unlaunched.is_told_by_its_key

    def call(self, entry: UsedVariant) -> tuple[list[Any], dict[str, Any]]:
        """What to warm it up with: arguments and options. Raises NoStandIn and ValueError."""
        values = arguments(self.names, entry.variant, self.annotated)
        options = {name: grammar.check_option(name, value) for name, value in entry.options}
        if not options.keys().isdisjoint(self.names):
            raise NoStandIn("an option is a parameter now")
        return values, options

    def variants(self) -> Iterator[Variant]:
        """What it was specialised for in this process."""
        for _, one in compiled.in_memory(self.jit):
            with contextlib.suppress(Unencodable):
                yield describe_source(compiled.source_of(one))


def look_up(name: str, events: EventLog, *, launched_only: bool) -> LiveKernel:
    """The kernel of a name. `launched_only`: if the program has launched it. Raises LeftOut."""
    module, _, qualname = name.partition(":")
    try:
        jit = innermost(grammar.find(module, qualname))
    except Exception as error:
        raise LeftOut("not_loaded") from error
    if not kernels.is_tritons_kernel(jit):
        raise LeftOut("not_loaded")
    if run_hooks.of_program(jit):
        raise LeftOut("hooked")
    if not takes_positions(jit):
        raise LeftOut("parameters")
    unlaunched = None
    if not kernels.is_digested(jit):
        if launched_only:
            raise LeftOut("may_change")
        try:
            unlaunched = Unlaunched.of(jit, events)
        except ValueError as error:
            raise LeftOut("may_change") from error
    held = {digest_of(key) for key, _ in compiled.in_memory(jit)}
    return LiveKernel(jit, list(jit.arg_names), annotated(jit), held, unlaunched)
