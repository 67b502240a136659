"""Streams that are dropped and resumed on other workers: nothing lost, nothing twice, always in order."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.engines import on_dynamodb_local
from tests.live.storms import assert_nothing_was_lost, begin, logged, text, weather_the_storm
from tests.live.stream_client import Client
from tests.live.stream_sites import StreamSite, stream_site

pytestmark = on_dynamodb_local

CLIENTS = 100


@pytest.fixture(scope="module")
def site(engine: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[StreamSite]:
    with stream_site(engine[1], tmp_path_factory.mktemp("replay")) as site:
        yield site


@pytest.fixture
def client(site: StreamSite) -> Client:
    return Client(site)


def test_a_storm_of_resumes_loses_and_repeats_nothing(site: StreamSite) -> None:
    # The handshakes one by one: the storm is of streams.
    clients = [Client(site) for _ in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        outcomes = list(pool.map(lambda client: weather_the_storm(site, client), clients))
    for received in outcomes:
        assert_nothing_was_lost(received)


def test_a_client_that_is_sent_away_comes_back_for_the_rest(site: StreamSite, client: Client) -> None:
    here, elsewhere, _ = site.ports
    with client.start(here, "send_away", last=5, pause=0.2) as stream:
        begin(stream)
        assert logged(stream.messages()) == [1]
    for port in (elsewhere, here):
        with client.get(port, stream.cursor) as rest:
            received = rest.messages()
            assert logged(received) == [2, 3, 4, 5]
            assert text(received[-1]) == "counted to 5"


def test_every_worker_replays_a_large_event_whole(site: StreamSite, client: Client) -> None:
    size = 512 * 1024  # 1 MiB of UTF-8; JSON escapes make it 3.
    with client.start(site.ports[0], "say_large", size=size) as stream:
        cursor = begin(stream)
        live = stream.messages()
    assert logged(live) == ["ä" * size]
    assert text(live[-1]) == "ö" * size
    for port in site.ports:
        with client.get(port, cursor) as replay:
            assert replay.messages() == live


def test_a_stream_is_replayed_from_any_of_its_events(site: StreamSite, client: Client) -> None:
    with client.start(site.ports[0], "count_to", last=5, pause=0) as stream:
        *frames, end = stream.read()
    for place, frame in enumerate(frames):
        with client.get(site.turn(), frame.event_id) as replay:
            assert [again for again in replay.read() if again.data] == [*frames[place + 1 :], end]
    # There is nothing to come back for, and an empty stream would bring the client back for ever.
    with client.get(site.turn(), end.event_id) as refused:
        assert refused.status == 204


def test_streams_of_one_session_do_not_mix(site: StreamSite, client: Client) -> None:
    streams = [client.start(site.turn(), "count_to", last=last, pause=0.05) for last in (3, 4, 5)]
    cursors = [begin(stream) for stream in streams]
    for stream in streams:
        stream.close()
    for last, cursor in zip((3, 4, 5), cursors, strict=True):
        with client.get(site.turn(), cursor) as replay:
            received = replay.messages()
            assert logged(received) == [*range(1, last + 1)]
            assert text(received[-1]) == f"counted to {last}"


def test_a_stream_is_its_sessions_own(site: StreamSite, client: Client) -> None:
    with client.start(site.turn(), "count_to", last=1, pause=0) as stream:
        cursor = begin(stream)
        stream.messages()
    with Client(site).get(site.turn(), cursor) as refused:
        assert refused.status == 400
        assert "Unknown Last-Event-ID" in refused.json()["error"]["message"]


@pytest.mark.parametrize("version", ["2025-03-26", "2025-06-18"])
def test_a_client_of_an_older_revision_resumes_without_a_priming_event(site: StreamSite, version: str) -> None:
    client = Client(site, version)
    with client.start(site.ports[0], "count_to", last=9, pause=0.05) as stream:
        assert logged(stream.messages(2)) == [1, 2]
        assert stream.retry is None
    with client.get(site.ports[1], stream.cursor) as rest:
        received = rest.messages()
        assert logged(received) == [*range(3, 10)]
        assert text(received[-1]) == "counted to 9"


def test_a_request_without_a_version_header_is_of_its_sessions_revision(site: StreamSite, client: Client) -> None:
    del client.headers["MCP-Protocol-Version"]
    with client.start(site.turn(), "count_to", last=1, pause=0) as stream:
        begin(stream)
        assert logged(stream.messages()) == [1]
