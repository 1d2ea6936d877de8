"""From Triton's objects to ours: candidates, tuning keys, the size of a launch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from ...model.codec import Atom, Encoded, Unencodable, encode
from ...model.key import Candidate
from .source import opaque, shape_of

# In the order of triton.Config; `pre_hook` is not here because it is code, see `candidates`.
_CONFIG_FIELDS = ("num_warps", "num_ctas", "num_stages", "maxnreg", "ir_override")
_NOTHING = Atom("nothing", "")
# No floats: of those that are equal some are told apart.
_PLAIN = frozenset({int, str, bool, type(None)})
_MOST_PLAIN = 10_000
_plain_candidates: dict[tuple[Any, ...], Candidate] = {}
# Tuples in tuples. Arbitrary: kernels take one in one.
_MAX_DEPTH = 16


def candidates(configs: Sequence[Any]) -> list[Candidate]:
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


def tuning_key(
    arg_names: Sequence[str], keys: Iterable[str], arguments: Mapping[str, Any]
) -> tuple[tuple[str, Encoded], ...]:
    """The values Triton tunes by, in parameter order. Raises `Unencodable`.

    `arguments` are those of the call by name. As in Triton: the values of the ``key=`` arguments
    that are there, and the dtype of everything that has one. What is in a tuple and a descriptor's
    tensor have one, too, which Triton leaves out: in one process the first dtype decides for all,
    but a winner that was found for 16 bits must not meet 32 bits in another, where it may not fit.
    """
    wanted = set(keys)
    parts: list[tuple[str, Encoded]] = []
    for name in arg_names:
        if name not in arguments:
            continue
        value = arguments[name]
        if name in wanted:
            # A tensor is compared by identity: no other process has it.
            if shape_of(value) and hasattr(value, "dtype"):
                raise Unencodable(value)
            parts.append((name, encode(value, opaque=opaque)))
        parts += ((f"{place}.dtype", ["str", dtype]) for place, dtype in _dtypes(name, value))
    return tuple(parts)


def _dtypes(place: str, value: Any, depth: int = 0) -> Iterator[tuple[str, str]]:
    """The dtypes of an argument, or of what a tuple holds, by place: ``x``, ``x.0``, ``x.1.0``.

    Raises `Unencodable` for a tuple that holds others too deep to be an argument of a kernel.
    """
    dtype = _dtype(value)
    if dtype is not None:
        yield place, dtype
    elif isinstance(value, tuple) and type(value).__name__ != "Size":
        if depth >= _MAX_DEPTH:
            raise Unencodable(value)
        for position, item in enumerate(value):
            yield from _dtypes(f"{place}.{position}", item, depth + 1)


def _dtype(value: Any) -> str | None:
    """The dtype of a tensor, of a scalar that has one, or of the tensor behind a descriptor."""
    if not hasattr(value, "dtype") and type(value).__name__.startswith("TensorDescriptor"):
        value = getattr(value, "base", None)
    return str(value.dtype) if hasattr(value, "dtype") else None


def programs(
    autotuner: Any, nargs: Mapping[str, Any], kwargs: Mapping[str, Any], config: Any = None
) -> int | None:
    """The number of programs of this launch with `config`; None if unknown.

    `config` is the kernel's first candidate if it is None. The grid is evaluated as Triton would:
    over the call's arguments, the parameters' defaults, the candidate's values and what
    ``@heuristics`` below the autotuner computes; its first three sizes count. Raises nothing.
    """
    grid = kwargs.get("grid")
    try:
        if callable(grid):
            first = autotuner.configs[0] if config is None else config
            meta = {**nargs, **kwargs, **first.all_kwargs()}
            grid = grid(_complete(autotuner.fn, meta))
        sizes = tuple(grid) if isinstance(grid, (tuple, list)) else (grid,)
        return math.prod(max(0, int(size)) for size in sizes[:3])
    except Exception:
        return None


def _complete(fn: Any, meta: dict[str, Any]) -> dict[str, Any]:
    signature = None
    while fn is not None:
        values = getattr(fn, "values", None)
        if isinstance(values, dict):
            for name, heuristic in values.items():
                meta[name] = heuristic(meta)
        signature = getattr(fn, "signature", signature)
        fn = getattr(fn, "fn", None)
    if signature is not None:
        for parameter in signature.parameters.values():
            if parameter.default is not parameter.empty:
                meta.setdefault(parameter.name, parameter.default)
    return meta
