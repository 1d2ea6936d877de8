"""Parts of ``cold_tune.py`` and ``tune_quality.py``."""
