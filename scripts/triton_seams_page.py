"""Writes docs/triton-seams.md from the table of seams: ``python scripts/triton_seams_page.py``."""

from __future__ import annotations

import sys
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "triton-seams.md"
sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from tuneonce.triton.seams import table  # noqa: E402
from tuneonce.triton.seams.seam import VERSIONS, Feature, Seam  # noqa: E402

_HEAD = """# Triton's seams

What tuneonce reads, calls or replaces in Triton beyond what Triton's documentation hands to users.
Made from the table in `src/tuneonce/triton/seams/` by `python scripts/triton_seams_page.py`; a test
compares. The docstring of that package says what counts as public.

Each seam has a probe, which looks whether it is, in the Triton at hand, as it was read. Where one
is not, what needs it is switched off and the rest goes on. An event (`problem`, `seam_missing`) and
a warning name both, once for each process; `tuneonce env` and `tuneonce doctor` tell the same of
the Triton that is installed. At install, probes look at what is loaded and import nothing more;
what depends on other modules of Triton's is decided when it is first needed. A version is listed
where its text was read and the tests, run on it, find what the table says. Between two that are
listed, and after the last, the probes decide.

## What is off without its seams
"""


def page() -> str:
    """The text of the page."""
    lines = [_HEAD, "| | without |", "| --- | --- |"]
    lines += [f"| {feature.title} | {feature.without} |" for feature in Feature]
    lines += ["", "## Seams"]
    for file, seams in table.BY_FILE.items():
        lines += ["", f"### {file}", ""]
        lines.append(f"| of Triton | what it is for | needed by | {' | '.join(VERSIONS)} |")
        lines.append("| --- | --- | --- |" + " :---: |" * len(VERSIONS))
        lines += map(_row, seams)
    return "\n".join(lines) + "\n"


def _row(seam: Seam) -> str:
    needed = ", ".join(feature.title for feature in seam.needed_by)
    versions = " | ".join("yes" if version in seam.read_in else "–" for version in VERSIONS)
    return f"| `{seam.name}` | {seam.what} | {needed} | {versions} |"


if __name__ == "__main__":
    PAGE.write_text(page())
