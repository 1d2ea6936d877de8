"""Everything that touches Triton. Nothing here imports triton or torch by itself.

The modules work on what the program has already imported: the hook is installed when Triton's
autotuner module appears (`activation.install`), and torch is looked up in ``sys.modules``.
"""
