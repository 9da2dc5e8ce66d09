"""Families of metrics from plain values. A key is a label's value, or a tuple of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

Key = str | tuple[str, ...]
Values = Mapping[Key, float] | Mapping[str, float]
PREFIX = "contact_bridge_"


def gauge(name: str, text: str, values: Values | float, *labels: str) -> Metric:
    return _filled(GaugeMetricFamily(PREFIX + name, text, labels=labels), values)


def counter(name: str, text: str, values: Values, *labels: str) -> Metric:
    """`name` without `_total`."""
    return _filled(CounterMetricFamily(PREFIX + name, text, labels=labels), values)


def histogram(
    name: str, text: str, bounds: Sequence[float], values: Mapping[str, tuple[Sequence[int], float]], label: str
) -> Metric:
    """`values`: how many between each two bounds, with one more than there are bounds, and their sum."""
    family = HistogramMetricFamily(PREFIX + name, text, labels=(label,))
    ends = [*(str(float(bound)) for bound in bounds), "+Inf"]
    for of, (numbers, total) in values.items():
        family.add_metric((of,), list(zip(ends, accumulate(numbers), strict=True)), total)
    return family


def _filled(family: GaugeMetricFamily | CounterMetricFamily, values: Values | float) -> Metric:
    every = values if isinstance(values, Mapping) else {(): values}
    for of, value in every.items():
        family.add_metric((of,) if isinstance(of, str) else of, value)
    return family
