"""``MCP_SERVER`` to a server object: a module's or a file's, made by a function if that is what it names.

What stands there is the author's code, and run as such (``authored``).
"""

from __future__ import annotations

import asyncio
import inspect
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib import import_module, util
from pathlib import Path
from types import ModuleType
from typing import Any

from mcp.server.lowlevel import Server
from mcp.server.mcpserver import MCPServer

from mcpsite.endpoint.server_object.authored import USUAL_NAMES, CannotServe, run_authored


@cache
def load_server(path: str) -> Any:
    """The server object that ``MCP_SERVER`` names, the same one each time: an ``MCPServer``, a low-level ``Server``, or
    FastMCP's. A function that makes one is called once.

    Raises ``CannotServe``.
    """
    place, attribute = _split(path)
    module = _module(place)
    if not attribute:
        return _usual(module, place)
    target = run_authored(partial(_attribute, module, attribute), f"reading {attribute}")
    if target is None:
        raise CannotServe(f"there is no {attribute!r} in {module.__name__}{_offers(module, place)}")
    return target if is_server(target) else _made(target, attribute, module, place)


def is_server(target: object) -> bool:
    """Whether this is a server object of the SDK or of FastMCP."""
    return isinstance(target, MCPServer | Server) or is_fastmcp(target)


def is_fastmcp(target: object) -> bool:
    """Whether this is FastMCP's server object, over the SDK that is served here."""
    # Whoever made one has imported it; nobody else needs to.
    fastmcp = getattr(sys.modules.get("fastmcp.server.server"), "FastMCP", None)
    return fastmcp is not None and isinstance(target, fastmcp) and isinstance(_beneath(target), Server)


def low_level(target: Any) -> Server[Any]:
    """The low-level server of a server object."""
    if isinstance(target, Server):
        return target
    if is_fastmcp(target):
        beneath: Server[Any] = _beneath(target)
        return beneath
    # The public way to an MCPServer's low-level server: its HTTP app's session manager holds it.
    try:
        manager = target.session_manager
    except RuntimeError:
        target.streamable_http_app()
        manager = target.session_manager
    server: Server[Any] = manager.app
    return server


def _beneath(target: Any) -> Any:
    """FastMCP's own clients reach it by this name, the only one it has."""
    return getattr(target, "_mcp_server", None)


def _split(path: str) -> tuple[str, str]:
    """The module or file, and the attribute; empty where none is named."""
    # A drive is no module: C:\\servers\\notes.py:mcp.
    drive, rest = (path[:2], path[2:]) if path[1:3] in (":\\", ":/") else ("", path)
    place, colon, attribute = rest.rpartition(":") if ":" in rest else (rest, "", "")
    if not place or (colon and not attribute):
        raise CannotServe("it is not of the form package.module:attribute")
    return drive + place, attribute


def _is_file(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place


def _module(place: str) -> ModuleType:
    """The module, imported. Raises ``CannotServe``."""
    if not _is_file(place):
        return run_authored(partial(import_module, place), f"importing {place}")
    file = Path(place).expanduser().resolve()
    if not file.is_file():
        raise CannotServe(f"there is no file {file}")
    return run_authored(partial(_import_file, file), f"importing {file}")


def _attribute(module: ModuleType, path: str) -> Any:
    target: Any = module
    for name in path.split("."):
        target = getattr(target, name, None)
    return target


def _import_file(file: Path) -> ModuleType:
    """A file as a module: by its own name where that finds it, so that what it imports may import it too."""
    root = file.parent
    while (root / "__init__.py").is_file():
        root = root.parent
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    if str(file.parent) not in sys.path:
        # A folder that is a package, and whose files import each other as if it were none.
        sys.path.append(str(file.parent))
    name = ".".join(file.relative_to(root).with_suffix("").parts)
    if _is_found(name, file):
        return import_module(name)
    # Another module has that name: an mcp.py would hide the SDK.
    name = f"mcp_server_{name.replace('.', '_')}"
    spec = util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError("it is no Python module")
    module = util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _is_found(name: str, file: Path) -> bool:
    """Whether a module of this name is this file."""
    try:
        spec = util.find_spec(name)
    except ModuleNotFoundError as exc:
        if exc.name is None or not f"{name}.".startswith(f"{exc.name}."):
            raise
        return False
    except ValueError:
        # Python's word for a name that is taken without a file, such as __main__.
        return False
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve() == file


def _usual(module: ModuleType, place: str) -> Any:
    there = {name: getattr(module, name) for name in USUAL_NAMES if hasattr(module, name)}
    for target in there.values():
        if is_server(target):
            return target
    found = "".join(f"; {name} is {_described(target)}" for name, target in there.items())
    raise CannotServe(
        f"no attribute is named after a colon, and in {module.__name__} none of {', '.join(USUAL_NAMES)} is a server"
        f"{found}{_offers(module, place)}"
    )


def _made(target: Any, attribute: str, module: ModuleType, place: str) -> Any:
    """What a function returns, once it is called. Raises ``CannotServe``."""
    if isinstance(target, type) or not callable(target):
        raise CannotServe(f"it is {_described(target)}{_offers(module, place)}")
    if needed := _required(target):
        raise CannotServe(
            f"it is {_described(target)} that needs arguments ({', '.join(needed)}), and is called without any"
        )
    made = run_authored(partial(_call, target), f"calling {attribute}()")
    if not is_server(made):
        raise CannotServe(f"{attribute}() returned {_described(made)}, and not a server object")
    return made


def _call(function: Callable[[], Any]) -> Any:
    made = function()
    if not inspect.iscoroutine(made):
        return made
    # On a loop of its own: an application may be loaded on a loop that runs.
    with ThreadPoolExecutor(1, thread_name_prefix="mcp-server-factory") as thread:
        return thread.submit(asyncio.run, made).result()


def _required(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [one.name for one in parameters if one.default is one.empty and one.kind not in variadic]


def _described(target: object) -> str:
    if isinstance(target, type):
        return f"the class {target.__name__}"
    return f"a {type(target).__name__}"


def _offers(module: ModuleType, place: str) -> str:
    """The servers that are there instead."""
    names = [name for name, value in vars(module).items() if is_server(value)]
    place = place if _is_file(place) else module.__name__
    return f"; what it has: {', '.join(f'MCP_SERVER={place}:{name}' for name in names)}" if names else ""
