"""Notes for a team: each member's own in every client, and what a conversation jots down until somebody keeps it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from mcp.server.mcpserver import MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import Field
from typing_extensions import TypedDict

from mcpsite.endpoint.tools import Session, current_session, user_session

mcp = MCPServer(
    "team-notes",
    instructions=(
        "Jot down what comes up with jot; it belongs to this conversation. What the user wants to find again, in any"
        " client, goes to write_note, or to keep_jottings at the end."
    ),
)

Member = Annotated[Session, Resolve(user_session)]
"""Whoever signed in: the same in every conversation, client and revision of the protocol."""
Conversation = Annotated[Session, Resolve(current_session)]
"""This conversation alone."""
Text = Annotated[str, Field(min_length=1, max_length=10_000, description="The note, in Markdown.")]
Tag = Annotated[str, Field(min_length=1, max_length=40)]

# A note has a key of its own: two clients that write at once then change two keys, and neither fails.
PREFIX = "note."


class Note(TypedDict):
    """A note of a member's; ``written_at`` is ISO 8601, in UTC."""

    number: int
    text: str
    tags: list[str]
    written_at: str


class Notes(TypedDict):
    """Notes, the oldest first."""

    notes: list[Note]


class Jottings(TypedDict):
    """What this conversation has jotted down."""

    jottings: list[str]


async def add(member: Session, text: str, tags: list[str]) -> Note:
    """Puts a note among a member's; saved when the tool's call succeeds."""
    number = await member.aincr("notes")
    note = Note(number=number, text=text, tags=tags, written_at=datetime.now(UTC).isoformat())
    member.state[f"{PREFIX}{number}"] = note
    return note


@mcp.tool()
async def write_note(text: Text, member: Member, tags: list[Tag] | None = None) -> Note:
    """Write a note for the user. It is there in every client that they sign in with."""
    return await add(member, text, tags or [])


@mcp.tool()
async def list_notes(member: Member, tag: Tag | None = None) -> Notes:
    """The user's notes, all of them or those with a tag."""
    keys = sorted((key for key in member.state if key.startswith(PREFIX)), key=lambda key: int(key[len(PREFIX) :]))
    notes: list[Note] = [await member.aget(key) for key in keys]
    return Notes(notes=[note for note in notes if tag is None or tag in note["tags"]])


@mcp.tool()
async def delete_note(number: int, member: Member) -> str:
    """Delete one of the user's notes by its number."""
    if f"{PREFIX}{number}" not in member.state:
        raise ToolError(f"There is no note {number}: list_notes has the numbers.")
    del member.state[f"{PREFIX}{number}"]
    return f"Note {number} is deleted."


@mcp.tool()
async def jot(text: Text, conversation: Conversation) -> Jottings:
    """Jot something down for the length of this conversation."""
    # Assigned, not appended to: what is changed in place is not noticed.
    conversation.state["jottings"] = [*(await conversation.aget("jottings", [])), text]
    return Jottings(jottings=await conversation.aget("jottings"))


@mcp.tool()
async def keep_jottings(member: Member, conversation: Conversation, tags: list[Tag] | None = None) -> Notes:
    """Make notes of the user's of what this conversation has jotted down."""
    jottings = await conversation.aget("jottings", [])
    if not jottings:
        raise ToolError("Nothing is jotted down in this conversation.")
    notes = [await add(member, text, tags or []) for text in jottings]
    del conversation.state["jottings"]
    return Notes(notes=notes)
