"""System check of ``METRICS``."""

from __future__ import annotations

import os
from typing import Any

from django.core.checks import CheckMessage, Error, Warning, register

from sessions_dynamo.conf import conf
from sessions_dynamo.metrics.reporter import SENDERS


@register()
def check_metrics(**_: Any) -> list[CheckMessage]:
    """``METRICS`` is known, and works where the process runs."""
    if conf.METRICS not in ("off", *SENDERS):
        return [
            Error(
                f"METRICS is {conf.METRICS!r}.",
                hint="Set METRICS=emf where CloudWatch Logs reads the output (Lambda, ECS), METRICS=put elsewhere,"
                " or METRICS=off.",
                id="sessions_dynamo.E010",
            )
        ]
    if conf.METRICS == "put" and "AWS_LAMBDA_FUNCTION_NAME" in os.environ:
        return [
            Warning(
                "METRICS is 'put' on AWS Lambda, which freezes the process before its metrics are sent.",
                hint="Set METRICS=emf: Lambda's output goes to CloudWatch Logs, which makes metrics of it.",
                id="sessions_dynamo.W010",
            )
        ]
    return []
