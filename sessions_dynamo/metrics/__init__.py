"""The service's own metrics, in CloudWatch's namespace ``MCP/Sessions``: counted here, sent once a minute.

``METRICS`` chooses how: ``off`` (the default; counting then costs one comparison), ``emf`` or ``put``.
"""

from __future__ import annotations

from sessions_dynamo.metrics.reporter import count, enabled, flush, timing
from sessions_dynamo.metrics.samples import COUNTS, NAMESPACE, REQUEST_LATENCY, TOOL_COUNTS, service_dimensions

__all__ = [
    "COUNTS",
    "NAMESPACE",
    "REQUEST_LATENCY",
    "TOOL_COUNTS",
    "count",
    "enabled",
    "flush",
    "service_dimensions",
    "timing",
]
