"""A language model that needs neither torch nor time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence


class FakeModel:
    """Answers a prompt with its own tokens, backwards, over and over.

    Prompts that start with 1 fail. Prompts that start with 2 wait before the second token until
    `gate` is set (or the thread is interrupted); `waiting` tells that one does.
    """

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.waiting = threading.Event()
        self.calls: list[tuple[list[int], float, int]] = []
        self.produced = 0

    def generate(
        self,
        tokens: Sequence[int],
        *,
        max_tokens: int,
        temperature: float,
        seed: int,
        ignore_eos: bool,
    ) -> Iterator[int]:
        self.calls.append((list(tokens), temperature, seed))
        if tokens[0] == 1:
            raise ValueError("one")
        for index in range(max_tokens):
            if tokens[0] == 2 and index == 1:
                self.waiting.set()
                # In short waits: an interrupt arrives between two of them.
                while not self.gate.wait(0.01):
                    pass
            self.produced += 1
            yield tokens[-1 - index % len(tokens)]
