"""Parts of ``benchmarks/work_classes.py`` and ``benchmarks/class_measures.py``."""
