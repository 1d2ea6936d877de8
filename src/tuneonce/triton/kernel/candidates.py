"""From a list of Triton's configurations to candidates, as keys and records name them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...model.codec import Atom, Encoded, encode
from ...model.key import Candidate
from .identity import opaque

# In the order of triton.Config; `pre_hook` is not here because it is code, see `candidates`.
_CONFIG_FIELDS = ("num_warps", "num_ctas", "num_stages", "maxnreg", "ir_override")
_NOTHING = Atom("nothing", "")
# No floats: of those that are equal some are told apart.
_PLAIN = frozenset({int, str, bool, type(None)})
_MOST_PLAIN = 10_000
_plain_candidates: dict[tuple[Any, ...], Candidate] = {}


def candidates_of(configs: Sequence[Any]) -> list[Candidate]:
    """The live configurations as candidates. Raises `Unencodable`.

    All that is passed to the kernel counts, also what a subclass adds, leaves out or changes. A
    ``pre_hook`` counts by its qualified name. Configurations that agree in all of this are told
    apart by their position among themselves.
    """
    found: list[Candidate] = []
    times: dict[str, int] = {}
    for config in configs:
        candidate = _candidate(config)
        repeat = times.get(candidate.digest, 0)
        times[candidate.digest] = repeat + 1
        if repeat:
            candidate = Candidate((*candidate.config, ("repeat", ["int", str(repeat)])))
        found.append(candidate)
    return found


def _candidate(config: Any) -> Candidate:
    """One, whatever stands beside it."""
    values = sorted(config.kwargs.items())
    fields = [(name, getattr(config, name, None)) for name in _CONFIG_FIELDS]
    beyond = _beyond(config, dict(fields))
    hook = getattr(config, "pre_hook", None)
    named = None if hook is None else getattr(hook, "__qualname__", type(hook).__name__)
    everything = (*values, *fields, *beyond, named)
    # A list has thousands of keys, and most lists hold nothing but plain numbers.
    plain = all(type(part[1]) in _PLAIN for part in everything[:-1]) and type(named) in _PLAIN
    known = (len(values), *((n, type(v), v) for n, v in everything[:-1]), named) if plain else None
    if known is not None and (candidate := _plain_candidates.get(known)) is not None:
        return candidate
    parts: list[tuple[str, Encoded]] = [
        (name, encode(value, opaque=opaque)) for name, value in (*values, *fields, *beyond)
    ]
    if hook is not None:
        parts.append(("pre_hook", ["str", named]))
    candidate = Candidate(tuple(parts))
    if known is not None:
        if len(_plain_candidates) >= _MOST_PLAIN:
            _plain_candidates.clear()
        _plain_candidates[known] = candidate
    return candidate


def _beyond(config: Any, fields: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What this object passes to the kernel where Triton's own would not, or not so."""
    usual = {**config.kwargs, **{name: v for name, v in fields.items() if v is not None}}
    passed = config.all_kwargs() if hasattr(config, "all_kwargs") else usual
    parts = [
        (f"passed.{name}", value)
        for name, value in sorted(passed.items())
        if name not in usual or usual[name] is not value
    ]
    return parts + [(f"passed.{name}", _NOTHING) for name in sorted(usual.keys() - passed)]


def work_per_warp(config: Any) -> float:
    """The size of a configuration's tile, in elements a warp: what compiling takes goes with it.

    Its numbers that are not sizes do no harm: this only says what to begin with.
    """
    values = config.kwargs.values()
    sizes = (value for value in values if type(value) is int and value > 1)
    return math.prod(sizes) / max(1, config.num_warps or 1)
