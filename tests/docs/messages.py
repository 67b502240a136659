"""What the code can say, read from its source: its texts, its checks' ids, and the HTTP statuses of its answers."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Final

from mcp.shared.inbound import ERROR_CODE_HTTP_STATUS

from tests.conformance.processes import ROOT

PACKAGES: Final = ("mcpsite", "sessions_dynamo")
GAP: Final = "…"
"""In the place of what a text is filled with."""
_SERVING: Final = (
    "mcpsite/aws_lambda",
    "mcpsite/door",
    "mcpsite/endpoint",
    "mcpsite/error_pages.py",
    "mcpsite/health.py",
    "sessions_dynamo/asgi_server",
)
"""What answers requests of clients."""
_CHECK_ID: Final = re.compile(r"(?:mcp_endpoint|sessions_dynamo)\.[EW]\d{3}")


def modules(*places: str) -> Iterator[ast.Module]:
    """The syntax trees of packages and modules, by their paths; of those that are there."""
    for place in places:
        path = ROOT / place
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path] if path.is_file() else []:
            yield ast.parse(file.read_text())


def texts() -> list[str]:
    """Every text in the code, joined as Python joins it, with a gap for each value."""
    return [text for tree in modules(*PACKAGES) for node in ast.walk(tree) if (text := text_of(node))]


def text_of(node: ast.AST) -> str:
    """The text of a literal; empty for anything else."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(text_of(value) or GAP for value in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return f"{text_of(left) or GAP}{text_of(right) or GAP}"
    return ""


def check_ids() -> set[str]:
    """The ids of the system checks."""
    return {id_ for text in texts() for id_ in _CHECK_ID.findall(text)}


def statuses() -> set[int]:
    """The statuses from 400 on that the endpoint, health and the server under them answer with."""
    found = {status for status in ERROR_CODE_HTTP_STATUS.values() if status >= HTTPStatus.BAD_REQUEST}
    for tree in modules(*_SERVING):
        for node in ast.walk(tree):
            match node:
                case ast.Attribute(value=ast.Name(id="HTTPStatus"), attr=name):
                    found.add(HTTPStatus[name])
                case ast.Call(func=ast.Name(id="error_answer"), args=[ast.Constant(value=int(status)), *_]):
                    found.add(status)
                case ast.keyword(arg="status" | "status_code", value=ast.Constant(value=int(status))):
                    found.add(status)
    return {int(status) for status in found if status >= HTTPStatus.BAD_REQUEST}


RAISED: Final = frozenset(
    {
        "AccessDenied",
        "ArgumentTypeError",
        "CannotChange",
        "BackupFailed",
        "BackupNotFound",
        "CannotServe",
        "CommandError",
        "CommandFailed",
        "CredentialsMissing",
        "DeletionProtected",
        "EventTooLarge",
        "ExportDamaged",
        "ExportTruncated",
        "FolderInUse",
        "ForeignTable",
        "ImportStopped",
        "IndexMissing",
        "InvalidDeclaration",
        "InvalidMessage",
        "InvalidState",
        "MalformedEvent",
        "RestoreRefused",
        "SessionNotFound",
        "StateConflict",
        "StateTooLarge",
        "StorageUnavailable",
        "StreamNeeded",
        "TableMissing",
        "ToolError",
        "Unsupported",
        "UnusableKey",
        "_damaged",
        "error_answer",
        "interrupted",
        "sentence",
    }
)
"""What is called with a text that somebody reads."""


def messages() -> dict[str, str]:
    """The texts of refusals and errors, each with the module that has it first."""
    found: dict[str, str] = {}
    for package in PACKAGES:
        for file in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call) and _name(node.func) in RAISED:
                    for text in filter(None, map(text_of, node.args)):
                        found.setdefault(text, Path(file).relative_to(ROOT).as_posix())
    return found


def _name(function: ast.expr) -> str:
    return ast.unparse(function).rpartition(".")[2]


PAGE: Final = ROOT / "docs" / "troubleshooting.md"


def normal(text: str) -> str:
    """A text's first line with one gap for whatever fills it, ``%s`` and two gaps side by side included."""
    text = re.sub(r"%(?:\.\d+)?[sdgrf]", GAP, text.partition("\n")[0].strip())
    return re.sub(rf"{GAP}+", GAP, text)


def rows(heading: str) -> list[list[str]]:
    """The cells of the page's tables whose first column has this heading."""
    page = PAGE.read_text()
    tables = re.findall(rf"^\| {heading} \|[^\n]*\n\|[-|]+\|\n((?:\|[^\n]*\n)+)", page, re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for table in tables for line in table.splitlines()]


def quoted() -> list[str]:
    """The messages that the page quotes, those of checks among them, each ``normal``."""
    cells = [row[0] for row in rows("message")] + [row[1] for row in rows("check")]
    other = [cell for cell in cells if not re.fullmatch("`[^`]+`", cell)]
    assert not other, f"no message: {other}"
    return [normal(cell.strip("`")) for cell in cells]


def missing() -> dict[str, str]:
    """The code's messages that the page does not quote, each with the module that has it first."""
    there = set(quoted())
    return {text: place for text, place in messages().items() if normal(text).strip(GAP) and normal(text) not in there}


if __name__ == "__main__":
    for text, place in missing().items():
        print(f"{place}:\n| `{normal(text)}` | |")
