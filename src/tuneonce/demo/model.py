"""A language model with fixed random weights, whose greedy answers never depend on the tuning.

Two candidates of a kernel add numbers up in different orders, so in general they differ in the
last bit, and sooner or later a different token wins. Here that must not happen: the text has to be
the same on every start, whichever candidates were chosen. So the model is built like a quantised
one, such that every exact result is a whole number and the noise of summation can be removed
instead of merely being small:

* weights are -1, 0 or 1 and activations small whole numbers (as in BitNet), which bfloat16 holds
  exactly, and every sum stays below 2**24, within which float32 adds whole numbers exactly in any
  order;
* gates are saturated: a head keeps its state (g = 0) or drops it (g ≤ -32, a factor below 2e-14).
  What is left of dropped state is the only fraction in an attention output, far below one half,
  and rounding the output removes it;
* everything else (scaling by the root mean square, cutting to whole numbers) is done element by
  element from exact inputs.

The kernels know nothing of this; they compute any gated linear attention. Broken ones still give
another text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from statistics import NormalDist
from typing import Any, Protocol

import torch

from .presets import ModelConfig
from .tokenizer import EOS

# Root mean square of the three kinds of activations that enter a matrix product. They only scale
# what is cut to whole numbers afterwards, so two digits are enough.
_NORMED, _RECTIFIED = 2.1, 1.0
_TERNARY = math.sqrt(2 / 3)


class Operators(Protocol):
    """What a model is made of: :mod:`tuneonce.demo.kernels` or :mod:`tuneonce.demo.reference`."""

    def gla_prefill(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, g: torch.Tensor, *, chunk: int
    ) -> tuple[torch.Tensor, torch.Tensor]: ...

    def gla_step(
        self,
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        g: torch.Tensor,
        state: torch.Tensor,
    ) -> torch.Tensor: ...

    def rms_norm(
        self, x: torch.Tensor, weight: torch.Tensor, *, dtype: torch.dtype, integers: bool
    ) -> torch.Tensor: ...

    def matmul(self, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor: ...


class Weights:
    """Draws the weights of a model, always the same ones for a seed, on any machine."""

    def __init__(self, config: ModelConfig) -> None:
        self._generator = torch.Generator().manual_seed(config.seed)
        self._device = config.device

    def ternary(self, *shape: int, dtype: torch.dtype) -> torch.Tensor:
        """-1, 0 and 1, each with probability a third."""
        drawn = torch.randint(-1, 2, shape, dtype=torch.int8, generator=self._generator)
        return drawn.to(self._device).to(dtype)

    def scales(self, n: int) -> torch.Tensor:
        """[n] float32 between 2 and 3: activations are cut to about -8 … 8."""
        return (2 + torch.rand(n, generator=self._generator)).to(self._device)

    def embedding(self, rows: int, columns: int) -> torch.Tensor:
        """[rows, columns] float32, whole numbers from -3 to 3."""
        drawn = torch.randint(-3, 4, (rows, columns), dtype=torch.int8, generator=self._generator)
        return drawn.to(self._device).float()


class Layer:
    """Norm, projections, gated linear attention, projection; norm, MLP. Both with a residual."""

    def __init__(self, config: ModelConfig, weights: Weights, operators: Operators) -> None:
        self._config = config
        self._operators = operators
        self._dtype = getattr(torch, config.dtype)
        hidden, heads = config.hidden, config.heads
        self._norm_in = weights.scales(hidden)
        self._project_in = weights.ternary(hidden, 3 * hidden + heads, dtype=self._dtype)
        self._norm_out = weights.scales(hidden)
        self._project_out = weights.ternary(hidden, hidden, dtype=self._dtype)
        self._norm_mlp = weights.scales(hidden)
        self._up = weights.ternary(hidden, config.mlp, dtype=self._dtype)
        self._down = weights.ternary(config.mlp, hidden, dtype=self._dtype)
        # Heads forget after 8, 32, 128, ... tokens on average. The half keeps a gate's argument
        # off zero: products are whole numbers.
        spread = _spread(hidden, _NORMED)
        bias = [
            math.floor(-spread * NormalDist().inv_cdf(1 / (8 * 4 ** (head % 4)))) + 0.5
            for head in range(heads)
        ]
        self._gate_bias = torch.tensor(bias, device=config.device)

    def prefill(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """x [T, hidden] → x of the next layer and the state after the last token [H, D, D]."""
        q, k, v, g = self._attention_inputs(x)
        o, state = self._operators.gla_prefill(q, k, v, g, chunk=self._config.chunk)
        return self._finish(x, o), state

    def step(self, x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        """x [1, hidden] → x of the next layer. Updates `state` [H, D, D] in place."""
        q, k, v, g = self._attention_inputs(x)
        o = self._operators.gla_step(q[0], k[0], v[0], g[0], state)
        return self._finish(x, o)

    def _attention_inputs(
        self, x: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """q, k [T, H, D] of -1 … 1, v of -3 … 3, and the log gates [T, H] float32."""
        config, hidden = self._config, self._config.hidden
        y = self._operators.matmul(self._norm(x, self._norm_in), self._project_in)
        spread = _spread(hidden, _NORMED)
        shape = (x.shape[0], config.heads, config.head_dim)
        q, k, v = (
            _whole(y[:, part * hidden : (part + 1) * hidden], spread, limit=limit)
            .reshape(shape)
            .to(self._dtype)
            for part, limit in enumerate((1, 1, 3))
        )
        # At least 32 away from zero, where the sigmoid is 0 or 1 but for 2e-14; rounding makes
        # "keep" an exact zero.
        gates = torch.nn.functional.logsigmoid(64 * (y[:, 3 * hidden :] + self._gate_bias))
        return q, k, v, gates.round()

    def _finish(self, x: torch.Tensor, o: torch.Tensor) -> torch.Tensor:
        """Output projection and MLP. x [T, hidden]; o: the attention's output, T · hidden."""
        multiply = self._operators.matmul
        # Within ±64 the sum of squares of a row stays below 2**24.
        o = o.round().clamp(-64, 64).reshape(x.shape)
        hidden, mlp = self._config.hidden, self._config.mlp
        y = multiply(self._norm(o, self._norm_out), self._project_out)
        x = x + _whole(y, _spread(hidden, _NORMED), limit=7)
        y = multiply(self._norm(x, self._norm_mlp), self._up)
        y = _whole(y.relu(), _spread(hidden, _NORMED), limit=7).to(self._dtype)
        return x + _whole(multiply(y, self._down), _spread(mlp, _RECTIFIED), limit=7)

    def _norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return self._operators.rms_norm(x, weight, dtype=self._dtype, integers=True)


class Model:
    """Embedding, layers, norm, vocabulary projection.

    `operators` compute the layers. Weights take a few seconds to draw for the large preset.
    """

    def __init__(self, config: ModelConfig, operators: Operators | Any) -> None:
        self.config = config
        self._operators = operators
        self._dtype = getattr(torch, config.dtype)
        weights = Weights(config)
        self._embedding = weights.embedding(config.vocab_size, config.hidden)
        self._layers = [Layer(config, weights, operators) for _ in range(config.layers)]
        self._norm = weights.scales(config.hidden)
        # Left to torch, as servers leave it to a library: one row times a large matrix.
        self._head = weights.ternary(config.hidden, config.vocab_size, dtype=torch.float32)
        self._tie_break = torch.arange(config.vocab_size, 0, -1, device=config.device)

    @torch.inference_mode()
    def prefill(self, tokens: Sequence[int]) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Reads a prompt of T ≥ 1 tokens, each below `vocab_size`.

        Returns the logits of the next token [vocab_size] float32, whole numbers, and one state
        [H, D, D] float32 per layer.
        """
        x = self._embedding[torch.tensor(tokens, device=self.config.device)]
        states = []
        for layer in self._layers:
            x, state = layer.prefill(x)
            states.append(state)
        return self._logits(x[-1:].contiguous()), states

    @torch.inference_mode()
    def step(self, token: int, states: list[torch.Tensor]) -> torch.Tensor:
        """Reads one token more, updates `states` in place, returns the next token's logits."""
        x = self._embedding[token : token + 1]
        for layer, state in zip(self._layers, states, strict=True):
            x = layer.step(x, state)
        return self._logits(x)

    def generate(
        self,
        tokens: Sequence[int],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        ignore_eos: bool = False,
    ) -> Iterator[int]:
        """Yields up to `max_tokens` tokens; the end-of-text token is the last unless ignored."""
        generator = torch.Generator().manual_seed(seed)
        logits, states = self.prefill(tokens)
        for produced in range(1, max_tokens + 1):
            token = self._choose(logits, temperature, generator)
            yield token
            if produced == max_tokens or (token == EOS and not ignore_eos):
                return
            logits = self.step(token, states)

    def _logits(self, x: torch.Tensor) -> torch.Tensor:
        """x [1, hidden] → [vocab_size] float32, whole numbers."""
        normed = self._operators.rms_norm(x, self._norm, dtype=self._dtype, integers=True)
        return (normed.float() @ self._head)[0]

    def _choose(self, logits: torch.Tensor, temperature: float, generator: torch.Generator) -> int:
        if temperature == 0:
            # Whole numbers tie easily; the lowest token wins then.
            return int((logits.long() * len(logits) + self._tie_break).argmax())
        scaled = logits.double().cpu() / (_spread(self.config.hidden, _NORMED) * temperature)
        return int(torch.multinomial(torch.softmax(scaled, 0), 1, generator=generator))


def _spread(width: int, rms: float) -> float:
    """Standard deviation of a sum of `width` activations of that `rms` times random weights."""
    return math.sqrt(width) * _TERNARY * rms


def _whole(y: torch.Tensor, spread: float, *, limit: int) -> torch.Tensor:
    """Cut to whole numbers such that two thirds of a standard deviation make one step."""
    return (y * (1.5 / spread)).trunc().clamp(-limit, limit)
