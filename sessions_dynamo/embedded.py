"""The DynamoDB of development: moto's server on loopback, in the memory of the process that started it.

``manage.py runserver`` starts it under DEBUG; every other process reaches it through ``client.py``. moto is imported
here and in ``embedded_data``, which keeps the tables in files, and only when a server starts.
"""

from __future__ import annotations

import http.client
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from sessions_dynamo.conf import conf
from sessions_dynamo.errors import StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Iterable
    from wsgiref.types import StartResponse, WSGIEnvironment

    from werkzeug.serving import BaseWSGIServer

LOOPBACK = "127.0.0.1"
_IDENTITY_PATH = "/sessions-dynamo"
_IDENTITY = b"embedded DynamoDB of sessions_dynamo"
_READS: Final = ("BatchGet", "Describe", "Get", "List", "Query", "Scan")
"""How the actions begin that change nothing."""


@dataclass(frozen=True, slots=True)
class EmbeddedServer:
    """A server that this process runs; it ends with the process or with ``close``."""

    port: int
    _server: BaseWSGIServer
    _thread: threading.Thread
    _requests: _OneAtATime

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def writes(self) -> int:
        """How many requests so far may have changed something."""
        return self._requests.writes

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Let every request wait: what is read meanwhile is of one moment."""
        with self._requests.lock:
            yield

    def close(self) -> None:
        """Stop accepting connections; the data stays in memory until the process ends."""
        self._server.shutdown()
        self._thread.join()


def start(before: Callable[[], object] | None = None) -> EmbeddedServer | None:
    """Serve at ``DYNAMODB_EMBEDDED_PORT``; ``None`` when another ``runserver`` already does.

    ``before`` is called when the port is this process's own and before the first request is answered. Raises
    ``StorageUnavailable`` when something else holds the port or moto is not installed, ``ImproperlyConfigured`` without
    DEBUG, and what ``before`` raises.
    """
    try:
        listener = _bind(conf.DYNAMODB_EMBEDDED_PORT)
    except OSError as exc:
        if is_running():
            return None
        raise StorageUnavailable(
            f"The embedded DynamoDB cannot listen on {LOOPBACK}:{conf.DYNAMODB_EMBEDDED_PORT} ({exc.strerror}):"
            " stop the program that holds the port, or set DYNAMODB_EMBEDDED_PORT to a free one."
        ) from exc
    with listener:
        return _serve(listener, before)


def is_running() -> bool:
    """Whether an embedded server, of this process or of another, answers at ``DYNAMODB_EMBEDDED_PORT``."""
    connection = http.client.HTTPConnection(LOOPBACK, conf.DYNAMODB_EMBEDDED_PORT, timeout=2)
    try:
        connection.request("GET", _IDENTITY_PATH)
        return connection.getresponse().read(len(_IDENTITY) + 1) == _IDENTITY
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def serve(port: int) -> EmbeddedServer:
    """Serve on loopback from a daemon thread; port 0 takes a free one.

    Raises ``OSError`` when the port is taken, ``StorageUnavailable`` where moto is not installed.
    """
    with _bind(port) as listener:
        return _serve(listener)


def _bind(port: int) -> socket.socket:
    """A socket of ours rather than werkzeug's own, which ends the process when the port is taken."""
    if not settings.DEBUG:
        raise ImproperlyConfigured(
            "The embedded DynamoDB has no access control: it runs only with DEBUG=true. Set DYNAMODB_EMBEDDED=false."
        )
    return socket.create_server((LOOPBACK, port), backlog=128)


def _serve(listener: socket.socket, before: Callable[[], object] | None = None) -> EmbeddedServer:
    server, requests = _make_server(listener)
    try:
        if before:
            before()
    except BaseException:
        server.server_close()
        raise
    thread = threading.Thread(target=server.serve_forever, name="embedded-dynamodb", daemon=True)
    thread.start()
    return EmbeddedServer(server.port, server, thread, requests)


def _make_server(listener: socket.socket) -> tuple[BaseWSGIServer, _OneAtATime]:
    try:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
        from werkzeug.serving import make_server
    except ImportError as exc:
        raise StorageUnavailable(
            f"The embedded DynamoDB is not installed ({exc}): pip install 'mcp-sessions[embedded]', or set"
            " DYNAMODB_EMBEDDED to false and name another DynamoDB with AWS_ENDPOINT_URL_DYNAMODB or AWS credentials."
        ) from exc

    class QuietRequestHandler(MotoRequestHandler):
        def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
            """One line a DynamoDB request would drown runserver's own."""

    _mend_disabled_streams()
    _mend_transactions()
    # Flask's line and traceback for what moto cannot do stay; they are how one learns of it.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    application = _OneAtATime(DomainDispatcherApplication(create_backend_app))
    host, port = listener.getsockname()
    server = make_server(
        host, port, application, threaded=True, request_handler=QuietRequestHandler, fd=listener.fileno()
    )
    return server, application


class _OneAtATime:
    """Serialises requests, because moto loses updates when its threads race; refuses what a web page could send."""

    def __init__(self, application: Callable[[WSGIEnvironment, StartResponse], Any]) -> None:
        self._application = application
        self.lock = threading.Lock()
        self.writes = 0

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        host = str(environ.get("HTTP_HOST", "")).rpartition(":")[0]
        if "HTTP_ORIGIN" in environ or host not in (LOOPBACK, "localhost"):
            start_response("403 Forbidden", [("Content-Type", "text/plain")])
            return [b"The embedded DynamoDB does not serve browsers.\n"]
        if environ.get("PATH_INFO") == _IDENTITY_PATH:
            start_response("200 OK", [("Content-Type", "text/plain"), ("Content-Length", str(len(_IDENTITY)))])
            return [_IDENTITY]
        action = str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2]
        with self.lock:
            self.writes += not action.startswith(_READS)
            response = self._application(environ, start_response)
            try:
                return list(response)
            finally:
                response.close()


@cache
def _mend_disabled_streams() -> None:
    """Make moto forget a stream when it is disabled.

    moto 5.2 keeps the shard, so that the table's next write fails with ``KeyError: 'StreamViewType'``, and keeps the
    label, so that the stream cannot be enabled again.
    """
    from moto.dynamodb.models.table import Table

    set_stream_specification = Table.set_stream_specification

    def forgetting(table: Table, streams: dict[str, Any] | None) -> None:
        set_stream_specification(table, streams)
        if not (table.stream_specification or {}).get("StreamEnabled"):
            table.stream_shard = table.latest_stream_label = None

    Table.set_stream_specification = forgetting  # type: ignore[method-assign, assignment]


@cache
def _mend_transactions() -> None:
    """Make moto's transactions cost what the table holds, not all that was ever written to it.

    moto 5.2 copies the table for each transaction, with every record that its stream has carried since it was made:
    after a thousand writes that takes longer than clients wait, and they send the transaction again.
    """
    from moto.dynamodb.models.table import StreamShard

    def copied(shard: StreamShard, memo: dict[int, Any]) -> StreamShard:
        twin = copy(shard)
        twin.items, twin.table = shard.items.copy(), memo.get(id(shard.table), shard.table)
        return twin

    StreamShard.__deepcopy__ = copied  # type: ignore[attr-defined]
