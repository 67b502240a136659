"""A handler that blocks the loop: everybody waits, nobody is killed, and the log names it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.sessions_dynamo.asgi_server.servers import gunicorn


def test_a_blocked_loop_is_named_and_costs_nobody_a_stream(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--timeout", "2") as server:
        stream = server.connect().open_stream()
        client = server.connect()
        client.request("block?5")
        server.said("The loop is blocked since")
        assert client.response()[2] == b"blocked"
        server.said("The loop was blocked for")

        assert "in block" in server.log
        assert "time.sleep(float(" in server.log
        (seconds,) = re.findall(r"The loop was blocked for ([\d.]+) s", server.log)
        assert 4 < float(seconds) < 10
        assert server.log.count("The loop is blocked since") == 1
        assert "WORKER TIMEOUT" not in server.log
        with server.connect() as other:
            assert other.get("hello")[0] == 200
        stream.socket.close()
        server.said("left")


def test_the_access_log_has_a_line_a_request(tmp_path: Path) -> None:
    with gunicorn(tmp_path, "--access-logfile", "-", "--forwarded-allow-ips", "127.0.0.0/8,10.0.0.0/8") as server:
        client = server.connect()
        client.request("hello", "X-Forwarded-For: 6.6.6.6, 203.0.113.9, 10.1.2.3", "X-Forwarded-Proto: https")
        assert client.response()[2] == b"hello 203.0.113.9 https"
        server.said('203.0.113.9:0 - "GET /hello HTTP/1.1" 200')
