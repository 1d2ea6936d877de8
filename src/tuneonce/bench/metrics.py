"""Figures from the samples of a load, defined as in vLLM's ``vllm bench serve``.

TTFT is the time from sending a request to its first streamed choice, even one with empty text.
TPOT is the rest of a request's time over its further tokens, for requests with more than one. ITL
are the gaps between one streamed choice and the next, of all requests together.
"""

from __future__ import annotations

import hashlib
import math
import statistics
from collections import Counter
from collections.abc import Sequence

import msgspec

from .result import LoadResult, Spread


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome of one request. Times in seconds since it was sent; `error` None: success."""

    error: str | None = None
    prompt_tokens: int = 0
    output_tokens: int = 0
    ttft_s: float = 0.0
    latency_s: float = 0.0
    itl_s: tuple[float, ...] = ()
    text: str = ""


def percentile(samples: Sequence[float], percent: float) -> float:
    """Return the percentile of `samples` as ``numpy.percentile`` does by default ("linear").

    The same operations in the same order as NumPy's, so that the result is equal and not merely
    close. Raises ValueError without samples or with `percent` outside of 0 to 100.
    """
    if not samples:
        raise ValueError("a percentile needs at least one sample")
    if not 0 <= percent <= 100:
        raise ValueError(f"a percentile lies between 0 and 100, not at {percent}")
    ordered = sorted(samples)
    position = (len(ordered) - 1) * (percent / 100)
    below = math.floor(position)
    low = ordered[below]
    high = ordered[min(below + 1, len(ordered) - 1)]
    part = position - below
    # NumPy interpolates from the nearer end.
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part


def spread(samples_ms: Sequence[float]) -> Spread:
    """Return mean, median and 99th percentile, or None for each without samples."""
    if not samples_ms:
        return Spread(mean=None, median=None, p99=None)
    return Spread(
        mean=statistics.fmean(samples_ms),
        median=statistics.median(samples_ms),
        p99=percentile(samples_ms, 99),
    )


def summarise(outcomes: Sequence[Outcome], *, model: str, duration_s: float) -> LoadResult:
    """Sum up a load. `outcomes` in the order of the prompts; a failed one counts as failed only."""
    good = [outcome for outcome in outcomes if outcome.error is None]
    total_input = sum(outcome.prompt_tokens for outcome in good)
    total_output = sum(outcome.output_tokens for outcome in good)
    ttfts = [outcome.ttft_s * 1000 for outcome in good]
    tpots = [
        (outcome.latency_s - outcome.ttft_s) / (outcome.output_tokens - 1) * 1000
        for outcome in good
        if outcome.output_tokens > 1
    ]
    itls = [gap * 1000 for outcome in good for gap in outcome.itl_s]
    return LoadResult(
        model=model,
        successful=len(good),
        failed=len(outcomes) - len(good),
        duration_s=duration_s,
        total_input_tokens=total_input,
        total_output_tokens=total_output,
        request_throughput=len(good) / duration_s,
        output_token_throughput=total_output / duration_s,
        total_token_throughput=(total_input + total_output) / duration_s,
        ttft_ms=spread(ttfts),
        tpot_ms=spread(tpots),
        itl_ms=spread(itls),
        ttft_samples_ms=ttfts,
        tpot_samples_ms=tpots,
        itl_samples_ms=itls,
        errors=dict(Counter(o.error for o in outcomes if o.error is not None).most_common()),
        output_digest=_digest(good) if len(good) == len(outcomes) else None,
    )


def _digest(outcomes: Sequence[Outcome]) -> str:
    digest = hashlib.sha256()
    for outcome in outcomes:
        digest.update(outcome.text.encode("utf-8", errors="surrogatepass") + b"\0")
    return digest.hexdigest()
