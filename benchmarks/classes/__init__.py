"""Parts of ``benchmarks/work_classes.py``."""
