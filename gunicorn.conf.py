"""gunicorn reads this file by itself: ``gunicorn mcpsite.wsgi`` in this directory is the whole command.

Of an installed distribution it is ``--config python:mcpsite.gunicorn_conf``. Command-line options win over it. Times
are in seconds.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

bind = f"0.0.0.0:{os.environ.get('PORT') or '8062'}"

# gthread, mended: one event loop runs in each worker process, and its threads wait for DynamoDB.
worker_class = "mcpsite.gunicorn_worker.Worker"
workers = int(os.environ.get("WEB_CONCURRENCY") or "2")
threads = int(os.environ.get("THREADS") or "64")

# Longer than a load balancer keeps an idle connection (an AWS ALB: 60), so that the balancer closes first and never
# sends a request down a connection that is being closed here.
keepalive = 75

# A gthread worker's main thread beats however long a request takes; only a process that hangs misses this.
timeout = 30
# Requests in flight get this long after SIGTERM. Whatever stops the process must wait longer before SIGKILL: an ECS
# task's stopTimeout is 30 by default.
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT") or "25")

# The heartbeat file: /tmp may be on a disk that stalls.
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
worker_tmp_dir = str(_SHARED_MEMORY) if _SHARED_MEMORY.is_dir() else None

# Its default path is the same for every gunicorn of a user, and nothing here uses it.
control_socket_disable = True

# Proxies whose X-Forwarded-* headers are believed. Only behind a balancer that is the sole way in: '*'.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1,::1"

# Off: the path is always the same, and a health check would fill the log.
accesslog = "-" if os.environ.get("ACCESS_LOG", "").lower() in {"1", "true", "yes", "on"} else None


def post_worker_init(worker: Any) -> None:
    """Close open streams as soon as the worker is told to stop, so that they do not hold it."""
    from mcpsite.endpoint.shutdown import release_clients_on

    release_clients_on(signal.SIGTERM)


def worker_exit(server: Any, worker: Any) -> None:
    """Let handlers finish whose clients have left."""
    from mcpsite.endpoint.shutdown import finish

    finish()
