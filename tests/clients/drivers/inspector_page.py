"""The MCP Inspector's web page, used in Chromium as a person would. Arguments: its folder, then as for every driver."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from pathlib import Path

from playwright.async_api import async_playwright
from python_steps import COLOUR, main

FOLDER = Path(sys.argv.pop(1))
PATIENCE_MS = 30_000


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Peer:
    keeps_session = True
    calls_in_turn = True

    def __init__(self, url):
        self.url = url
        self.lacks = {}
        self.turn = asyncio.Lock()

    async def __aenter__(self):
        port = free_port()
        self.home = tempfile.TemporaryDirectory()
        binaries = FOLDER / "node_modules" / ".bin"
        env = {
            "PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}",
            "HOME": self.home.name,
            "CLIENT_PORT": str(port),
            "MCP_AUTO_OPEN_ENABLED": "false",
            "DANGEROUSLY_OMIT_AUTH": "true",
        }
        command = [binaries / "mcp-inspector", "--web", "--transport", "http", "--server-url", self.url]
        devnull = asyncio.subprocess.DEVNULL
        self.server = await asyncio.create_subprocess_exec(
            *command, env=env, stdin=devnull, stdout=devnull, stderr=devnull, start_new_session=True
        )
        await self._listening(port)
        self.playwright = await async_playwright().start()
        chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
        self.browser = await self.playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        self.page = await self.browser.new_page(viewport={"width": 1600, "height": 1000})
        self.page.set_default_timeout(PATIENCE_MS)
        await self.page.goto(f"http://127.0.0.1:{port}/", wait_until="domcontentloaded")
        await self.page.get_by_label("Connect or disconnect").click(force=True)
        await self.page.get_by_text("Tools", exact=True).first.click()
        await self._tool("count").wait_for()
        return self

    async def __aexit__(self, *exception):
        await self.page.get_by_label("Disconnect from server").click()
        await self.page.get_by_text("Disconnected").first.wait_for()
        await self.browser.close()
        await self.playwright.stop()
        os.killpg(self.server.pid, signal.SIGTERM)
        await self.server.wait()
        self.home.cleanup()

    async def _listening(self, port):
        for _ in range(300):
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return
        raise RuntimeError("the Inspector does not listen")

    def _tool(self, name):
        # Beside a name may stand a warning.
        return self.page.get_by_role("button", name=re.compile(rf"^{name}\b")).first

    async def tools(self):
        return {}

    async def call(self, tool, arguments):
        async with self.turn:
            # What another tool answered is not taken for this call's answer.
            await self._tool("roots" if tool != "roots" else "ask").click()
            await self._tool(tool).click()
            if arguments:
                await self._write(json.dumps(arguments))
            await self.page.get_by_role("button", name="Execute Tool").click()
            if tool == "ask":
                await self.page.get_by_label("Colour").first.fill(COLOUR)
                await self.page.get_by_role("button", name="Submit").click()
            await self.page.get_by_text("Results", exact=True).wait_for()
            text = await self.page.locator("body").inner_text()
            return re.sub(r"[\\⎘]", "", text[text.index("Results") :])

    async def _write(self, text):
        switch = self.page.get_by_label("Edit as JSON")
        if not await switch.is_checked():
            await switch.click(force=True)
        editor = self.page.locator(".ace_editor, .cm-editor, textarea").first
        await editor.click()
        await self.page.keyboard.press("Control+A")
        await self.page.keyboard.insert_text(text)


if __name__ == "__main__":
    main(Peer)
