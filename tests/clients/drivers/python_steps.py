"""The steps, for every client written in Python: what each asks of a peer, and what must come back.

A driver gives ``main`` a class of peers. A peer is an asynchronous context manager around one connection, with ``call``
and ``tools``; any other method is one that its client may lack, and then ``lacks`` says why, by the step.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import secrets
import sys
import warnings
from contextlib import asynccontextmanager, suppress

STEP_SECONDS = 40
RESTART_SECONDS = 160
LEAVES = 6
ROOT = "file:///matrix"
COLOUR = "ultramarine"
REPLY = "hello from the model"
LOGGED = ["entry 1", "entry 2", "entry 3"]


class Errors(logging.Handler):
    """What a client logs as an error, which its user sees as a traceback."""

    def __init__(self):
        super().__init__(logging.ERROR)
        self.texts = []

    def emit(self, record):
        cause = record.exc_info[1] if record.exc_info else None
        self.texts.append(f"{record.name}: {record.getMessage()}" + (f" ({cause!r})" if cause else ""))


class Missing(Exception):
    """The client does not offer what a step needs."""


def need(condition, found):
    if not condition:
        raise AssertionError(f"unexpected: {found}")


def number(text, name):
    """A number by its name in a result's text, whatever JSON or representation it stands in."""
    found = re.search(rf"{name}\W+(\d+)", text)
    need(found, text)
    return int(found[1])


def handle_in(text):
    """The handle in a result's text, or ``None``."""
    found = re.search(r"session_id\W+([\w-]{16,})", text)
    return found[1] if found else None


class Steps:
    def __init__(self, url, peers):
        self.url = url
        self.peers = peers
        self.handle = None
        self.session = None
        self.counts = 0
        self.schemas = {}

    async def use(self, peer, tool, **arguments):
        """Call a tool; a handle that a call returned is passed wherever the client reads of such an argument."""
        if not self.schemas:
            self.schemas = await peer.tools()
        offered = "session_id" in self.schemas.get(tool, {}).get("properties", {})
        if self.handle and offered and not peer.keeps_session and not self.forgets(peer):
            arguments["session_id"] = self.handle
        text = await peer.call(tool, arguments)
        self.handle = handle_in(text) or self.handle
        return text

    def forgets(self, peer):
        """Whether this client opens and ends a session for each call."""
        return getattr(peer, "session_for_each_call", False)

    # --- One step each, in the order of the table; what they return is a detail for the reader -----------------------

    async def connect(self, peer):
        return await peer.version() if hasattr(peer, "version") else ""

    async def tools(self, peer):
        stored = await self.use(peer, "store_app_state", key="colour", data={"deep": [COLOUR]})
        need(COLOUR in stored, stored)
        found = await self.use(peer, "get_app_state", key="colour")
        need((COLOUR in found) != self.forgets(peer), found)
        ran = await self.use(peer, "lambda_operation", operation="matrix", input={"batch": 1})
        need(number(ran, "execution_count") == 1, ran)
        placed = await self.use(peer, "global_state", region="eu-west-1", data={"warm": True})
        need("warm" in placed, placed)
        need("tables" in await self.use(peer, "dynamodb_info"), "no tables")
        if peer.keeps_session:
            self.session = handle_in(stored)

    async def counters(self, peer):
        for _ in range(5):
            await self.one_more(peer)
        if self.forgets(peer):
            return "each call begins at 1: it is a session of its own"
        # The answers come in any order, and each number once.
        texts = await asyncio.gather(*(self.use(peer, "count") for _ in range(8)))
        numbers = sorted(number(text, "count") for text in texts)
        need(numbers == list(range(self.counts + 1, self.counts + 9)), numbers)
        self.counts += 8
        return f"counted to {self.counts}"

    async def one_more(self, peer):
        text = await self.use(peer, "count")
        self.counts = 1 if self.forgets(peer) else self.counts + 1
        need(number(text, "count") == self.counts, text)

    async def progress(self, peer):
        values = []
        self.offered(peer, "progress", "call_with_progress")
        await peer.call_with_progress("report", {}, values.append)
        await until(lambda: len(values) >= 3)
        need([float(value) for value in values] == [1, 2, 3], values)

    async def logging(self, peer):
        self.offered(peer, "logging", "logged")
        if hasattr(peer, "set_level"):
            await peer.set_level("info")
        await peer.call("log", {})
        # A client that asks for every level of its own accord gets the lowest, too.
        expected = ["too low", *LOGGED] if getattr(peer, "asks_for_all_levels", False) else LOGGED
        await until(lambda: len(peer.logged) >= len(expected))
        need(peer.logged == expected, peer.logged)

    async def elicitation(self, peer):
        self.offered(peer, "elicitation")
        text = await peer.call("ask", {})
        need(COLOUR in text, text)

    async def sampling(self, peer):
        self.offered(peer, "sampling")
        text = await peer.call("sample", {})
        need(REPLY in text, text)

    async def roots(self, peer):
        self.offered(peer, "roots")
        text = await peer.call("roots", {})
        need(ROOT in text, text)

    async def cancellation(self, peer):
        self.offered(peer, "cancellation")
        token = secrets.token_hex(8)
        async with self.observer(peer) as observer:
            call = asyncio.create_task(peer.call("wait", {"seconds": 25, "token": token}))
            await self.became(observer, token, "begun")
            if hasattr(peer, "cancel_last"):
                await peer.cancel_last("wait")
            else:
                call.cancel()
            await self.became(observer, token, "cancelled")
        call.cancel()
        with suppress(asyncio.CancelledError, Exception):
            await call

    @asynccontextmanager
    async def observer(self, peer):
        """Who can ask what became of a call: the peer itself, if it lets calls run side by side."""
        if getattr(peer, "calls_in_turn", False):
            async with self.peers(self.url) as other:
                yield other
        else:
            yield peer

    async def became(self, peer, token, expected):
        seen = ""
        for _ in range(80):
            seen = await peer.call("outcome", {"token": token})
            if expected in seen:
                return
            await asyncio.sleep(0.1)
        raise AssertionError(f"the call is {seen}, not {expected}")

    async def silence(self, peer):
        token = secrets.token_hex(8)
        arguments = {"seconds": 3.5, "token": token, "announced": True}
        if hasattr(peer, "call_with_progress"):
            text = await peer.call_with_progress("wait", arguments, lambda value: None)
        else:
            text = await peer.call("wait", arguments)
        need("waited to the end" in text, text)

    async def restart(self, peer):
        if not self.counts:
            await self.one_more(peer)
        say(ask="restart")
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
        await self.one_more(peer)
        await self.one_more(peer)
        return f"counted on to {self.counts}"

    async def delete_in_flight(self, peer):
        """On connections of their own: leave while a call is on its way. What goes wrong is a race, so many times."""
        self.offered(peer, "delete_in_flight")
        for _ in range(LEAVES):
            token = secrets.token_hex(8)
            async with self.peers(self.url) as other:
                await other.call("outcome", {"token": token})
                call = asyncio.create_task(other.call("wait", {"seconds": 4, "token": token}))
                await self.became(peer, token, "begun")
            call.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await call

    def offered(self, peer, step, attribute=None):
        if step in peer.lacks or (attribute and not hasattr(peer, attribute)):
            raise Missing(peer.lacks.get(step, "not offered"))


async def until(condition):
    for _ in range(100):
        if condition():
            return
        await asyncio.sleep(0.05)


def say(**line):
    print(json.dumps(line), flush=True)


def leaves(error):
    """What a group of exceptions is about."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def told(error):
    return "; ".join(dict.fromkeys(f"{type(leaf).__name__}: {leaf}"[:300].rstrip(": ") for leaf in leaves(error)))


async def run(url, wanted, peers):
    """Each wanted step on one connection, then its end: ``delete`` is what leaving it does."""
    errors = Errors()
    logging.getLogger().addHandler(errors)
    steps = Steps(url, peers)
    under_way = "connect"
    try:
        async with peers(url) as peer:
            for name in ["connect", *(step for step in wanted if step not in ("connect", "delete"))]:
                under_way = name
                errors.texts.clear()
                try:
                    # Of which the processes' own start is most, when three are restarted.
                    async with asyncio.timeout(RESTART_SECONDS if name == "restart" else STEP_SECONDS):
                        detail = await getattr(steps, name)(peer)
                    # Of a call that it gave up, a client may log what it likes.
                    if errors.texts and name != "delete_in_flight":
                        raise AssertionError("it logged " + " | ".join(dict.fromkeys(errors.texts)))
                    say(step=name, ok=True, detail=detail or "")
                except Missing as missing:
                    say(step=name, ok=None, detail=str(missing))
                except Exception as error:
                    say(step=name, ok=False, detail=told(error))
            under_way = "delete"
            if "delete" in wanted and peer.keeps_session and not steps.session:
                steps.session = handle_in(await peer.call("lambda_operation", {"operation": "leave", "input": {}}))
            lacks = peer.lacks.get("delete")
            errors.texts.clear()
    except BaseException as error:
        say(step=under_way, ok=False, detail=told(error))
        raise SystemExit(1) from error
    if "delete" in wanted:
        if errors.texts:
            say(step="delete", ok=False, detail="it logged " + " | ".join(dict.fromkeys(errors.texts)))
        elif lacks or not steps.session:
            say(step="delete", ok=None, detail=lacks or "no sessions in this mode")
        else:
            say(step="delete", ok=True, detail="", session=steps.session)


def main(peers):
    """``driver URL STEP[,STEP…]``"""
    warnings.simplefilter("ignore")
    url, wanted = sys.argv[1], sys.argv[2].split(",")
    asyncio.run(run(url, wanted, peers))
