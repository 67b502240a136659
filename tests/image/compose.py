"""``docker-compose.yml``, with its variables and its merges put in as Compose does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

ROOT: Final = Path(__file__).resolve().parents[2]
FILE: Final = ROOT / "docker-compose.yml"
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([?-])([^}]*))?\}")


class VariableMissing(Exception):
    """A variable that Compose asks for with ``${NAME:?what to do}``; the message is what it says."""


def compose(environment: Mapping[str, str], text: str | None = None) -> dict[str, Any]:
    """The file as Compose reads it with these variables. Raises ``VariableMissing``."""

    def found(match: re.Match[str]) -> str:
        name, kind, rest = match.groups()
        if environment.get(name) or kind is None:
            return environment[name]
        if kind == "?":
            raise VariableMissing(rest)
        return str(rest)

    read: dict[str, Any] = yaml.safe_load(_VARIABLE.sub(found, FILE.read_text() if text is None else text))
    return read
