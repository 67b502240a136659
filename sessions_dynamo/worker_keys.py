"""Keys of what workers leave behind for each other in the events table, and the names that they have there.

Partitions that begin with ``#`` are no session's: workers, their inboxes, and what they told all others. In a session's
partition stand what is served of it, and what was cancelled.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import zlib
from typing import Final

WORKERS_PARTITION: Final = "#workers"
"""One item a worker: its beat, which is its lease, and what it holds."""
NEWS_PARTITION: Final = "#news"
"""One item for each worker that has told all others something: how much, so far."""
BUS_PARTITION: Final = "#bus"
"""Of the version before: what every worker read."""
INBOXES: Final = "#inbox"
HOLDING_PREFIX: Final = "hold."
CANCELLATION_PREFIX: Final = "cancel."

_WORKER_ID: Final = re.compile(r"[0-9a-f]{12}")
_QUESTION_ID: Final = re.compile(r"s-[0-9a-f]{24}")


def is_of_workers(partition: str) -> bool:
    """Whether a partition of the events table is no session's."""
    return partition.startswith("#")


def partition_kind(partition: str) -> str:
    """What the partitions of all workers that are for the same have in common."""
    return partition.partition(".")[0]


# --- Workers --------------------------------------------------------------------------------------------------


def new_worker_id() -> str:
    """The name of a process among the workers: 48 random bits, and nothing of its host, since clients see it."""
    return secrets.token_hex(6)


def is_worker_id(value: str) -> bool:
    """Whether a name is a worker's; those of the version before were made of its host's."""
    return _WORKER_ID.fullmatch(value) is not None


def inbox_partition(worker_id: str) -> str:
    """Where messages for one worker wait for it."""
    return f"{INBOXES}.{worker_id}"


def news_partition(worker_id: str) -> str:
    """What one worker has told all others, in its own order."""
    return f"{NEWS_PARTITION}.{worker_id}"


def news_id(number: int) -> str:
    """The sort key of what a worker told all others, counted from 1; fixed width, so that it sorts by number."""
    return f"{number:010d}"


# --- Questions to clients -------------------------------------------------------------------------------------


def question_id(worker_id: str) -> str:
    """A fresh id of a request of ours to a client; it names the worker that waits for the answer.

    No string that parses as an integer: those share the client's counter.
    """
    name = f"{worker_id}{secrets.token_hex(4)}"
    return f"s-{name}{_check(name)}"


def is_question_id(value: str) -> bool:
    """Whether an answer's id is of the form that requests of ours have, in this version or the one before."""
    return _QUESTION_ID.fullmatch(value) is not None


def asking_worker(question: str) -> str | None:
    """The worker that waits for an answer; ``None`` where the question is of the version before, which named none."""
    name, check = question[2:-4], question[-4:]
    return name[:12] if is_question_id(question) and _check(name) == check else None


def answer_id(session_id: str, question: str) -> str:
    """Where a question's first answer waits in its worker's inbox: of this session, as others may guess at ids."""
    return f"answer.{question}.{_digest(session_id)}"


def _check(name: str) -> str:
    return f"{zlib.crc32(name.encode()) & 0xFFFF:04x}"


# --- What is served of a session ------------------------------------------------------------------------------


def holding_id(request: str, worker_id: str, number: int) -> str:
    """What a worker serves of a session under a request's id, by that worker's own number."""
    return f"{holdings_of(request)}{worker_id}.{number}"


def holdings_of(request: str) -> str:
    """What the keys of all that is served under one request's id begin with."""
    return f"{HOLDING_PREFIX}{_digest(request)}."


def cancellation_id(request: str) -> str:
    """That the calls under a request's id were cancelled; all of the session's where ``request`` is empty."""
    return f"{CANCELLATION_PREFIX}{_digest(request)}"


def _digest(request: str) -> str:
    """Ids of requests are the clients', of any length and form."""
    return hashlib.sha256(request.encode(errors="surrogatepass")).hexdigest()[:32] if request else ""
