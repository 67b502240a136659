"""What the site serves while a browser looks at it: its own five tools, and some that stream, ask and fail."""

from __future__ import annotations

from mcpsite.server import mcp
from tests.live import servers_for_streams as streams

__all__ = ["mcp"]

for _tool in (streams.count_to, streams.say_large, streams.fail_late, streams.ask_user, streams.log_at_every_level):
    mcp.add_tool(_tool)
