"""Questions to the client that go out through one worker and are answered through another."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.engines import on_dynamodb_local
from tests.live.questions import answer_to, ask
from tests.live.stream_client import Client, ModernClient
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

ROUNDS = 200
AT_ONCE = 20
OLD_KEY, NEW_KEY = secrets.token_urlsafe(48), secrets.token_urlsafe(48)


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    directory = tmp_path_factory.mktemp("questions")
    with stream_site(
        engine[1], directory, SECRET_KEY=OLD_KEY, MCP_AUTH="tests.live.servers_for_streams.by_name"
    ) as site:
        yield site


def test_200_questions_are_answered_through_another_worker_each_once(site: StreamSite) -> None:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        outcomes = list(pool.map(lambda number: ask(site, number), range(ROUNDS)))
    for answer, messages in outcomes:
        assert [message["result"]["content"][0]["text"] for message in messages] == [answer]


def test_of_two_answers_at_once_one_counts(site: StreamSite) -> None:
    client = Client(site)
    with client.start(site.ports[0], "ask_user", question="?") as stream:
        request = stream.next()
        answers = [f"answer {number}" for number in range(6)]
        with ThreadPoolExecutor(6) as pool:
            statuses = pool.map(
                lambda number: client.reply(site.ports[number % 3], request, answer_to(request, answers[number])),
                range(6),
            )
            assert list(statuses) == [202] * 6
        (end,) = stream.messages()
        assert end["result"]["content"][0]["text"] in answers


def test_an_answer_of_another_session_does_not_count(site: StreamSite) -> None:
    client, stranger = Client(site), Client(site)
    with client.start(site.ports[0], "ask_user", question="?") as stream:
        request = stream.next()
        for port in site.ports:
            stranger.reply(port, request, answer_to(request, "wrong"))
        client.reply(site.ports[1], request, answer_to(request, "right"))
        assert stream.answer()["result"]["content"][0]["text"] == "right"


def test_a_stranger_neither_answers_nor_resumes(site: StreamSite) -> None:
    client = Client(site)
    with client.start(site.ports[0], "ask_user", question="?") as stream:
        request = stream.next()
        client.headers["Caller"] = "a stranger"
        assert client.reply(site.ports[1], request, answer_to(request, "wrong")) == 404
        with client.get(site.ports[1], stream.cursor) as refused:
            assert refused.status == 404
        del client.headers["Caller"]
        client.reply(site.ports[2], request, answer_to(request, "right"))
        assert stream.answer()["result"]["content"][0]["text"] == "right"


def test_a_question_is_answered_after_its_stream_was_resumed_elsewhere(site: StreamSite) -> None:
    client = Client(site)
    with client.start(site.ports[0], "ask_user", question="?") as stream:
        cursor = next(stream.read()).event_id
    with client.get(site.ports[1], cursor) as resumed:
        request = resumed.next()
        client.reply(site.ports[2], request, answer_to(request, "late"))
        assert resumed.answer()["result"]["content"][0]["text"] == "late"


def test_an_error_for_an_answer_reaches_the_tool(site: StreamSite) -> None:
    client = Client(site)
    with client.start(site.ports[0], "ask_model", question="?") as stream:
        request = stream.next()
        refusal = {"jsonrpc": "2.0", "id": request["id"], "error": {"code": -1, "message": "the user said no"}}
        client.send_to(site.ports[1], refusal).close()
        assert "the user said no" in json.dumps(stream.answer())


def test_a_large_answer_is_carried_whole(site: StreamSite) -> None:
    client = Client(site)
    text = "ä" * 500_000
    with client.start(site.ports[0], "ask_user", question="?") as stream:
        request = stream.next()
        assert client.reply(site.ports[1], request, answer_to(request, text)) == 202
        assert stream.answer()["result"]["content"][0]["text"] == text


# --- Questions between calls (2026-07-28) -------------------------------------------------------------------------


def first_round(client: ModernClient, port: int) -> dict[str, Any]:
    """What ``paint`` asks for, and the state that the client must repeat."""
    with client.start(port, "paint", what="a fence") as stream:
        result: dict[str, Any] = stream.answer()["result"]
    assert result["resultType"] == "input_required"
    assert result["requestState"]
    return result


def second_round(
    client: ModernClient, port: int, asked: dict[str, Any], *, state: str | None = None, what: str = "a fence"
) -> dict[str, Any]:
    """The call again, with the answer."""
    (question,) = asked["inputRequests"]
    params = {
        "name": "paint",
        "arguments": {"what": what},
        "inputResponses": {question: {"action": "accept", "content": {"colour": "green"}}},
        "requestState": state or asked["requestState"],
    }
    with client.send_to(port, client.message("tools/call", params)) as stream:
        return stream.answer()


def painted(answer: dict[str, Any]) -> bool:
    return bool(answer.get("result", {}).get("content") == [{"type": "text", "text": "a fence in green"}])


def test_the_second_round_is_served_by_any_worker(site: StreamSite) -> None:
    client = ModernClient(site)
    for place in range(9):
        asked = first_round(client, site.ports[place % 3])
        assert painted(second_round(client, site.ports[(place + 1 + place // 3) % 3], asked))


def test_the_same_tool_asks_in_the_middle_of_a_call_where_there_are_sessions(site: StreamSite) -> None:
    client = Client(site)
    with client.start(site.ports[0], "paint", what="a fence") as stream:
        request = stream.next()
        client.reply(site.ports[1], request, answer_to(request, "green"))
        assert painted(stream.answer())


def test_a_state_that_was_changed_is_refused(site: StreamSite) -> None:
    client = ModernClient(site)
    asked = first_round(client, site.ports[0])
    state: str = asked["requestState"]
    middle = len(state) // 2
    changed = state[:middle] + ("A" if state[middle] != "A" else "B") + state[middle + 1 :]
    for forged in (changed, state[:-8], "e30"):
        answer = second_round(client, site.ports[1], asked, state=forged)
        assert answer["error"]["code"] == -32602


def test_a_state_is_its_callers_own(site: StreamSite) -> None:
    client = ModernClient(site)
    client.headers["Caller"] = "alice"
    asked = first_round(client, site.ports[0])
    for other in ("bob", ""):
        client.headers["Caller"] = other
        assert second_round(client, site.ports[1], asked)["error"]["code"] == -32602
    client.headers["Caller"] = "alice"
    assert painted(second_round(client, site.ports[1], asked))


def test_a_state_serves_no_other_call(site: StreamSite) -> None:
    client = ModernClient(site)
    asked = first_round(client, site.ports[0])
    answer = second_round(client, site.ports[1], asked, what="a house")
    assert answer["error"]["code"] == -32602


def test_a_key_is_rotated_without_a_call_lost(site: StreamSite) -> None:
    """Workers are replaced one by one: at first every worker opens what either key sealed, then the old one goes."""
    client = ModernClient(site)
    old, rotated, strict = site.ports
    asked = first_round(client, old)
    site.kill(rotated)
    site.start(rotated, SECRET_KEY=NEW_KEY, SECRET_KEY_FALLBACKS=OLD_KEY)
    site.kill(strict)
    site.start(strict, SECRET_KEY=NEW_KEY)
    try:
        assert painted(second_round(client, rotated, asked))
        assert second_round(client, strict, asked)["error"]["code"] == -32602
        asked = first_round(client, rotated)
        assert painted(second_round(client, strict, asked))
        assert second_round(client, old, asked)["error"]["code"] == -32602
    finally:
        for port in (rotated, strict):
            site.kill(port)
            site.start(port)
