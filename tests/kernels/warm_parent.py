"""Runs programs, each in a fork of this process, which has imported modules for them.

    python -c 'import warm_parent; warm_parent.main()' MODULE...

Reads one JSON document per line from standard input::

    {"program": path, "arguments": [...], "environment": {...}, "directory": path, "told": path,
     "whole": false}

and answers each with its exit status. What the program prints is in the file `told`, what it
complains of in `told` with ``.err`` behind it. Only a `whole` one is taken apart by its interpreter
when it has ended.

This process has also digested Triton's installation, and has done nothing else: a program has what
a new process has, in the same order, without paying for that. It is no way to test what an
interpreter does at its start.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from program_ends import end_program

from tuneonce.triton.seams.compilers import installation_digest


def become(told: dict[str, Any]) -> NoReturn:
    """Run the program as the main module of this process, which ends as a program does."""
    new = os.O_RDWR | os.O_CREAT | os.O_TRUNC
    for number, path in ((0, os.devnull), (1, told["told"]), (2, f"{told['told']}.err")):
        source = os.open(path, new, 0o600)
        os.dup2(source, number)
        os.close(source)
    os.chdir(told["directory"])
    os.environ.clear()
    os.environ.update(told["environment"])
    program = Path(told["program"])
    sys.argv = [str(program), *told["arguments"]]
    asked = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[0:0] = [str(program.parent), *(path for path in asked if path not in sys.path)]
    main = vars(sys.modules["__main__"])
    main["__file__"] = str(program)
    exec(compile(program.read_bytes(), program, "exec"), main)
    if told["whole"]:
        raise SystemExit(0)
    end_program()


def main() -> NoReturn:
    for module in sys.argv[1:]:
        importlib.import_module(module)
    installation_digest()
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            become(json.loads(line))
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        print(json.dumps(status), flush=True)
    end_program()
