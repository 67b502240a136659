"""Clients' answers to our own requests: they may land on any worker, and wait under their request's id."""

from __future__ import annotations

import secrets
from collections.abc import Iterable

from sessions_dynamo import schema
from sessions_dynamo.operations import Driver, Operation, blocking
from sessions_dynamo.store import batches
from sessions_dynamo.store.event_items import Item, cut
from sessions_dynamo.store.times import ahead
from sessions_dynamo.workers.inboxes import SIGNAL_TTL
from sessions_dynamo.workers.once import put_if_absent


class ReplyOperations:
    """Keeps each request's first answer, for ``SIGNAL_TTL``."""

    def __init__(self, table: str) -> None:
        self._table = table

    def put(self, session_id: str, request_id: str, message: str) -> Operation[bool]:
        """Keep a client's answer (JSON text) to a request of ours; ``False`` for a second answer.

        Raises ``EventTooLarge`` before any write.
        """
        texts, ttl = cut(message), ahead(SIGNAL_TTL)
        # Parts under keys of their own: those of a second answer must not get into the first.
        parts_id = f"{schema.reply_id(request_id)}.{secrets.token_hex(8)}"
        item: Item = {
            "session_id": {"S": session_id},
            "event_id": {"S": schema.reply_id(request_id)},
            "data": {"S": texts[0]},
            schema.TTL_ATTRIBUTE: ttl,
        }
        if len(texts) > 1:
            item |= {"parts_id": {"S": parts_id}, "parts": {"N": str(len(texts) - 1)}}
        parts = [
            {**_part_key(session_id, parts_id, number), "data": {"S": text}, schema.TTL_ATTRIBUTE: ttl}
            for number, text in enumerate(texts[1:], 1)
        ]
        yield from batches.put(self._table, parts)
        return (yield from put_if_absent(self._table, item))

    def get(self, requests: Iterable[tuple[str, str]]) -> Operation[dict[tuple[str, str], str]]:
        """The answers that have come, by ``(session_id, request_id)``: one request for 100 of ordinary size."""
        keys = [
            {"session_id": {"S": session_id}, "event_id": {"S": schema.reply_id(request_id)}}
            for session_id, request_id in requests
        ]
        found: dict[tuple[str, str], str] = {}
        for item in (yield from batches.get(self._table, keys)):
            request_id = item["event_id"]["S"].removeprefix(schema.REPLY_PREFIX)
            if (text := (yield from self._text(item))) is not None:
                found[item["session_id"]["S"], request_id] = text
        return found

    def _text(self, item: Item) -> Operation[str | None]:
        """What an answer says; ``None`` while it is being deleted, which takes its parts one by one."""
        text: str = item["data"]["S"]
        if "parts" not in item:
            return text
        session_id, parts_id = item["session_id"]["S"], item["parts_id"]["S"]
        keys = [_part_key(session_id, parts_id, number) for number in range(1, int(item["parts"]["N"]) + 1)]
        parts = yield from batches.get(self._table, keys)
        found = {part["event_id"]["S"]: part["data"]["S"] for part in parts}
        if len(found) < len(keys):
            return None
        return text + "".join(found[key["event_id"]["S"]] for key in keys)


class Replies:
    """Clients' answers for a caller that waits. Thread-safe."""

    def __init__(self, operations: ReplyOperations, driver: Driver) -> None:
        self.operations = operations
        self.drive = driver

    put = blocking(ReplyOperations.put)
    get = blocking(ReplyOperations.get)


def _part_key(session_id: str, parts_id: str, number: int) -> Item:
    return {"session_id": {"S": session_id}, "event_id": {"S": schema.part_id(parts_id, number)}}
