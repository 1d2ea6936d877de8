"""How a benchmark is watched: lines on stderr, and a bar while requests run if it is a terminal."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from ..bench.metrics import Outcome
from ..bench.result import Run

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


class Bar:
    """A progress bar over requests; without a terminal, nothing. Also counts failures."""

    def __init__(self, console: Console, *, title: str, total: int) -> None:
        self._title = title
        self._failed = 0
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        if console.is_terminal:
            from rich.progress import MofNCompleteColumn, Progress, TimeElapsedColumn

            columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn())
            self._progress = Progress(
                *columns, TimeElapsedColumn(), console=console, transient=True
            )
            self._task = self._progress.add_task(title, total=total)

    def __enter__(self) -> Bar:
        if self._progress is not None:
            self._progress.start()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def advance(self, outcome: Outcome) -> None:
        """One more request has ended."""
        if self._progress is None or self._task is None:
            return
        self._failed += outcome.error is not None
        title = f"{self._title} ({self._failed} failed)" if self._failed else self._title
        self._progress.update(self._task, advance=1, description=title)


class RestartProgress:
    """Watches a restart benchmark (`tuneonce.bench.restart.Watcher`)."""

    def __init__(self, console: Console, *, keeps: bool) -> None:
        self._console = console
        self._keeps = keeps
        self._bar: Bar | None = None

    def __enter__(self) -> RestartProgress:
        return self

    def __exit__(self, *raised: object) -> None:
        self._close_bar()

    def working_in(self, directory: Path) -> None:
        if self._keeps:
            self._say(f"caches and logs: {directory}")

    def starting(self, run: str) -> None:
        self._say(f"{run}: starting the server")

    def loading(self, run: str, *, startup_s: float, requests: int) -> None:
        self._say(f"{run}: healthy after {startup_s:.1f} s, sending {requests} requests")
        self._bar = Bar(self._console, title=run, total=requests)
        self._bar.__enter__()

    def outcome(self, outcome: Outcome) -> None:
        if self._bar is not None:
            self._bar.advance(outcome)

    def finished(self, run: Run) -> None:
        self._close_bar()
        parts = [f"{run.successful} requests in {run.duration_s:.1f} s"]
        if run.failed:
            parts.append(f"{run.failed} failed")
        if run.ttft_ms.p99 is not None:
            parts.append(f"P99 TTFT {run.ttft_ms.p99:,.0f} ms")
        if run.engine_init_s:
            parts.append(f"engine init {max(run.engine_init_s):.1f} s")
        if run.events is not None:
            parts.append(f"{run.events.tunes} tunes")
        self._say(f"{run.arm}, run {run.run}: {', '.join(parts)}")

    def _close_bar(self) -> None:
        bar, self._bar = self._bar, None
        if bar is not None:
            bar.__exit__(None, None, None)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
