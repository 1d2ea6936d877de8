"""What tuneonce found, compiled, loaded and measured, as metrics for Prometheus.

::

    import tuneonce.metrics

    tuneonce.metrics.register()          # of this process, on prometheus_client's own registry
    tuneonce.metrics.register_server()   # or: of this process and all that it has started

The metrics are in ``docs/metrics.md``. Needs ``prometheus-client``, which the extra ``metrics``
brings.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from .events.families import FAMILIES, Family
from .events.follower import Follower
from .events.totals import Totals

try:
    from prometheus_client import REGISTRY, CollectorRegistry
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
    from prometheus_client.registry import Collector
except ImportError as error:
    raise ImportError(
        "tuneonce.metrics needs prometheus-client: pip install 'tuneonce[metrics]'"
    ) from error

__all__ = ["register", "register_server"]

logger = logging.getLogger("tuneonce")


def register(registry: CollectorRegistry = REGISTRY) -> None:
    """Put the metrics of this process into `registry`.

    They stay empty where tuneonce is off or Triton is not imported yet. A forked child tells of
    itself. Raises ValueError if the registry has metrics of ours already.
    """
    registry.register(_TotalsCollector(_of_this_process))


def register_server(
    registry: CollectorRegistry = REGISTRY, *, directory: str | Path | None = None
) -> None:
    """Put the metrics of this process and of all that it has started into `registry`.

    For a server's process that answers for others, which launch the kernels. They are told from
    the events that these write into `directory` (default: where this process, with tuneonce on,
    would write its own), at most two seconds late, and never more than 50 ms are waited for them.
    The processes of one ``tuneonce run`` count together. Raises ValueError if the registry has
    metrics of ours already.
    """
    registry.register(_TotalsCollector(_Server(directory)))


class _TotalsCollector(Collector):
    """Tells totals. Has no name of its own, by which hosts tell their collectors from others."""

    def __init__(self, totals: Callable[[], Totals | None]) -> None:
        self._totals = totals
        self._failed = False

    def describe(self) -> Iterator[Metric]:
        """The metrics without values: registering one reads nothing."""
        for family in FAMILIES:
            yield _metric(family)

    def collect(self) -> Iterator[Metric]:
        """The metrics. Raises nothing: those of others are on the same page."""
        try:
            yield from _told(self._totals())
        except Exception as error:
            if not self._failed:
                self._failed = True
                logger.warning("tuneonce: no metrics: %r", error)


def _told(totals: Totals | None) -> list[Metric]:
    metrics: list[Metric] = []
    for family in FAMILIES:
        metric = _metric(family)
        if totals is not None:
            for labels, value in family.samples(totals):
                metric.add_metric(labels, value)
        metrics.append(metric)
    return metrics


def _metric(family: Family) -> CounterMetricFamily | GaugeMetricFamily:
    made = CounterMetricFamily if family.kind == "counter" else GaugeMetricFamily
    return made(family.name, f"{family.meaning}.", labels=family.labels)


def _of_this_process() -> Totals | None:
    from .activation.install import totals

    return totals()


class _Server:
    """The totals of a server's processes, from when they are first asked for."""

    def __init__(self, directory: str | Path | None) -> None:
        self._directory = directory
        self._follower: Follower | None = None

    def __call__(self) -> Totals | None:
        if self._follower is None:
            from .activation.install import events_directory

            directory = self._directory or events_directory()
            if directory is None:
                return None
            self._follower = Follower(Path(directory), run=os.environ.get("TUNEONCE_RUN") or None)
        return self._follower.now()
