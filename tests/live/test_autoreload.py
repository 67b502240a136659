"""An edit under ``runserver`` while streams are open."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.conformance.processes import ROOT
from tests.live import servers
from tests.live.stream_client import Stream, open_stream
from tests.mcpsite.peers import LegacyPeer

STREAMS = 10
EDITED = """
from mcp.server.mcpserver import Context, MCPServer

mcp = MCPServer("edited")

@mcp.tool()
async def say(ctx: Context) -> str:
    await ctx.session.send_log_message("info", "EDITION")
    return "said"
"""


def test_clients_resume_on_the_edited_server(tmp_path: Path) -> None:
    module = tmp_path / "edited_server.py"
    module.write_text(EDITED.replace("EDITION", "first"))
    with servers.runserver(
        tmp_path, MCP_SERVER="edited_server:mcp", PYTHONPATH=f"{tmp_path}:{ROOT}", DYNAMODB_CREATE_TABLES="true"
    ) as server:
        peers = [LegacyPeer(server.connect()).connect() for _ in range(STREAMS)]
        streams = [_get(server, peer) for peer in peers]
        for peer, stream in zip(peers, streams, strict=True):
            assert peer.call("say").text == "said"
            assert stream.next()["params"]["data"] == "first"

        edited_at = time.time()
        module.write_text(EDITED.replace("EDITION", "second"))

        def resumed(number: int) -> float:
            """When the client has its stream again, in seconds after the edit."""
            assert streams[number].messages() == []
            again = _get_again(server, peers[number], streams[number])
            seconds = time.time() - edited_at
            peers[number].send = server.connect()
            assert peers[number].call("say").text == "said"
            assert again.next()["params"]["data"] == "second"
            again.close()
            return seconds

        with ThreadPoolExecutor(STREAMS) as pool:
            seconds = sorted(pool.map(resumed, range(STREAMS)))
        print(f"{STREAMS} clients had resumed {seconds[0]:.1f} to {seconds[-1]:.1f} s after the edit")
        assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("broken", ["raise KeyError('TOKEN')", "mcp = (", "import sys; sys.exit(1)"])
def test_an_edit_mends_a_module_that_could_not_be_imported(tmp_path: Path, broken: str) -> None:
    module, log = tmp_path / "edited_server.py", tmp_path / "runserver.log"
    helper = tmp_path / "edited_helper.py"
    helper.write_text(broken)
    module.write_text("import edited_helper" + EDITED)

    def mend() -> str:
        """Once the site has said what is wrong."""
        deadline = time.monotonic() + servers.START_SECONDS
        while "mcp_endpoint.E004" not in (said := log.read_text() if log.exists() else ""):
            assert time.monotonic() < deadline, said
            time.sleep(0.1)
        # Until it has seen the file as it was.
        time.sleep(2)
        helper.write_text("")
        return said

    with ThreadPoolExecutor(1) as pool:
        mended = pool.submit(mend)
        with servers.runserver(
            tmp_path, MCP_SERVER="edited_server:mcp", PYTHONPATH=f"{tmp_path}:{ROOT}", DYNAMODB_CREATE_TABLES="true"
        ) as server:
            assert LegacyPeer(server.connect()).connect().call("say").text == "said"
        assert f"({helper}, line 1" in mended.result()


def _get(server: servers.Server, peer: LegacyPeer, cursor: str | None = None) -> Stream:
    headers = {"Accept": "text/event-stream", **peer.headers} | ({"Last-Event-ID": cursor} if cursor else {})
    return open_stream(server.port, "GET", None, headers)


def _get_again(server: servers.Server, peer: LegacyPeer, ended: Stream) -> Stream:
    """As a client does that was told to come back: again and again until the server is there."""
    deadline = time.monotonic() + servers.START_SECONDS
    while True:
        try:
            return _get(server, peer, ended.cursor)
        except ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
