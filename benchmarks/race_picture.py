"""Draws one simulated race, for docs/how-the-tuner-decides.md.

    python benchmarks/race_picture.py [--seed 3] > docs/images/race.svg

Every mark is one launch of one candidate, where it happened in the race; the times are those of
tests/unit/tuning/race_model.py. Colours are chosen to be read on light and dark pages alike.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

from tests.unit.tuning.race_model import Tune, make_key  # noqa: E402
from tuneonce.tuning.race import Result, race  # noqa: E402

LEFT, TOP, ROW, WIDTH, RIGHT = 96, 46, 24, 500, 210
GREY, BLUE, GREEN, ORANGE = "#848d97", "#3b82f6", "#1a9e5c", "#d9822b"


class Watched(Tune):
    """Remembers each launch: after how many ms of sampling, and of which candidate."""

    marks: list[tuple[float, int]]
    loading_ms = 0.0

    def ready(self, candidate: int) -> bool:
        before = self.ms_spent
        ran = super().ready(candidate)
        self.loading_ms += self.ms_spent - before
        return ran

    def sample(self, order: Sequence[int]) -> list[float]:
        times = []
        for candidate in order:
            times += super().sample([candidate])
            self.marks.append((self.ms_spent - self.loading_ms, candidate))
        return times


def draw(marks: Sequence[tuple[float, int]], looks: int, result: Result, count: int) -> str:
    end, looked = marks[-1][0], marks[looks - 1][0]
    best = min(s.median_ms for s in result.summaries.values())
    height = TOP + ROW * count + 40

    def x(ms: float) -> float:
        return LEFT + WIDTH * ms / end

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + RIGHT}" height="{height}" '
        f'viewBox="0 0 {LEFT + WIDTH + RIGHT} {height}" font-family="system-ui, sans-serif" '
        f'font-size="12" fill="{GREY}">',
        "<title>One race: which candidate was launched when</title>",
        f'<text x="{LEFT}" y="18">first looks</text>',
        f'<text x="{x(looked) + 6:.1f}" y="18">side by side</text>',
        f'<text x="{LEFT + WIDTH + 14}" y="18">median, samples</text>',
        f'<line x1="{x(looked) + 1:.1f}" y1="8" x2="{x(looked) + 1:.1f}" '
        f'y2="{height - 34}" stroke="{GREY}" stroke-dasharray="3 3"/>',
    ]
    for c in range(count):
        y = TOP + ROW * c
        colour = GREEN if c == result.winner else BLUE if c in result.finalists else ORANGE
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">candidate {c}</text>')
        path = "".join(f"M{x(ms):.1f} {y - 7}v14" for ms, one in marks if one == c)
        parts.append(f'<path d="{path}" stroke="{colour}" stroke-width="1.2" fill="none"/>')
        summary = result.summaries[c]
        won = " · winner" if c == result.winner else ""
        parts.append(
            f'<text x="{LEFT + WIDTH + 14}" y="{y + 4}" fill="{colour}">'
            f"+{summary.median_ms / best - 1:.1%}, {summary.samples}{won}</text>"
        )
    y = height - 22
    step = 5 if end < 60 else 20
    parts += [
        f'<text x="{x(ms):.1f}" y="{y}" text-anchor="middle">{ms}</text>'
        for ms in range(0, int(end) + 1, step)
    ]
    parts.append(f'<text x="{LEFT + WIDTH}" y="{y + 16}" text-anchor="end">ms of sampling</text>')
    return "\n".join([*parts, "</svg>"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=12)
    args = parser.parse_args()
    key = make_key(args.seed, family="ties", count=args.candidates, best_ms=0.08, failing=0)
    tune = Watched(key, 0)
    tune.marks = []
    looked: list[int] = []

    def compiled(wave: Sequence[int]) -> Iterator[int]:
        yield from wave
        looked.append(len(tune.marks))

    result = race(range(args.candidates), compiled, tune)
    print(draw(tune.marks, looked[0], result, args.candidates))
    true = {c: f"{key.regret(c):.2%}" for c in range(args.candidates)}
    print(f"truly slower than the best: {true}", file=sys.stderr)


if __name__ == "__main__":
    main()
