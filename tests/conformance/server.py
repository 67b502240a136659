"""The server that the official conformance suite is run against: what its scenarios ask for, by the names they use.

``MCP_SERVER=tests.conformance.server:mcp``. Only public API of the SDK, and nothing that knows how it is served.
"""

from __future__ import annotations

import io
import json
import struct
import wave
import zlib
from typing import Annotated, Any, Final

import anyio
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.mcpserver import Audio, Context, Elicit, Image, MCPServer, Resolve, Sample, UserMessage
from mcp.server.mcpserver.exceptions import ToolError
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.tools import Tool
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    CreateMessageRequest,
    CreateMessageRequestParams,
    CreateMessageResult,
    ElicitRequest,
    ElicitRequestFormParams,
    ElicitResult,
    EmbeddedResource,
    InputRequest,
    InputRequiredResult,
    ListRootsRequest,
    ListRootsResult,
    PromptReference,
    ResourceTemplateReference,
    SamplingMessage,
    TextContent,
    TextResourceContents,
)
from pydantic import BaseModel, Field

PAUSE_SECONDS: Final = 0.05
RECONNECT_SECONDS: Final = 0.5
"""How long ``test_reconnection`` works on without its client: longer than a client takes to come back."""


# --- Content --------------------------------------------------------------------------------------------------


def _png() -> bytes:
    """One red pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00\xff\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def _wav() -> bytes:
    """A millisecond of silence."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(8000)
        sound.writeframes(bytes(16))
    return file.getvalue()


PNG: Final = _png()
WAV: Final = _wav()


def _embedded(uri: str, mime_type: str, text: str) -> EmbeddedResource:
    return EmbeddedResource(type="resource", resource=TextResourceContents(uri=uri, mime_type=mime_type, text=text))


def _said_by_user(text: str) -> SamplingMessage:
    return SamplingMessage(role="user", content=TextContent(type="text", text=text))


# --- A tool whose input schema is given, not derived ------------------------------------------------------------

JSON_SCHEMA_2020_12: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def _contact(name: str = "", phone: str = "", email: str = "") -> str:
    """A contact's line in an address book."""
    return f"{name} <{email or phone}>"


_contact_tool = Tool.from_function(_contact, name="json_schema_2020_12_tool")
_contact_tool.parameters = JSON_SCHEMA_2020_12


async def log_listings(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
    """Log each listing of tools, up to 2025-11-25. The suite checks streams that are open side by side by listing
    tools three times at once, and an answer that nothing precedes may be plain JSON, which leaves it none to check."""
    if ctx.method == "tools/list":
        await ctx.session.send_log_message("debug", "listing the tools", related_request_id=ctx.request_id)
    return await call_next(ctx)


# The tool given here is listed first. It can be called without arguments, as the suite's header scenarios call
# whatever is first.
mcp = MCPServer("conformance", title="Conformance", version="1.0.0", tools=[_contact_tool], middleware=[log_listings])


# --- Tools that answer at once ----------------------------------------------------------------------------------


@mcp.tool()
def test_simple_text() -> str:
    """Answers with a text."""
    return "This is a simple text response for testing."


@mcp.tool(structured_output=False)
def test_image_content() -> Image:
    """Answers with an image."""
    return Image(data=PNG, format="png")


@mcp.tool(structured_output=False)
def test_audio_content() -> Audio:
    """Answers with a sound."""
    return Audio(data=WAV, format="wav")


@mcp.tool(structured_output=False)
def test_embedded_resource() -> EmbeddedResource:
    """Answers with a resource in the result itself."""
    return _embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")


@mcp.tool(structured_output=False)
def test_multiple_content_types() -> list[Any]:
    """Answers with a text, an image and a resource."""
    return [
        "Multiple content types test:",
        Image(data=PNG, format="png"),
        _embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}'),
    ]


@mcp.tool()
def test_error_handling() -> str:
    """Fails, and says so in its result."""
    raise ToolError("This tool intentionally returns an error for testing")


@mcp.tool()
def test_x_mcp_header(region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})]) -> str:
    """Has an argument that the client repeats in a header."""
    return region


# --- Tools that emit while they run -----------------------------------------------------------------------------


@mcp.tool()
async def test_tool_with_logging(ctx: Context) -> str:
    """Logs three times at level info."""
    await ctx.info("Tool execution started")
    await anyio.sleep(PAUSE_SECONDS)
    await ctx.info("Tool processing data")
    await anyio.sleep(PAUSE_SECONDS)
    await ctx.info("Tool execution completed")
    return "logged three times"


@mcp.tool()
async def test_logging_tool(ctx: Context) -> str:
    """Logs once at each of two levels; a client that asked for none gets neither."""
    await ctx.info("for information")
    await ctx.error("an error")
    return "logged twice"


@mcp.tool()
async def test_tool_with_progress(ctx: Context) -> str:
    """Reports its progress, to a client that asked for it."""
    for done in (0, 50, 100):
        await ctx.report_progress(done, 100, f"{done} of 100")
        await anyio.sleep(PAUSE_SECONDS)
    return "reported three times"


@mcp.tool()
async def test_reconnection(ctx: Context) -> str:
    """Sends its client away and works on; the rest is there when the client comes back."""
    await ctx.info("before the stream was closed")
    await ctx.close_sse_stream()
    await anyio.sleep(RECONNECT_SECONDS)
    await ctx.info("after the stream was closed")
    return "finished without the client"


# A change of either list is undone before it is announced: a list belongs to a process, so one that lasted would be
# seen on one worker alone. The announcement is what must reach every worker.


@mcp.tool()
async def test_trigger_tool_change(ctx: Context) -> str:
    """Changes the list of tools and announces it."""
    mcp.add_tool(_contact, name="test_passing_tool")
    mcp.remove_tool("test_passing_tool")
    await ctx.notify_tools_changed()
    return "announced"


@mcp.tool()
async def test_trigger_prompt_change(ctx: Context) -> str:
    """Changes the list of prompts and announces it."""
    mcp.add_prompt(Prompt.from_function(test_simple_prompt, name="test_passing_prompt"))
    mcp.remove_prompt("test_passing_prompt")
    await ctx.notify_prompts_changed()
    return "announced"


# --- Tools that ask the client in the middle of a call ------------------------------------------------------------


class Person(BaseModel):
    username: str = Field(description="User's response")
    email: str = Field(description="User's email address")


class Defaults(BaseModel):
    """One field of each primitive type, each with a default."""

    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: Annotated[str, Field(json_schema_extra={"enum": ["active", "inactive", "pending"]})] = "active"
    verified: bool = True


def _titled(*values: str) -> list[dict[str, str]]:
    return [{"const": value, "title": value.capitalize()} for value in values]


class Choices(BaseModel):
    """Every way to write a choice; the names are the suite's."""

    untitledSingle: Annotated[str, Field(json_schema_extra={"enum": ["option1", "option2"]})]
    titledSingle: Annotated[str, Field(json_schema_extra={"oneOf": _titled("value1", "value2")})]
    legacyEnum: Annotated[
        str, Field(json_schema_extra={"enum": ["opt1", "opt2"], "enumNames": ["Option one", "Option two"]})
    ]
    untitledMulti: Annotated[
        list[str], Field(json_schema_extra={"items": {"type": "string", "enum": ["option1", "option2"]}})
    ]
    titledMulti: Annotated[list[str], Field(json_schema_extra={"items": {"anyOf": _titled("value1", "value2")}})]


async def _elicited(ctx: Context, message: str, schema: type[BaseModel]) -> str:
    """What the user did, and with what."""
    outcome = await ctx.elicit(message, schema)
    content = outcome.data.model_dump_json() if outcome.action == "accept" else "{}"
    return f"action={outcome.action}, content={content}"


@mcp.tool()
async def test_elicitation(message: str, ctx: Context) -> str:
    """Asks the user who they are."""
    return f"User response: {await _elicited(ctx, message, Person)}"


@mcp.tool()
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    """Asks the user with an answer already filled in."""
    return f"Elicitation completed: {await _elicited(ctx, 'Is this right?', Defaults)}"


@mcp.tool()
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    """Asks the user to choose."""
    return f"Elicitation completed: {await _elicited(ctx, 'Which ones?', Choices)}"


@mcp.tool()
async def test_sampling(prompt: str, ctx: Context) -> str:
    """Asks the client's model."""
    answer = await ctx.session.create_message(
        [_said_by_user(prompt)], max_tokens=100, related_request_id=ctx.request_id
    )
    return f"LLM response: {getattr(answer.content, 'text', '')}"


# --- Tools whose questions are dependencies: asked in the middle of a call, or, from 2026-07-28 on, between calls ----


def _ask_who() -> Elicit[Person]:
    return Elicit("Who are you?", Person)


def _ask_model() -> Sample:
    return Sample([_said_by_user("Say hello.")], max_tokens=50)


@mcp.tool()
async def test_streaming_elicitation(person: Annotated[Person, Resolve(_ask_who)]) -> str:
    """Greets whoever calls."""
    return f"Hello, {person.username}!"


@mcp.tool()
async def test_missing_capability(answer: Annotated[CreateMessageResult, Resolve(_ask_model)]) -> str:
    """Needs a model, so only a client that has one to offer can call it."""
    return str(getattr(answer.content, "text", ""))


# --- Questions between calls, put by hand (2026-07-28) ------------------------------------------------------------


def _form(message: str, field: str, kind: str = "string") -> ElicitRequest:
    """A form of one field."""
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return ElicitRequest(params=ElicitRequestFormParams(message=message, requested_schema=schema))


def _prompted(text: str, max_tokens: int) -> CreateMessageRequest:
    return CreateMessageRequest(
        params=CreateMessageRequestParams(messages=[_said_by_user(text)], max_tokens=max_tokens)
    )


def _filled_in(ctx: Context, question: str, field: str) -> Any:
    """What the user entered into a form's field, or ``None``."""
    answer = (ctx.input_responses or {}).get(question)
    if not isinstance(answer, ElicitResult) or answer.action != "accept":
        return None
    return (answer.content or {}).get(field)


@mcp.tool()
async def test_input_required_result_elicitation(ctx: Context) -> str | InputRequiredResult:
    """Asks for a name."""
    name = _filled_in(ctx, "user_name", "name")
    if name is None:
        return InputRequiredResult(input_requests={"user_name": _form("What is your name?", "name")})
    return f"Hello, {name}!"


@mcp.tool()
async def test_input_required_result_sampling(ctx: Context) -> str | InputRequiredResult:
    """Asks the client's model."""
    answer = (ctx.input_responses or {}).get("capital_question")
    if not isinstance(answer, CreateMessageResult):
        question = _prompted("What is the capital of France?", 100)
        return InputRequiredResult(input_requests={"capital_question": question})
    return str(getattr(answer.content, "text", ""))


@mcp.tool()
async def test_input_required_result_list_roots(ctx: Context) -> str | InputRequiredResult:
    """Asks for the client's roots."""
    answer = (ctx.input_responses or {}).get("client_roots")
    if not isinstance(answer, ListRootsResult):
        return InputRequiredResult(input_requests={"client_roots": ListRootsRequest()})
    return ", ".join(str(root.uri) for root in answer.roots)


@mcp.tool()
async def test_input_required_result_request_state(ctx: Context) -> str | InputRequiredResult:
    """Asks for a confirmation of what it remembers."""
    if ctx.request_state != "to be confirmed" or not _filled_in(ctx, "confirm", "ok"):
        confirm = _form("Please confirm", "ok", "boolean")
        return InputRequiredResult(input_requests={"confirm": confirm}, request_state="to be confirmed")
    return "state-ok"


@mcp.tool()
async def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequiredResult:
    """Remembers something that the client must not change."""
    if ctx.request_state is None:
        confirm = _form("Please confirm", "ok", "boolean")
        return InputRequiredResult(input_requests={"confirm": confirm}, request_state="mine")
    return f"state-ok: {ctx.request_state}"


@mcp.tool()
async def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequiredResult:
    """Asks the user, the model and the client at once."""
    questions: dict[str, InputRequest] = {
        "user_name": _form("What is your name?", "name"),
        "greeting": _prompted("Generate a greeting", 50),
        "client_roots": ListRootsRequest(),
    }
    if not questions.keys() <= (ctx.input_responses or {}).keys():
        return InputRequiredResult(input_requests=questions, request_state="three questions")
    return f"Hello, {_filled_in(ctx, 'user_name', 'name')}!"


@mcp.tool()
async def test_input_required_result_multi_round(ctx: Context) -> str | InputRequiredResult:
    """Asks for a name, then for a colour; what is known so far travels with the client."""
    known: dict[str, Any] = json.loads(ctx.request_state) if ctx.request_state else {}
    for question, field, message in (
        ("step1", "name", "Step 1: What is your name?"),
        ("step2", "color", "Step 2: What is your favorite color?"),
    ):
        known.setdefault(field, _filled_in(ctx, question, field))
        if known[field] is None:
            del known[field]
            return InputRequiredResult(
                input_requests={question: _form(message, field)}, request_state=json.dumps(known)
            )
    return f"{known['name']} likes {known['color']}."


@mcp.tool()
async def test_input_required_result_capabilities(ctx: Context) -> str | InputRequiredResult:
    """Asks only what the client can answer."""
    declared = ctx.client_capabilities
    questions: dict[str, InputRequest] = {}
    if declared and declared.sampling is not None:
        questions["greeting"] = _prompted("Generate a greeting", 50)
    if declared and declared.elicitation is not None:
        questions["user_name"] = _form("What is your name?", "name")
    return InputRequiredResult(input_requests=questions) if questions else "nothing to ask"


# --- Resources ----------------------------------------------------------------------------------------------------


@mcp.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    """A text."""
    return "This is the content of the static text resource."


@mcp.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    """An image."""
    return PNG


@mcp.resource("test://template/{id}/data", mime_type="application/json")
def template_data(id: str) -> str:
    """Whatever the URI names."""
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@mcp.resource("test://watched-resource", mime_type="text/plain")
def watched() -> str:
    """A text to subscribe to."""
    return "watched"


# --- Prompts ------------------------------------------------------------------------------------------------------


@mcp.prompt()
def test_simple_prompt() -> str:
    """A prompt without arguments."""
    return "This is a simple prompt for testing."


@mcp.prompt()
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    """A prompt with two arguments."""
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@mcp.prompt()
def test_prompt_with_embedded_resource(resourceUri: str) -> list[UserMessage]:
    """A prompt about a resource."""
    resource = _embedded(resourceUri, "text/plain", "Embedded resource content for testing.")
    return [UserMessage(resource), UserMessage("Please process the embedded resource above.")]


@mcp.prompt()
def test_prompt_with_image() -> list[UserMessage]:
    """A prompt about an image."""
    return [UserMessage(Image(data=PNG, format="png")), UserMessage("Please analyze the image above.")]


@mcp.prompt()
async def test_input_required_result_prompt(ctx: Context) -> str | InputRequiredResult:
    """A prompt that asks for its context first."""
    context = _filled_in(ctx, "user_context", "context")
    if context is None:
        question = _form("What context should the prompt use?", "context")
        return InputRequiredResult(input_requests={"user_context": question})
    return f"Use this context: {context}"


@mcp.completion()  # type: ignore[no-untyped-call, untyped-decorator]
async def complete(
    ref: PromptReference | ResourceTemplateReference, argument: CompletionArgument, context: CompletionContext | None
) -> Completion:
    """Words that begin with what was typed."""
    words = [word for word in ("paris", "park", "party", "test", "testing") if word.startswith(argument.value)]
    return Completion(values=words, total=len(words), has_more=False)
