"""The service's own metrics, in CloudWatch's namespace ``MCP/Sessions``: counted here, sent once a minute.

``METRICS`` chooses how: ``off`` (the default; counting then costs one comparison), ``emf`` or ``put``.
"""

from __future__ import annotations

from sessions_dynamo.metrics.reporter import count, enabled, flush, gauge, timing
from sessions_dynamo.metrics.samples import (
    BACKUP_AGE,
    COUNTS,
    NAMESPACE,
    OPEN_STREAMS,
    REQUEST_LATENCY,
    TOOL_COUNTS,
    UNITS,
    service_dimensions,
)

__all__ = [
    "BACKUP_AGE",
    "COUNTS",
    "NAMESPACE",
    "OPEN_STREAMS",
    "REQUEST_LATENCY",
    "TOOL_COUNTS",
    "UNITS",
    "count",
    "enabled",
    "flush",
    "gauge",
    "service_dimensions",
    "timing",
]
