"""Questions that one process asks a client, and answers that it gives to others."""

from __future__ import annotations

from typing import Any

from tests.live.stream_client import Client
from tests.live.stream_sites import StreamSite


def answer_to(request: dict[str, Any], answer: str) -> dict[str, Any]:
    """The client's result for a question of the server's."""
    if request["method"] == "elicitation/create":
        return {"action": "accept", "content": {"colour": answer}}
    assert request["method"] == "sampling/createMessage"
    return {"role": "assistant", "model": "m", "content": {"type": "text", "text": answer}}


def ask(site: StreamSite, number: int) -> tuple[str, list[dict[str, Any]]]:
    """One round: a call through one worker, its question answered through the next; a second, other answer follows."""
    client = Client(site)
    tool = ("ask_user", "ask_model")[number % 2]
    with client.start(site.ports[number % 3], tool, question=f"Question {number}") as stream:
        request = stream.next()
        answer = f"answer {number}"
        for turn, text in enumerate([answer, "another answer"], 1):
            assert client.reply(site.ports[(number + turn) % 3], request, answer_to(request, text)) == 202
        return answer, stream.messages()
