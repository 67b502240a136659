"""The SDK's source distribution, fetched when it is asked for, and the server objects in it: nothing is kept here."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from typing import Any, Final

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

FOLDERS: Final = ("docs_src", "examples/snippets/servers", "examples/mcpserver", "examples/stories")
NAMES: Final = ("mcp", "server", "app", "build_server", "make_server", "create_server")
"""What a server object, or what makes one, is called in these files."""

_numbers = count()


class NotFetched(Exception):
    """The source distribution could not be had."""


@dataclass(frozen=True, slots=True)
class Found:
    """A server object in a file of the distribution."""

    root: Path
    file: Path
    attribute: str

    @property
    def name(self) -> str:
        return str(self.file.relative_to(self.root))

    @property
    def setting(self) -> str:
        """As ``MCP_SERVER`` names it."""
        return f"{self.file}:{self.attribute}"

    def again(self) -> MCPServer[Any] | Server[Any]:
        """The server object of a copy of the module."""
        return _server(getattr(_imported(self.file, self.root), self.attribute))


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that has a server in it which is not compared, and why."""

    name: str
    why: str


def fetch(directory: Path) -> Path:
    """The unpacked distribution of the SDK's installed release. Raises ``NotFetched``."""
    release = version("mcp")
    unpacked = directory / f"mcp-{release}"
    if unpacked.is_dir():
        return unpacked
    # An environment of uv's has no pip; uv has no download, but builds nothing where it only resolves.
    environment = directory / "pip"
    commands = (
        [sys.executable, "-m", "venv", str(environment)],
        [
            *(str(environment / "bin" / "pip"), "download", "--quiet", "--no-deps"),
            *("--no-binary", "mcp", "--dest", str(directory), f"mcp=={release}"),
        ],
    )
    for command in commands:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            raise NotFetched(done.stderr.strip()[-500:])
    with tarfile.open(directory / f"mcp-{release}.tar.gz") as archive:
        archive.extractall(directory, filter="data")
    return unpacked


def servers(root: Path, only: Sequence[str] = ()) -> Iterator[Found | LeftOut]:
    """Every server object of the documents and examples, in files whose path has one of the texts, if any are given."""
    for path in (root, root / "examples"):
        if str(path) not in sys.path:
            sys.path.append(str(path))
    for file in sorted(file for folder in FOLDERS for file in (root / folder).rglob("*.py")):
        text, name = file.read_text(), str(file.relative_to(root))
        if "Server(" not in text or (only and not any(one in name for one in only)):
            continue
        if any(word in text for word in ("auth=", "token_verifier=", "auth_server_provider=")):
            yield LeftOut(name, "has auth of its own: 401 from both without a token")
            continue
        try:
            module = _imported(file, root)
        except BaseException as exc:
            if isinstance(exc, KeyboardInterrupt):
                raise
            yield LeftOut(name, f"raises when it is imported: {type(exc).__name__}")
            continue
        for attribute in NAMES:
            try:
                _server(getattr(module, attribute, None))
            except Exception:
                continue
            yield Found(root, file, attribute)
            break
        else:
            yield LeftOut(name, "has no server object by a name")


def _server(target: Any) -> MCPServer[Any] | Server[Any]:
    made = target() if callable(target) and not isinstance(target, type | MCPServer | Server) else target
    if not isinstance(made, MCPServer | Server):
        raise TypeError(f"it is a {type(made).__name__}")
    return made


def _imported(file: Path, root: Path) -> Any:
    """A module of its own, whatever else imported the file."""
    package = file.parent
    parts = [f"{file.stem}_copy{next(_numbers)}"]
    while (package / "__init__.py").is_file() and package not in (root, root / "examples"):
        parts.insert(0, package.name)
        package = package.parent
    name = ".".join(parts)
    spec = spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module = module_from_spec(spec)
    # Annotations are looked up by it.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
