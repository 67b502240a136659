"""The page of the settings: ``docs/settings.md``, and each variable's type and default from the code that reads it.

The page's tables are where a setting is described; ``tests/docs`` holds that they name each variable and its default.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.image import entrypoint
from docs_site.markdown import ROOT, code, table
from mcpsite.endpoint.conf import EndpointSettings
from sessions_dynamo.conf import AWS_VARIABLES, AppSettings

PAGE: Final = ROOT / "docs" / "settings.md"
SITE: Final = ROOT / "mcpsite" / "settings.py"
GUNICORN: Final = ROOT / "gunicorn.conf.py"

_TYPES: Final = {
    "bool": "`true` or `false`",
    "int": "whole number",
    "float": "number",
    "str": "text",
    "list": "list, by commas",
    "db_url": "URL",
}
_UNITS: Final = {
    "_HOURS": "hours",
    "_MINUTES": "minutes",
    "_SECONDS": "seconds",
    "_MS": "milliseconds",
    "_BYTES": "bytes",
}


@dataclass(frozen=True, slots=True)
class Variable:
    """A variable of the environment, as the code that reads it has it."""

    name: str
    kind: str
    """The name of its Python type; empty where the code does not say."""
    default: str | None = None
    """As it would be written; ``None`` where it depends on other settings, or there is none."""
    alias_of: str = ""
    is_setting: bool = False
    """Whether a project of one's own sets it by a Django setting of this name."""

    @property
    def type(self) -> str:
        """In words, with the unit that its name has."""
        unit = next((unit for end, unit in _UNITS.items() if self.name.endswith(end)), "")
        words = _TYPES.get(self.kind, "")
        return f"{words} of {unit}" if words and unit else words


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the page's tables."""

    name: str
    default: str
    meaning: str


def variables() -> dict[str, Variable]:
    """Every variable that this code reads, or leaves to boto3, by its name."""
    found: dict[str, Variable] = {}
    for setting in (*AppSettings.declared(), *EndpointSettings.declared()):
        for name in setting.variables:
            alias_of = "" if name == setting.name else setting.name
            default = None if alias_of or setting.derived else written(setting.default)
            found[name] = Variable(name, setting.cast.__name__, default, alias_of, is_setting=not alias_of)
    read = [*read_by(SITE), *read_by(GUNICORN), *read_by(ROOT / "sessions_dynamo" / "conf.py")]
    read += [Variable(name, "str") for name in (*AWS_VARIABLES, entrypoint.VARIABLE)]
    for variable in read:
        if variable.name not in found or not found[variable.name].kind:
            found[variable.name] = variable
    return found


def written(value: Any) -> str:
    """A default as one would write it into the environment."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}" if value % 1 else f"{value:.0f}"
    if value is None:
        return ""
    return ",".join(value) if isinstance(value, (list, tuple)) else str(value)


def read_by(path: Path) -> Iterator[Variable]:
    """The variables that a module names: ``env.str("X")``, ``os.environ.get("X") or "2"`` and the like."""
    tree = ast.parse(path.read_text())
    casts = {
        id(inner): node.func.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "int"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        if how := re.fullmatch(r"env\.(\w+)|os\.environ\.get|os\.getenv", ast.unparse(node.func)):
            kind = casts.get(id(node)) or (how[1] or "")
            yield Variable(str(node.args[0].value), kind)


def described() -> dict[str, Row]:
    """The page's rows, by the variable."""
    rows = re.findall(r"^\| `([A-Z_0-9]+)` \|([^|]*)\|(.*)\|$", PAGE.read_text(), re.MULTILINE)
    return {name: Row(name, default.strip(), meaning.strip()) for name, default, meaning in rows}


def text() -> str:
    """The page, in Markdown: its tables have each variable's type besides, and an anchor."""
    known = variables()
    parts = re.split(r"((?:^\|.*\n)+)", PAGE.read_text(), flags=re.MULTILINE)
    return "".join(_typed(part, known) if part.startswith("|") else part for part in parts)


def _typed(part: str, known: dict[str, Variable]) -> str:
    names = re.findall(r"^\| `([A-Z_0-9]+)` \|", part, re.MULTILINE)
    return table(("variable", "type", "default", "meaning"), [_row(known[name]) for name in names])


def _row(variable: Variable) -> tuple[str, str, str, str]:
    row = described()[variable.name]
    default = code(variable.default) if variable.default is not None else row.default
    return f'<span id="{variable.name}"></span>`{variable.name}`', variable.type, default, row.meaning
