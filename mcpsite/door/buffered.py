"""Whether an answer leaves whole or while it is made: inside AWS Lambda it leaves whole, unless its adapter streams."""

from __future__ import annotations

import os
from typing import Final

from django.http import HttpRequest

BUFFERED: Final = "mcpsite.buffered"
"""The key of a scope by which a server says that it sends an answer when all of it is there."""


def is_buffered(request: HttpRequest) -> bool:
    """Whether the client gets nothing of the answer to a request before it has ended."""
    return bool(getattr(request, "scope", {}).get(BUFFERED)) or in_buffered_function()


def in_buffered_function() -> bool:
    """Whether this process is a function that answers whole.

    A function's image that runs a server has the AWS Lambda Web Adapter before it, which streams if it is told to.
    """
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ and (
        os.environ.get("AWS_LWA_INVOKE_MODE", "").lower() != "response_stream"
    )


def is_frozen_between_answers() -> bool:
    """Whether this process stands still from one answer to the next request: what it had yet to do is not done then.

    A function that takes several requests at a time (Lambda Managed Instances) is not frozen.
    """
    return "AWS_LAMBDA_FUNCTION_NAME" in os.environ and "AWS_LAMBDA_MAX_CONCURRENCY" not in os.environ
