"""What is launched: a kernel, its arguments and its candidates, at a small and at a large size.

The small size is for Triton's interpreter. No size is a multiple of a block, so that there is a
boundary to get wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from . import elementwise, products, rows

SMALL, LARGE = "small", "large"
Size = Mapping[str, int]
Blocks = Mapping[str, int]


class Memory:
    """Tensors of one device and one type, with room before and after each that holds numbers, too.

    So what is read beyond an end is there, and is something else.
    """

    def __init__(self, device: str, dtype: torch.dtype, seed: int = 0) -> None:
        self._device, self._dtype = device, dtype
        self._random = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, mean: float = 0.0, dtype: torch.dtype | None = None) -> Any:
        room = self._room(shape)
        numbers = torch.randn(math.prod(shape) + 2 * room, generator=self._random) + mean
        return self._within(numbers.to(dtype or self._dtype), shape, room)

    def integers(self, *shape: int) -> Any:
        room = self._room(shape)
        size = (math.prod(shape) + 2 * room,)
        numbers = torch.randint(-100, 100, size, generator=self._random, dtype=torch.int8)
        return self._within(numbers, shape, room)

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Any:
        room = self._room(shape)
        numbers = torch.zeros(math.prod(shape) + 2 * room, dtype=dtype or self._dtype)
        return self._within(numbers, shape, room)

    @staticmethod
    def _room(shape: Sequence[int]) -> int:
        return max(4096, 160 * shape[-1]) if len(shape) > 1 else 4096

    def _within(self, numbers: Any, shape: Sequence[int], room: int) -> Any:
        held = numbers.to(self._device)
        return held[room : room + math.prod(shape)].view(shape)


Arguments = Callable[[Memory, Size], dict[str, Any]]
Grid = Callable[[Size, Mapping[str, Any]], tuple[int, ...]]


@dataclass(frozen=True)
class Subject:
    """A kernel that is tuned.

    `sizes` and `blocks` are by SMALL and LARGE; the first of `blocks` is the author's. `steady`:
    its honest candidates equal themselves, on any device. `zeroed` are arguments that a candidate
    adds to.
    """

    name: str
    kernel: Any
    faults: tuple[str, ...]
    dtypes: tuple[str, ...]
    sizes: Mapping[str, Size]
    blocks: Mapping[str, Sequence[Blocks]]
    arguments: Arguments
    grid: Grid
    steady: bool = True
    zeroed: tuple[str, ...] = ()


def _cdiv(one: int, other: int) -> int:
    return -(-one // other)


def _blocks(*names: str) -> Callable[..., list[Blocks]]:
    return lambda *sizes: [dict(zip(names, size, strict=True)) for size in sizes]


def _tiles(size: Size, meta: Mapping[str, Any]) -> tuple[int, ...]:
    return _cdiv(size["M"], meta["BM"]), _cdiv(size["N"], meta["BN"])


_block, _tiled, _tile = _blocks("BLOCK"), _blocks("BM", "BN", "BK"), _blocks("BM", "BN")
_ROWS = {SMALL: {"rows": 3, "columns": 136}, LARGE: {"rows": 500, "columns": 4104}}
_ROW_BLOCKS = {
    SMALL: _block((64,), (32,), (16,), (128,)),
    LARGE: _block((1024,), (256,), (512,), (2048,), (128,)),
}
_DENSE = {SMALL: {"M": 40, "N": 104, "K": 104}, LARGE: {"M": 1000, "N": 1400, "K": 2056}}
_DENSE_BLOCKS = {
    SMALL: _tiled((16, 32, 32), (32, 16, 16), (16, 16, 32), (32, 32, 16)),
    LARGE: _tiled((64, 64, 32), (128, 64, 64), (64, 128, 32), (32, 64, 64), (128, 128, 64)),
}
FLOATS = ("float32", "float16", "bfloat16")

SUBJECTS = (
    Subject(
        "axpy",
        elementwise.axpy,
        ("shift", "tile", "stride", "swap", "tail", "hole", "lost"),
        FLOATS,
        {SMALL: {"n": 1900}, LARGE: {"n": 3_000_100}},
        {
            SMALL: _block((256,), (128,), (512,), (1024,)),
            LARGE: _block((1024,), (256,), (512,), (2048,), (4096,)),
        },
        lambda memory, size: {
            "x": memory.normal(size["n"]),
            "y": memory.normal(size["n"]),
            "out": memory.normal(size["n"]),
            "n": size["n"],
        },
        lambda size, meta: (_cdiv(size["n"], meta["BLOCK"]),),
    ),
    Subject(
        "scale_in_place",
        elementwise.scale_in_place,
        ("shift", "stride", "swap", "tail", "twice", "init"),
        FLOATS,
        {SMALL: {"n": 1900}, LARGE: {"n": 3_000_100}},
        {
            SMALL: _block((256,), (128,), (512,), (1024,)),
            LARGE: _block((1024,), (256,), (512,), (2048,), (4096,)),
        },
        lambda memory, size: {
            "x": memory.normal(size["n"]),
            "y": memory.normal(size["n"]),
            "n": size["n"],
        },
        lambda size, meta: (_cdiv(size["n"], meta["BLOCK"]),),
    ),
    Subject(
        "transpose",
        elementwise.transpose,
        ("tail", "edge", "hole", "shift", "stride", "tile", "mirror"),
        FLOATS,
        {SMALL: {"M": 40, "N": 56}, LARGE: {"M": 2000, "N": 3016}},
        {
            SMALL: _tile((16, 32), (32, 16), (16, 16), (32, 32)),
            LARGE: _tile((64, 64), (32, 64), (64, 32), (128, 64), (32, 128)),
        },
        lambda memory, size: {
            "x": memory.normal(size["M"], size["N"]),
            "out": memory.normal(size["N"], size["M"]),
            **size,
        },
        _tiles,
    ),
    Subject(
        "row_sum",
        rows.row_sum,
        (
            *("first", "last", "stride", "init", "shift", "mask", "restart", "stale"),
            *("accumulator", "lost", "twice", "tail"),
        ),
        FLOATS,
        {SMALL: {"rows": 38, "columns": 136}, LARGE: {"rows": 1000, "columns": 4104}},
        {
            SMALL: _blocks("TILE", "BLOCK")((16, 32), (8, 64), (16, 16), (32, 64)),
            LARGE: _blocks("TILE", "BLOCK")((16, 256), (32, 128), (16, 512), (64, 64)),
        },
        lambda memory, size: {
            "x": memory.normal(size["rows"], size["columns"]),
            "out": memory.normal(size["rows"], mean=50.0, dtype=torch.float32),
            **size,
        },
        lambda size, meta: (_cdiv(size["rows"], meta["TILE"]),),
    ),
    Subject(
        "softmax",
        rows.softmax,
        ("swap", "stride", "last", "mask", "rescale", "restart", "lost", "tail", "shift"),
        FLOATS,
        _ROWS,
        _ROW_BLOCKS,
        lambda memory, size: {
            "x": memory.normal(size["rows"], size["columns"]),
            "out": memory.normal(size["rows"], size["columns"]),
            "columns": size["columns"],
        },
        lambda size, meta: (size["rows"],),
    ),
    Subject(
        "layer_norm",
        rows.layer_norm,
        (
            *("stride", "last", "count", "uncentred", "mask", "restart", "lost", "tail"),
            *("shift", "stale"),
        ),
        FLOATS,
        _ROWS,
        _ROW_BLOCKS,
        lambda memory, size: {
            "x": memory.normal(size["rows"], size["columns"], mean=2.0),
            "weight": memory.normal(size["columns"]),
            "bias": memory.normal(size["columns"]),
            "out": memory.normal(size["rows"], size["columns"]),
            "columns": size["columns"],
        },
        lambda size, meta: (size["rows"],),
    ),
    Subject(
        "scan",
        rows.scan,
        ("stride", "init", "last", "shift", "exclusive", "late", "restart", "lost"),
        FLOATS,
        _ROWS,
        _ROW_BLOCKS,
        lambda memory, size: {
            "x": memory.normal(size["rows"], size["columns"]),
            "out": memory.normal(size["rows"], size["columns"], mean=9.0),
            "columns": size["columns"],
        },
        lambda size, meta: (size["rows"],),
    ),
    Subject(
        "convolution",
        rows.convolution,
        ("swap", "shift", "mask", "tile", "stride", "lost", "tail"),
        FLOATS,
        {SMALL: {"T": 40, "D": 56, "WIDTH": 4}, LARGE: {"T": 2001, "D": 1016, "WIDTH": 4}},
        {
            SMALL: _blocks("BT", "BD")((16, 32), (32, 16), (16, 64), (32, 64)),
            LARGE: _blocks("BT", "BD")((64, 64), (16, 128), (32, 64), (128, 32)),
        },
        lambda memory, size: {
            "x": memory.normal(size["T"], size["D"]),
            "weight": memory.normal(size["WIDTH"], size["D"]),
            "out": memory.normal(size["T"], size["D"]),
            **size,
        },
        lambda size, meta: (_cdiv(size["T"], meta["BT"]), _cdiv(size["D"], meta["BD"])),
    ),
    Subject(
        "matmul",
        products.matmul,
        (
            *("swap", "first", "last", "stride", "mask", "shift", "stale", "restart", "lost"),
            *("twice", "accumulator", "tail", "edge"),
        ),
        FLOATS,
        _DENSE,
        _DENSE_BLOCKS,
        lambda memory, size: {
            "a": memory.normal(size["M"], size["K"]),
            "b": memory.normal(size["K"], size["N"]),
            "c": memory.normal(size["M"], size["N"]),
            **size,
        },
        _tiles,
    ),
    Subject(
        "split_k",
        products.split_k,
        ("more", "last", "mask", "twice", "lost", "race", "store"),
        FLOATS,
        _DENSE,
        {
            SMALL: _blocks("BM", "BN", "BK", "SPLITS")(
                (32, 32, 16, 2), (16, 32, 16, 2), (32, 16, 16, 4), (32, 32, 16, 3)
            ),
            LARGE: _blocks("BM", "BN", "BK", "SPLITS")(
                (64, 64, 64, 4), (64, 128, 32, 4), (128, 64, 32, 8), (64, 64, 32, 16)
            ),
        },
        lambda memory, size: {
            "a": memory.normal(size["M"], size["K"]),
            "b": memory.normal(size["K"], size["N"]),
            "c": memory.zeros(size["M"], size["N"], dtype=torch.float32),
            **size,
        },
        lambda size, meta: (*_tiles(size, meta), meta["SPLITS"]),
        steady=False,
        zeroed=("c",),
    ),
    Subject(
        "integer_product",
        products.integer_product,
        (
            *("swap", "first", "last", "mask", "shift", "stale", "restart", "accumulator"),
            *("scale", "tail"),
        ),
        FLOATS,
        _DENSE,
        {
            SMALL: _tiled((16, 32, 32), (32, 16, 32), (16, 16, 32), (32, 32, 32)),
            LARGE: _DENSE_BLOCKS[LARGE],
        },
        lambda memory, size: {
            "a": memory.integers(size["M"], size["K"]),
            "b": memory.integers(size["K"], size["N"]),
            "scale": memory.normal(size["N"], dtype=torch.float32),
            "c": memory.normal(size["M"], size["N"]),
            **size,
        },
        _tiles,
    ),
    Subject(
        "attention",
        products.attention,
        (
            *("swap", "last", "shift", "scale", "more", "mask", "denominator", "rescale"),
            *("stale", "restart", "tail"),
        ),
        FLOATS,
        {SMALL: {"T": 72, "D": 32}, LARGE: {"T": 2008, "D": 64}},
        {
            SMALL: _tile((32, 16), (16, 32), (16, 16), (32, 32)),
            LARGE: _tile((64, 64), (128, 64), (64, 32), (32, 64), (64, 128)),
        },
        lambda memory, size: {
            **{name: memory.normal(size["T"], size["D"]) for name in ("q", "k", "v", "out")},
            **size,
        },
        lambda size, meta: (_cdiv(size["T"], meta["BM"]),),
    ),
)
