"""The same application behind API Gateway, a function URL or an ALB: ``mcpsite.lambda_handler.handler``.

A function's answer is one buffered body: set ``STREAM_SECONDS=0``, so that a stream replays and closes.
"""

from apig_wsgi import make_lambda_handler

from mcpsite.wsgi import application

handler = make_lambda_handler(
    application,
    binary_support=True,
    non_binary_content_type_prefixes=("text/", "application/json", "application/javascript"),
)
