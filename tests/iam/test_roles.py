"""Whose call it is, told by the frames of this project."""

from __future__ import annotations

import pytest

from tests.iam.roles import OPERATE, READ_ONLY, ROLES, SCHEDULE, SERVE, Caller, UnknownCaller, caller

MIDDLEWARE = "mcpsite.door.short_door:ShortDoor.__call__"
SHELL = "sessions_dynamo.staff.shell:page.<locals>.decorate.<locals>.guarded"
SERVER = "sessions_dynamo.asgi_server:Server.serve"
STORAGE = "sessions_dynamo.dataplane.loops:run"
DRIVE = "sessions_dynamo.dataplane.driver:drive"
READY = "mcpsite.health:readyz"
CONVERGE = "sessions_dynamo.staff.tables.pages:converge"
SETUP = "sessions_dynamo.management.commands.dynamodb_setup:Command.handle"
PAGE = "sessions_dynamo.reading.index_pages:_query"


def test_the_outermost_frame_that_says_something_decides() -> None:
    stack = (MIDDLEWARE, SHELL, CONVERGE, "sessions_dynamo.tables.setup:converge")

    assert caller([stack]) == Caller(CONVERGE, (OPERATE,), is_certain=True)


def test_the_work_of_a_pool_is_that_of_whoever_gave_it() -> None:
    view = (
        MIDDLEWARE,
        SHELL,
        "sessions_dynamo.staff.sessions.listing:session_list",
        "sessions_dynamo.reading.index_pages:merge",
    )

    assert caller([(PAGE,), view]).roles == (SERVE, READ_ONLY)


def test_a_thread_that_serves_is_not_its_starters() -> None:
    reporter = ("sessions_dynamo.metrics.reporter:Reporter._run", "sessions_dynamo.client:cloudwatch")

    assert caller([reporter, (READY,)]).roles == (SERVE, OPERATE, SCHEDULE)


def test_a_task_of_the_endpoint_serves() -> None:
    recorder = (SERVER, "sessions_dynamo.recorder:CallRecorder._put", STORAGE, DRIVE)

    assert caller([recorder, (SETUP,)]).roles == (SERVE,)


def test_an_operation_that_a_test_drives_on_a_loop_is_nobodys_in_particular() -> None:
    assert not caller([(STORAGE, DRIVE)]).is_certain


def test_work_in_one_of_the_endpoints_threads_is_that_of_whoever_gave_it() -> None:
    thread = ("mcpsite.blocking.threads:in_thread.<locals>.call", "sessions_dynamo.tables.setup:reachable")

    assert caller([thread, (SERVER, MIDDLEWARE, READY)]).roles == (SERVE, READ_ONLY)


def test_a_call_of_the_library_itself_is_nobodys_in_particular() -> None:
    found = caller([(PAGE,)])

    assert (found.roles, found.is_certain) == (ROLES, False)


@pytest.mark.parametrize(
    "frame",
    [
        "sessions_dynamo.staff.new_pages:page",
        "sessions_dynamo.management.commands.dynamodb_new:Command.handle",
        "mcpsite.new:view",
        "sessions_dynamo.staff.backups.pages:new",
    ],
)
def test_a_new_way_in_has_to_be_given_a_role(frame: str) -> None:
    with pytest.raises(UnknownCaller, match=r"add it to ENTRIES"):
        caller([(MIDDLEWARE, SHELL, frame, "sessions_dynamo.tables.setup:converge")])


def test_a_name_that_begins_as_another_is_not_taken_for_it() -> None:
    with pytest.raises(UnknownCaller):
        caller([("mcpsite.server_of_another_kind:view",)])
