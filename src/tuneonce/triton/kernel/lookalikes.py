"""What a kernel specialises itself for, without the memory: the arguments of a launch, remembered.

Candidates of a key are compiled long after the launch that met it has returned. Its tensors must
not be kept alive until then, so others stand in for them: of the same type of elements, shape,
strides, address and device, and with no memory of their own.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import replace
from typing import Any

from .session import Session


class Lookalike:
    """In the place of a tensor. What it is asked beyond its address, a tensor without memory says.

    What reads elements fails, and what writes to them writes nowhere.
    """

    def __init__(self, torch: Any, tensor: Any) -> None:
        self._tensor = torch.empty_strided(
            tensor.size(), tensor.stride(), dtype=tensor.dtype, device="meta"
        )
        self._address = tensor.data_ptr()
        self.dtype, self.device = tensor.dtype, tensor.device

    def data_ptr(self) -> int:
        return int(self._address)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tensor, name)


def lookalike(value: Any) -> Any:
    """A value, or what stands in for it. Raises what a tensor raises that has no address."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return value
    if isinstance(value, torch.Tensor):
        return Lookalike(torch, value)
    if isinstance(value, tuple):
        items = [lookalike(item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else tuple(items)
    if isinstance(getattr(value, "base", None), torch.Tensor):  # a descriptor, or another type
        twin = copy.copy(value)
        twin.base = Lookalike(torch, value.base)
        return twin
    return value


def without_memory(session: Session) -> Session:
    """The same session, to be kept: it launches nothing any more, and holds none of the caller's
    tensors."""
    kwargs = {name: lookalike(value) for name, value in session.kwargs.items() if name != "grid"}
    return replace(
        session,
        args=tuple(map(lookalike, session.args)),
        nargs={name: lookalike(value) for name, value in session.nargs.items()},
        kwargs={**kwargs, "grid": (1,)},
        texts=None,
    )
