"""``python -m tuneonce.demo``: the same as ``tuneonce demo serve``."""

from __future__ import annotations

import argparse
import sys

from tuneonce.cli import demo_serve
from tuneonce.errors import TuneonceError


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tuneonce.demo",
        description=demo_serve.DESCRIPTION,
        allow_abbrev=False,
    )
    demo_serve.add_arguments(parser)
    try:
        return demo_serve.run(parser.parse_args())
    except TuneonceError as error:
        print(f"tuneonce demo: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
