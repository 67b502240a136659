"""gunicorn's settings for the tests; further ones are on the command line."""

from typing import Any

worker_class = "sessions_dynamo.asgi_server.worker.Worker"
workers = 1
timeout = 4
graceful_timeout = 12
keepalive = 75
control_socket_disable = True


def worker_exit(server: Any, worker: Any) -> None:
    """Say that it was called."""
    print(f"{worker.pid} worker_exit", flush=True)
