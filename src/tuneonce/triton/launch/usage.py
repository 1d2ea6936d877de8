"""What launches tell of what they needed, to whoever writes it down for the next start."""

from __future__ import annotations

from typing import Any, Protocol


class Usage(Protocol):
    """Hears of what is met for the first time; returns at once, and raises nothing."""

    def compiled(self, source: Any, binary: str) -> None:
        """A variant was compiled or loaded for a launch: Triton's source, its binary's name."""

    def launched(self, variant: Any) -> None:
        """A winner was launched: what Triton's launch returned."""

    def met_key(self, kernel: str, verdict: str, winner: str) -> None:
        """A key was launched: the kernel, the name of its verdict, the winner's digest."""


class NoUsage:
    """Nobody writes anything down."""

    def compiled(self, source: Any, binary: str) -> None:
        pass

    def launched(self, variant: Any) -> None:
        pass

    def met_key(self, kernel: str, verdict: str, winner: str) -> None:
        pass
