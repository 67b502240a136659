"""An agent's scratchpad: what it found out and what is left to do, kept for the conversation, cleared by its user."""

from __future__ import annotations

from typing import Annotated

from mcp.server.mcpserver import AcceptedElicitation, Elicit, ElicitationResult, MCPServer, Resolve
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from mcpsite.endpoint.tools import Session, current_session

mcp = MCPServer(
    "scratchpad",
    instructions="Write down what you find out and the steps that are left; read the pad before you go on.",
)

Pad = Annotated[Session, Resolve(current_session)]
Name = Annotated[str, Field(min_length=1, max_length=80, description="What the entry is called.")]
Text = Annotated[str, Field(max_length=20_000)]

# One call changes at most so many keys, and clear takes all of them.
MAX_ENTRIES = 100


class Entries(TypedDict):
    """The pad: each entry's text by its name."""

    entries: dict[str, str]


class Cleared(TypedDict):
    """What became of a clear; ``answer`` is the user's: accept, decline or cancel."""

    cleared: int
    answer: str


class Confirmation(BaseModel):
    """The form that the user sees."""

    clear: bool = Field(description="Clear the scratchpad?")


@mcp.tool()
async def write(name: Name, text: Text, pad: Pad) -> str:
    """Write an entry, in the place of one with the same name."""
    if name not in pad.state and len(pad.state) >= MAX_ENTRIES:
        raise ToolError(f"The pad holds {MAX_ENTRIES} entries: overwrite one, or clear it.")
    pad.state[name] = text
    return f"{name} is written; the pad has {len(pad.state)}."


@mcp.tool()
async def read(pad: Pad) -> Entries:
    """Everything on the pad."""
    return Entries(entries={name: await pad.aget(name) for name in sorted(pad.state)})


async def ask_first(pad: Pad) -> Confirmation | Elicit[Confirmation]:
    """Asks the user, and only where there is something to lose.

    With 2026-07-28 the answer comes with a second call, and this runs again: it asks the same as long as the pad holds
    the same, and anew if it changed meanwhile. So nobody confirms what they have not seen.
    """
    if not pad.state:
        return Confirmation(clear=True)
    names = ", ".join(sorted(pad.state))
    return Elicit(f"The agent wants to clear its scratchpad of {len(pad.state)}: {names}.", Confirmation)


@mcp.tool()
async def clear(pad: Pad, confirmation: Annotated[ElicitationResult[Confirmation], Resolve(ask_first)]) -> Cleared:
    """Clear the pad. The user is asked first, and may say no."""
    if not isinstance(confirmation, AcceptedElicitation):
        return Cleared(cleared=0, answer=confirmation.action)
    names = list(pad.state) if confirmation.data.clear else []
    for name in names:
        del pad.state[name]
    return Cleared(cleared=len(names), answer=confirmation.action)
