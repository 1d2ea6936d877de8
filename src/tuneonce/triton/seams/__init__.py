"""What is private in Triton and read, called or replaced here: one file for what it is of.

**Public** is, and may be used anywhere: what Triton's documentation or its tutorials hand to users
(``triton.jit``, ``autotune``, ``heuristics``, ``Config`` with its fields and ``all_kwargs``,
``triton.language`` with ``dtype`` and ``constexpr``, ``__version__``), and those attributes of an
``Autotuner`` that third parties read everywhere: ``cache``, ``best_config``, ``configs``, ``keys``,
``arg_names``, ``nargs``, ``fn``; and a kernel's ``fn``, ``arg_names`` and ``run``.

**A seam** is everything else: an attribute or a method that no page promises, an underscore, a
module below ``triton``, a knob, a parameter or return value of such a function, the name or the
layout of a file in Triton's cache. In doubt it is a seam.

Each file has functions that say what they are of Triton, and at its end a table `SEAMS`: what each
seam is for, the versions it was read in, and a probe. `probing` looks at them and says what must be
switched off; `table` is all of them; `docs/triton-seams.md` is made of that.

Nothing here knows the rest of the package: a seam is a fact about Triton, and what to do about it
is decided where it is used. Nothing here imports Triton when it is imported.
"""
