"""gunicorn reads this file by itself: ``gunicorn mcpsite.asgi`` in this directory is the whole command.

Of an installed distribution it is ``--config python:mcpsite.gunicorn_conf``. Command-line options win over it. Times
are in seconds.
"""

from __future__ import annotations

import os

bind = f"0.0.0.0:{os.environ.get('PORT') or '8062'}"

# One event loop a process. It tells the application of its end first; there is nothing to do in hooks here.
worker_class = "sessions_dynamo.asgi_server.worker.Worker"
workers = int(os.environ.get("WEB_CONCURRENCY") or "2")

# Longer than a load balancer keeps an idle connection (an AWS ALB: 60), so that the balancer closes first and never
# sends a request down a connection that is being closed here.
keepalive = 75

# A worker beats from a thread of its own, whatever its handlers do; only a process that stands still misses this. In
# a Lambda function all stand still between two requests, and the master would kill the worker that it wakes up with.
timeout = 0 if "AWS_LAMBDA_FUNCTION_NAME" in os.environ else 30
# Open streams are told at once; requests in flight get 70 % of this after SIGTERM, the application's shutdown 20 %.
# Whatever stops the process must wait longer before SIGKILL: an ECS task's stopTimeout is 30 by default.
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT") or "25")

# The heartbeat file: /tmp may be on a disk that stalls, or cannot be written where the root is read-only.
_SHARED_MEMORY = "/dev/shm"  # noqa: S108
worker_tmp_dir = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK) else None

# Its default path is the same for every gunicorn of a user, and nothing here uses it.
control_socket_disable = True

# Proxies whose X-Forwarded-* headers are believed, addresses and networks. '*': whoever connects, for one balancer that
# is the sole way in.
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS") or "127.0.0.1,::1"

# Off: the path is always the same, and a health check would fill the log.
accesslog = "-" if os.environ.get("ACCESS_LOG", "").lower() in {"1", "true", "yes", "on"} else None
