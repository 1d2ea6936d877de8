"""`tuneonce bench restart` on `transformers serve`, which runs FLA's kernels for Qwen3-Next.

Makes the model of `transformers_model.py` in a temporary directory, makes sure that its layers
call flash-linear-attention's kernels, and measures every arm. Nothing in the server is changed;
it needs transformers[serving] and fla-core (or flash-linear-attention), and no network.

    python benchmarks/transformers_restart.py benchmarks/results/transformers-h200.json
    python benchmarks/transformers_restart.py out.json --repeats 3 --then empty-triton-cache
    python benchmarks/transformers_restart.py out.json --size tiny --without-kernels \\
        --arms tuneonce --num-prompts 4 --input-len 64       # on a machine without a GPU

Options that are not its own go to `tuneonce bench restart`, behind its defaults.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# A name without a directory, so that the result's command can be typed anywhere. The server wants
# it from its clients in this very form, and its list holds only models from the hub.
MODEL = "qwen3-next-like"

# The server takes prompts as text only, and refuses requests with ignore_eos (the model has no
# end-of-text token). One request runs at a time, so more of them at once would only wait.
LOAD = {
    "--prompt-format": "text",
    "--num-prompts": "32",
    "--input-len": "4000",
    "--output-len": "4",
    "--max-concurrency": "4",
    # Arbitrary, but short enough that a server which hangs does not use up a lent machine's time.
    "--request-timeout": "240",
    "--startup-timeout": "180",
}


def environment() -> dict[str, str]:
    """The caller's, with our package in it, and without a question to the network."""
    paths = [str(ROOT / "src")]
    # The server starts in another directory.
    paths += [str(Path(p).absolute()) for p in os.environ.get("PYTHONPATH", "").split(":") if p]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_UPDATE_CHECK": "1",
    }


def wait(process: subprocess.Popen[bytes]) -> int:
    """Return its exit status. A Ctrl-C reaches it too, and it ends its server before itself."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue


def main() -> int:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], allow_abbrev=False
    )
    parser.add_argument("out", type=Path, help="where to write the result")
    parser.add_argument("--size", choices=("tiny", "h200"), default="h200")
    parser.add_argument(
        "--without-kernels",
        action="store_true",
        help="go on if the layers call Transformers' reference implementation",
    )
    args, options = parser.parse_known_args()

    env = environment()
    with tempfile.TemporaryDirectory(prefix="transformers-restart-") as scratch:
        make = [sys.executable, str(ROOT / "benchmarks/transformers_model.py"), MODEL]
        make += ["--size", args.size]
        subprocess.run(make, cwd=scratch, env=env, check=True)
        # In a process of its own: kernels are bound when the model's module is imported.
        checked = subprocess.run([make[0], make[1], "--check"], cwd=scratch, env=env, check=False)
        if checked.returncode and not args.without_kernels:
            print("the layers do not call FLA's kernels: nothing to measure", file=sys.stderr)
            return 1
        command = [sys.executable, "-m", "tuneonce", "bench", "restart"]
        command += ["--output", str(args.out.absolute()), "--model", MODEL]
        command += [word for option in LOAD.items() for word in option]
        command += [*options, "--", sys.executable, "-m", "transformers.cli.transformers"]
        command += ["serve", MODEL, "--host", "127.0.0.1", "--port", "{port}"]
        return wait(subprocess.Popen(command, cwd=scratch, env=env))


if __name__ == "__main__":
    sys.exit(main())
