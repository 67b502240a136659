"""The clients of the matrix: each with its version, its environment, its driver, and what it has no way to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from tests.clients.environments import Cargo, Go, Maven, Npm, Page, Pip, Recipe


@dataclass(frozen=True, slots=True)
class Client:
    """One row of the table."""

    name: str
    package: str
    version: str
    language: str
    recipe: Recipe
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Steps that it cannot be driven through, with the reason; a driver finds out others by itself."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Environment variables for its driver."""


def _fastmcp(version: str, lacks: Mapping[str, str] | None = None) -> Client:
    recipe = Pip("fastmcp_client.py", (f"fastmcp=={version}",))
    return Client(f"FastMCP {version.split('.')[0]}", "fastmcp", version, "Python", recipe, lacks or {})


def _framework(
    name: str, requirement: str, driver: str, lacks: Mapping[str, str], settings: Mapping[str, str] | None = None
) -> Client:
    package, _, version = requirement.partition("==")
    recipe = Pip(driver, (requirement,))
    return Client(name, package, version, "Python", recipe, lacks, settings or {})


def _typescript(version: str) -> Client:
    line = ".".join(version.split(".")[:2])
    recipe = Npm("node.mjs", (f"@modelcontextprotocol/sdk@{version}",))
    return Client(f"TypeScript SDK {line}", "@modelcontextprotocol/sdk", version, "TypeScript", recipe)


def _typescript_2(mode: str, title: str, lacks: Mapping[str, str]) -> Client:
    package, version = "@modelcontextprotocol/client", "2.4.0"
    recipe = Npm("node_v2.mjs", (f"{package}@{version}",))
    return Client(f"TypeScript SDK 2, {title}", package, version, "TypeScript", recipe, lacks, {"MODE": mode})


def _go(name: str, module: str, version: str, driver: str, mode: str, lacks: Mapping[str, str]) -> Client:
    recipe = Go(driver, f"{module}@v{version}")
    return Client(name, module.removeprefix("github.com/"), version, "Go", recipe, lacks, {"MODE": mode})


def _java(version: str) -> Client:
    lacks = {"cancellation": NO_CANCELLATION}
    return Client(
        f"Java SDK {version}", "io.modelcontextprotocol.sdk:mcp", version, "Java", Maven("Driver", version), lacks
    )


def _rmcp(mode: str, title: str, lacks: Mapping[str, str]) -> Client:
    version = "3.11.0"
    features = '["client", "elicitation", "reqwest", "transport-streamable-http-client-reqwest"]'
    rmcp = f'rmcp = {{ version = "={version}", default-features = false, features = {features} }}'
    others = ('futures = "0.3"', 'serde_json = "1"', 'tokio = { version = "1", features = ["full"] }')
    return Client(
        f"rmcp, {title}", "rmcp", version, "Rust", Cargo("rust/main.rs", (rmcp, *others)), lacks, {"MODE": mode}
    )


GO_SDK: Final = ("github.com/modelcontextprotocol/go-sdk", "1.8.0", "go/sdk.go")
MCP_GO: Final = ("github.com/mark3labs/mcp-go", "1.2.1", "go/mcpgo.go")


def _mcp_remote(version: str) -> Client:
    recipe = Npm("node.mjs", (f"mcp-remote@{version}", "@modelcontextprotocol/sdk@1.32.2"))
    return Client("mcp-remote", "mcp-remote", version, "TypeScript", recipe, {}, {"THROUGH": "mcp-remote"})


NOT_DRIVEN: Final = "the page has it, this matrix does not use it"


def _inspector(version: str) -> Client:
    package = "@modelcontextprotocol/inspector"
    # It wants a newer Node.js than many a system has.
    recipe = Page("inspector_page.py", (f"{package}@{version}", "node@24"))
    steps = ("progress", "logging", "sampling", "roots", "cancellation", "delete_in_flight")
    return Client("Inspector, web page", package, version, "TypeScript", recipe, dict.fromkeys(steps, NOT_DRIVEN))


SESSION_EACH: Final = "it opens and ends a session for each call"
NO_CALLBACK: Final = "it takes no callback for it"
NO_CANCELLATION: Final = "it has no way to cancel a call"
NO_SESSIONS: Final = "2026-07-28 has no sessions to end"


def _python(version: str, *with_: str) -> Client:
    line = ".".join(version.split(".")[:2])
    recipe = Pip("python_legacy.py", (f"mcp=={version}", *with_))
    return Client(f"Python SDK {line}", "mcp", version, "Python", recipe)


def _python_2(mode: str, title: str, lacks: Mapping[str, str]) -> Client:
    recipe = Pip("python_modern.py", ("mcp==2.3.0",))
    return Client(f"Python SDK 2.3, {title}", "mcp", "2.3.0", "Python", recipe, lacks, {"MODE": mode})


CLIENTS: Final[tuple[Client, ...]] = (
    # Both import what later releases of pydantic no longer have.
    _python("1.9.4", "pydantic<2.12"),
    _python("1.13.1", "pydantic<2.12"),
    _python("1.22.0"),
    _python("1.30.0"),
    _python_2("legacy", "with sessions", {}),
    _python_2("auto", "2026-07-28", {"delete": NO_SESSIONS}),
    _fastmcp("2.14.7"),
    _fastmcp("3.4.11"),
    _fastmcp("4.2.3", {"delete": NO_SESSIONS}),
    _typescript("1.12.3"),
    _typescript("1.32.2"),
    _typescript_2("legacy", "with sessions", {}),
    _typescript_2("auto", "2026-07-28", {"delete": NO_SESSIONS}),
    _go("go-sdk, with sessions", *GO_SDK, "legacy", {}),
    _go("go-sdk, 2026-07-28", *GO_SDK, "auto", {"delete": NO_SESSIONS}),
    _java("1.0.2"),
    _java("2.0.1"),
    _java("2.1.0"),
    _go("mcp-go, with sessions", *MCP_GO, "legacy", {"cancellation": "over HTTP it sends none before 2026-07-28"}),
    _go("mcp-go, 2026-07-28", *MCP_GO, "auto", {"delete": NO_SESSIONS}),
    _rmcp("legacy", "with sessions", {}),
    _rmcp("auto", "2026-07-28", {"delete": NO_SESSIONS}),
    _mcp_remote("0.15.1"),
    _inspector("2.12.0"),
    _framework(
        "langchain, session()",
        "langchain-mcp-adapters==0.3.2",
        "langchain_client.py",
        {"cancellation": NO_CANCELLATION},
        {"SESSION": "kept"},
    ),
    _framework(
        "langchain, get_tools()",
        "langchain-mcp-adapters==0.3.2",
        "langchain_client.py",
        {"cancellation": NO_CANCELLATION, "logging": SESSION_EACH, "delete": SESSION_EACH},
        {"SESSION": "each"},
    ),
    _framework(
        "llama-index",
        "llama-index-tools-mcp==0.6.0",
        "llama_index_client.py",
        {
            "logging": NO_CALLBACK,
            "elicitation": NO_CALLBACK,
            "roots": NO_CALLBACK,
            "delete_in_flight": "it has nothing that one could leave",
            "delete": SESSION_EACH,
        },
    ),
    _framework(
        "pydantic-ai",
        "pydantic-ai-slim[mcp]==2.68.0",
        "pydantic_ai_client.py",
        {"roots": NO_CALLBACK, "delete": NO_SESSIONS},
    ),
    _framework(
        "openai-agents",
        "openai-agents==0.24.0",
        "openai_agents_client.py",
        {
            "progress": NO_CALLBACK,
            "logging": NO_CALLBACK,
            "elicitation": NO_CALLBACK,
            "sampling": NO_CALLBACK,
            "roots": NO_CALLBACK,
            "delete": NO_SESSIONS,
        },
    ),
    _framework(
        "google-adk",
        "google-adk[mcp]==2.13.0",
        "google_adk_client.py",
        {"logging": NO_CALLBACK, "roots": NO_CALLBACK},
    ),
    _framework(
        "strands",
        "strands-agents==1.62.0",
        "strands_client.py",
        {"logging": NO_CALLBACK, "sampling": NO_CALLBACK, "roots": NO_CALLBACK, "delete": NO_SESSIONS},
    ),
    _framework(
        "mcp-use",
        "mcp-use==1.7.1",
        "mcp_use_client.py",
        {"progress": NO_CALLBACK, "cancellation": NO_CANCELLATION},
    ),
)
