"""Whether this process is one of several that work together."""

from __future__ import annotations

import os
import sys

# How launchers tell a process how many there are.
_SIZES = (
    "WORLD_SIZE",
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MV2_COMM_WORLD_SIZE",
    "SLURM_NTASKS",
)


def is_one_of_several() -> bool:
    """Whether other processes may wait for this one: other ranks, or its parent's other children.

    Imports nothing and raises nothing. True in case of doubt: a child of `multiprocessing` may be
    the only one.
    """
    return is_a_rank() or _is_child()


def is_a_rank() -> bool:
    """Whether it was started as one of several ranks, or has joined a group of them.

    Imports nothing and raises nothing.
    """
    return _ranks() > 1 or any(_number(os.environ.get(name)) > 1 for name in _SIZES)


def _ranks() -> int:
    distributed = sys.modules.get("torch.distributed")
    try:
        if distributed is not None and distributed.is_initialized():
            return int(distributed.get_world_size())
    except Exception:  # a torch without it, or one that was just taken down
        pass
    return 1


def _number(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdecimal() else 1


def _is_child() -> bool:
    process = sys.modules.get("multiprocessing.process")
    return process is not None and process.parent_process() is not None
