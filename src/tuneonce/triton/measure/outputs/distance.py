"""How far two outputs of floating-point numbers are apart.

The norm of the difference over the norm of the reference, for the whole and for the worst of its
blocks. A wrong tile is lost in the whole of a large output, so blocks decide. A block is measured
by its own norm or by the usual one of the blocks, whichever is more: one that is nearly zero among
others that are not says little.

All in double precision. What is infinite counts as the largest number of its type, since where a
type ends rounding decides; what is not a number must be so in both, else they are infinitely far
apart.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from typing import Any

BLOCK = 128
"""So many neighbours are compared together: no more than a small tile has, and enough for single
roundings to even out. Arbitrary within a factor of four."""

# Elements at a time: eight such arrays of double precision are made of them.
_CHUNK = BLOCK << 13
# Beyond this squares have no number.
_MOST = 1e150


@dataclass(frozen=True)
class Distance:
    """Both relative to the reference; infinite where only one of the two has a number."""

    whole: float
    block: float


NONE = Distance(0.0, 0.0)


def farther(one: Distance, other: Distance) -> Distance:
    return Distance(max(one.whole, other.whole), max(one.block, other.block))


def is_comparable(dtype: Any) -> bool:
    """Whether rounding may move elements of this type, so that their distance says something."""
    return bool(dtype.is_floating_point) or bool(dtype.is_complex)


def distance(reference: Any, other: Any, *, floor: float = 0.0) -> Distance:
    """The distance between two flat tensors of one comparable type.

    No block is measured by less than `floor`, a root of a mean of squares.
    """
    torch: Any = sys.modules["torch"]
    norms, differences, counts = [], [], []
    for begin in range(0, reference.numel(), _CHUNK):
        a, odd = _numbers(torch, reference[begin : begin + _CHUNK])
        b, other_odd = _numbers(torch, other[begin : begin + _CHUNK])
        if bool((odd != other_odd).any()):
            return Distance(math.inf, math.inf)
        norms.append(_blocks(torch, a))
        differences.append(_blocks(torch, a.sub_(b)))
        counts.append(a.numel())
    if not norms:
        return NONE
    norm, difference = torch.cat(norms), torch.cat(differences)
    return Distance(
        _ratio(math.sqrt(float(difference.sum())), math.sqrt(float(norm.sum()))),
        _worst(torch, norm, difference, sum(counts), floor),
    )


def scale_of(values: Any) -> float:
    """How large the elements of a tensor usually are: the median of its blocks, without zeros."""
    torch: Any = sys.modules["torch"]
    parts = [
        _blocks(torch, _numbers(torch, values[begin : begin + _CHUNK])[0])
        for begin in range(0, values.numel(), _CHUNK)
    ]
    return _usual(_roots(torch, torch.cat(parts), _elements(values))) if parts else 0.0


def _worst(torch: Any, norm: Any, difference: Any, count: int, floor: float) -> float:
    own, apart = _roots(torch, norm, count), _roots(torch, difference, count)
    least = max(_usual(own), floor)
    ratios = apart / own.clamp_(min=least)
    # Nothing where there was nothing: no difference to a zero is none, and any other is all.
    ratios = torch.where(apart == 0, torch.zeros_like(apart), ratios)
    return float(ratios.max())


def _usual(roots: Any) -> float:
    some = roots[roots > 0]
    return float(some.median()) if some.numel() else 0.0


def _roots(torch: Any, squares: Any, count: int) -> Any:
    """Roots of means, of which the last block may be of fewer elements."""
    means = squares / BLOCK
    rest = count % BLOCK
    if rest:
        means[-1] *= BLOCK / rest
    return means.sqrt_()


def _blocks(torch: Any, numbers: Any) -> Any:
    """The sum of the squares of each block."""
    missing = -numbers.numel() % BLOCK
    if missing:
        numbers = torch.nn.functional.pad(numbers, (0, missing))
    return (numbers * numbers).view(-1, BLOCK).sum(dim=1)


def _numbers(torch: Any, values: Any) -> tuple[Any, Any]:
    """In double precision, and which were no numbers; those are zero."""
    if values.dtype.is_complex:
        values = torch.view_as_real(values).flatten()
    most = min(torch.finfo(values.dtype).max, _MOST)
    found = values.to(torch.float64)
    odd = found.isnan()
    return found.nan_to_num_(nan=0.0, posinf=most, neginf=-most).clamp_(-_MOST, _MOST), odd


def _elements(values: Any) -> int:
    return int(values.numel()) * (2 if values.dtype.is_complex else 1)


def _ratio(part: float, whole: float) -> float:
    return 0.0 if part == 0 else math.inf if whole == 0 else part / whole
