"""What the demo's kernels compute, in plain PyTorch: the functions of :mod:`.kernels`, slow and
obvious. Tests compare the two, and the model runs on either."""

from __future__ import annotations

import torch


def gla_step(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, state: torch.Tensor
) -> torch.Tensor:
    """One token of the recurrence: q, k, v [H, D]; g [H]; state [H, D, D], updated in place.

    Returns the token's outputs [H, D] float32.
    """
    q, k, v = q.float(), k.float(), v.float()
    state.mul_(g.exp()[:, None, None]).add_(k[:, :, None] * v[:, None, :])
    return torch.einsum("hk,hkv->hv", q, state)


def gla_prefill(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, *, chunk: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """The recurrence over a prompt, token by token: q, k, v [T, H, D]; g [T, H].

    Returns the outputs [T, H, D] and the last state [H, D, D], both float32. `chunk` changes how
    the kernels compute this, not what, and has no effect here.
    """
    T, H, D = q.shape
    state = torch.zeros(H, D, D, dtype=torch.float32, device=q.device)
    o = torch.empty(T, H, D, dtype=torch.float32, device=q.device)
    for t in range(T):
        o[t] = gla_step(q[t], k[t], v[t], g[t], state)
    return o, state


def rms_norm(
    x: torch.Tensor, weight: torch.Tensor, *, dtype: torch.dtype, integers: bool = False
) -> torch.Tensor:
    """x [M, N] / root mean square of its row · weight [N], as [M, N] `dtype`."""
    scale = torch.rsqrt(x.square().mean(dim=1, keepdim=True) + 1e-6)
    y = x * scale * weight
    return (y.trunc() if integers else y).to(dtype)


def matmul(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a [M, K] · b [K, N], summed in float32: [M, N] float32."""
    return a.float() @ b.float()
