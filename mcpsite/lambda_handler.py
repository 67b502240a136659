"""The same application behind API Gateway, a function URL or an ALB: ``mcpsite.lambda_handler.handler``."""

from __future__ import annotations

from mcpsite.asgi import site
from mcpsite.aws_lambda.function import Function
from mcpsite.aws_lambda.snapshot import register

handler = Function(site)

register(handler)
