"""The MCP server that this site serves by default: five tools over a durable session."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired

from mcp.server.mcpserver import Context, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types import ToolAnnotations
from pydantic import Field, JsonValue
from typing_extensions import TypedDict

from mcpsite.blocking.threads import in_thread
from mcpsite.endpoint.tools import ServedRequest, Session, current_session, sent_arguments, tool_errors
from sessions_dynamo import __version__, client
from sessions_dynamo.store import session_items
from sessions_dynamo.store.values import MAX_KEY_CHARACTERS
from sessions_dynamo.tables.describing import describe_cached
from sessions_dynamo.tables.descriptions import TableDescription

mcp = MCPServer(
    "dynamodb-sessions",
    title="Durable sessions in DynamoDB",
    version=__version__,
    instructions=(
        "Keeps application state for this session in DynamoDB: it survives restarts and is the same on every server."
        " A client with an MCP session needs no session_id; its state is kept until it ends that session, and the"
        " session_id names nothing from then on. A client without MCP sessions gets a session_id from the first call"
        " that stores something; pass it on every later call to reach the same state."
    ),
)

Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_CHARACTERS, description="Name of the value.")]
Json = Annotated[JsonValue, Field(description="Any JSON value; it comes back equal.")]
Region = Annotated[str, Field(pattern=r"^[a-z]{2,}(-[a-z]+)+-[0-9]+$", description="An AWS region, such as us-west-2.")]
Handle = Annotated[
    str | None,
    Field(description="The session_id that an earlier call returned. Leave it out to use the client's own session."),
]
CurrentSession = Annotated[Session, Resolve(current_session)]
Sent = Annotated[dict[str, Any], Resolve(sent_arguments)]


class Stored(TypedDict):
    """What ``store_app_state`` returns; ``expires_at`` is ISO 8601, in UTC."""

    stored: bool
    key: str
    data: Any
    expires_at: str
    session_id: str


@mcp.tool(
    title="Store application state",
    annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True),
)
async def store_app_state(
    key: Key, data: Json, session: CurrentSession, sent: Sent, session_id: Handle = None
) -> Stored:
    """Store any JSON value under a key of this session, replacing what was there. It is kept until the session
    expires; every use of the session moves that on. Read it back with get_app_state."""
    session.state[key] = sent["data"]
    return Stored(
        stored=True,
        key=key,
        data=sent["data"],
        expires_at=session.expires_at.isoformat(),
        session_id=session.session_id,
    )


class Found(TypedDict):
    """What ``get_app_state`` returns; ``data`` is null where nothing was found."""

    found: bool
    key: str
    data: Any
    region: NotRequired[str]


@mcp.tool(title="Get application state", annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
async def get_app_state(
    key: Key, session: CurrentSession, region: Region | None = None, session_id: Handle = None
) -> Found:
    """Read the value of a key of this session. A key that holds nothing is a result with found=false, not an error.
    With region, read the table's replica in that AWS region instead, which may be a second behind."""
    if region is None or region == client.region_name():
        found = key in session.state
        return Found(found=found, key=key, data=await session.aget(key))
    if region not in {replica.region for replica in (await _sessions_table()).replicas}:
        raise ToolError(f"The table has no replica in {region}: leave region out to read {client.region_name()}.")
    state = await session.areplica_state(region)
    return Found(found=key in state, key=key, data=await state.aget(key), region=region)


class LambdaRuntime(TypedDict):
    """Where the call ran, inside AWS Lambda."""

    function_name: str
    request_id: str
    memory_limit_mb: int


class Operation(TypedDict):
    """One run of an operation; ``processed_at`` is ISO 8601, in UTC."""

    operation: str
    input: Any
    processed_at: str


class Executed(TypedDict):
    """What ``lambda_operation`` returns."""

    execution_count: int
    result: Operation
    session_id: str
    runtime: NotRequired[LambdaRuntime]


@mcp.tool(
    title="Run a serverless operation",
    annotations=ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False),
)
async def lambda_operation(
    operation: Annotated[str, Field(min_length=1, max_length=200, description="Name of the operation.")],
    input: Json,
    session: CurrentSession,
    sent: Sent,
    ctx: Context,
    session_id: Handle = None,
) -> Executed:
    """Record one run of a named operation with its input, as a serverless function would. execution_count is exact
    however many servers run it at once; the last result is kept in the state as lambda_operation.<operation>."""
    result = Operation(operation=operation, input=sent["input"], processed_at=datetime.now(UTC).isoformat())
    session.state[f"lambda_operation.{operation}"] = result
    # Last, because it is written at once: an input that cannot be kept is not counted.
    count = await session.aincr(operation)
    executed = Executed(execution_count=count, result=result, session_id=session.session_id)
    request = ctx.request_context.request
    if isinstance(request, ServedRequest) and (runtime := request.lambda_context) is not None:
        executed["runtime"] = LambdaRuntime(
            function_name=runtime.function_name,
            request_id=runtime.aws_request_id,
            memory_limit_mb=int(runtime.memory_limit_in_mb),
        )
    return executed


class Info(TypedDict):
    """What ``dynamodb_info`` returns. A field of a table that the engine cannot tell is left out."""

    region: str
    endpoint: str
    tables: list[dict[str, Any]]
    limits: dict[str, int]


@mcp.tool(title="Describe the DynamoDB tables", annotations=ToolAnnotations(read_only_hint=True, open_world_hint=False))
async def dynamodb_info(session_id: Handle = None) -> Info:
    """Describe the two DynamoDB tables behind the sessions as they stand now (at most 60 s old): status, items, bytes,
    billing, indexes, stream, Time to Live, encryption, point-in-time recovery, replicas, tags; and the limits here."""
    return Info(
        region=client.region_name(),
        endpoint=client.endpoint_url(),
        tables=[table.as_dict() for table in await _tables()],
        limits={
            "max_key_characters": MAX_KEY_CHARACTERS,
            "max_keys_per_session": session_items.MAX_KEYS,
            "max_changed_keys_per_call": session_items.MAX_CHANGED_KEYS,
            "max_value_bytes": session_items.MAX_VALUE_BYTES,
            "max_inline_state_bytes": session_items.MAX_INLINE_BYTES,
        },
    )


class ReplicaStatus(TypedDict):
    """A replica that the table really has."""

    region: str
    status: str


class GlobalState(TypedDict):
    """What ``global_state`` returns."""

    stored: bool
    region: str
    data: Any
    written_in: str
    replicas: list[ReplicaStatus]
    session_id: str
    note: NotRequired[str]


@mcp.tool(
    title="Store a region's state",
    annotations=ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=True),
)
async def global_state(
    region: Region, data: Json, session: CurrentSession, sent: Sent, session_id: Handle = None
) -> GlobalState:
    """Store this session's state for one AWS region, apart from every other region's. The result lists the replicas
    that the table has: with none, the state is in one region alone."""
    table, here = await _sessions_table(), client.region_name()
    await session.aset_global_state(region, sent["data"])
    stored = GlobalState(
        stored=True,
        region=region,
        data=sent["data"],
        written_in=here,
        replicas=[ReplicaStatus(region=replica.region, status=replica.status) for replica in table.replicas],
        session_id=session.session_id,
    )
    if not table.replicas:
        other = region if region != here else "<another region>"
        stored["note"] = (
            f"This state is in {here} alone: the table has no replicas. To add one: python manage.py dynamodb_setup"
            f" --regions {other}"
        )
    return stored


async def _tables() -> tuple[TableDescription, ...]:
    with tool_errors():
        return await in_thread(describe_cached)


async def _sessions_table() -> TableDescription:
    return (await _tables())[0]
