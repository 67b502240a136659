"""Writes down every AWS call of this process and of its children: which code made it, and on what; never a value.

It imports the standard library alone: a child process loads it by its path, before anything else.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from subprocess import Popen
from types import CodeType, FrameType, ModuleType
from typing import Any, Final

DIRECTORY_VARIABLE: Final = "IAM_CALLS_DIRECTORY"
"""Tells a child where to write."""
CHILD_PATH: Final = str(Path(__file__).parent / "child")
"""On a child's PYTHONPATH: its ``sitecustomize`` starts the recorder there."""

PROJECT: Final = ("sessions_dynamo.", "mcpsite.")
TESTS: Final = "tests."
PLANE: Final = "sessions_dynamo.dataplane.plane"
TABLE_NAMES: Final = {
    "DYNAMODB_SESSIONS_TABLE": "mcp-sessions",
    "DYNAMODB_EVENTS_TABLE": "mcp-session-events",
}
"""A test's own tables are written down under the names that the policies know."""

_NAMING: Final = (
    "TableName",
    "IndexName",
    "SourceTableName",
    "TargetTableName",
    "ResourceArn",
    "BackupArn",
    "Namespace",
    "ServiceNamespace",
    "ResourceId",
)

MAX_STACKS: Final = 4
Stacks = tuple[tuple[str, ...], ...]

_names: dict[CodeType, str] = {}
_seen: set[tuple[object, ...]] = set()
_given = threading.local()
_hearing: list[object] = []
"""Kept: what nobody holds ends."""
_directory: Path | None = None


def start(directory: Path) -> None:
    """Record into this directory from now on, here and in every process that is started from here."""
    os.environ[DIRECTORY_VARIABLE] = str(directory)
    os.environ["PYTHONPATH"] = _child_path(os.environ)
    _reach_children()
    install(directory)


def install(directory: Path) -> None:
    """Record into this directory from now on, in this process."""
    global _directory
    _directory = directory
    _reach_threads()
    for name, watch in _WATCHES.items():
        if module := sys.modules.get(name):
            watch(module)
        else:
            sys.meta_path.insert(0, _WhenImported(name, watch))


def read(directory: Path) -> Iterator[dict[str, Any]]:
    """What was recorded, each different call once or a few times."""
    for path in sorted(directory.glob("*.jsonl")):
        with path.open() as lines:
            yield from (json.loads(line) for line in lines)


# --- Calls ----------------------------------------------------------------------------------------------------


class _WhenImported(importlib.abc.MetaPathFinder):
    """Leaves processes that never import a module alone."""

    def __init__(self, name: str, watch: Callable[[Any], None]) -> None:
        self._name = name
        self._watch = watch

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec and spec.loader:
            execute = spec.loader.exec_module

            def execute_and_watch(module: ModuleType) -> None:
                execute(module)
                self._watch(module)

            spec.loader.exec_module = execute_and_watch  # type: ignore[method-assign]
        return spec


def _watch_clients(module: Any) -> None:
    """boto3's, by ``botocore.client``."""
    ask = module.BaseClient._make_api_call

    def recorded(client: Any, operation: str, parameters: Any) -> Any:
        caller = _caller_of_client(sys._getframe(1))
        # A role that somebody's profile assumes: no policy of ours has it.
        if not caller or caller.f_globals.get("__name__") != "botocore.credentials":
            meta = client.meta
            _record(caller, meta.service_model.service_name, operation, meta.region_name, parameters)
        return ask(client, operation, parameters)

    module.BaseClient._make_api_call = recorded


def _watch_planes(module: Any) -> None:
    """What goes to DynamoDB on event loops, by ``sessions_dynamo.dataplane.observers``."""

    def recorded(asked: Any) -> None:
        caller: FrameType | None = sys._getframe(1)
        while caller and caller.f_globals.get("__name__") == PLANE:
            caller = caller.f_back
        _record(caller, "dynamodb", asked.action, asked.region, asked.parameters)

    hearing = module.on_request(recorded)
    hearing.__enter__()
    _hearing.append(hearing)


def _record(caller: FrameType | None, service: str, operation: str, region: str, parameters: Any) -> None:
    callers = _callers(caller)
    if _directory is None or (callers and callers[-1].startswith(TESTS)):
        return
    stacks = _stacks(callers)
    if not stacks:
        return
    named = json.dumps(_named(parameters), sort_keys=True)
    key = (stacks, service, operation, region, named)
    if key in _seen:
        return
    _seen.add(key)
    line = dict(zip(("stacks", "service", "operation", "region"), key, strict=False)) | {"named": json.loads(named)}
    with (_directory / f"{os.getpid()}.jsonl").open("a") as file:
        file.write(json.dumps(line) + "\n")


def _caller_of_client(frame: FrameType | None) -> FrameType | None:
    """The frame that called the client's method: a test's own layer round ``_make_api_call`` is none."""
    inside = frame
    while inside and inside.f_code.co_name != "_api_call":
        inside = inside.f_back
    return (inside or frame).f_back if inside or frame else None  # type: ignore[union-attr]


def _callers(frame: FrameType | None) -> list[str]:
    """The frames of this project and of its tests, outermost first, as ``module:function``."""
    found: list[str] = []
    while frame:
        code = frame.f_code
        name = _names.get(code)
        if name is None:
            module = str(frame.f_globals.get("__name__"))
            ours = module.startswith((*PROJECT, TESTS)) and not module.startswith("tests.iam.")
            name = _names[code] = f"{module}:{code.co_qualname}" if ours else ""
        if name:
            found.append(name)
        frame = frame.f_back
    return found[::-1]


def _named(parameters: Any) -> dict[str, Any]:
    """What a request names: tables, indexes, ARNs, and the kinds of thing that need permissions of their own."""
    if not isinstance(parameters, Mapping):
        return {}
    named: dict[str, Any] = {name: str(parameters[name]) for name in _NAMING if name in parameters}
    if isinstance(items := parameters.get("RequestItems"), Mapping):
        named["Tables"] = sorted(items)
    if isinstance(items := parameters.get("TransactItems"), Sequence):
        named["Transaction"] = sorted({(kind, parts["TableName"]) for item in items for kind, parts in item.items()})
    if isinstance(updates := parameters.get("ReplicaUpdates"), Sequence):
        named["Replicas"] = sorted((kind, parts["RegionName"]) for item in updates for kind, parts in item.items())
    if parameters.get("Tags"):
        named["Tags"] = True
    if isinstance(key := parameters.get("SSESpecification"), Mapping) and key.get("Enabled"):
        named["Key"] = True
    deployed: dict[str, Any] = _with_deployed_names(named)
    return deployed


def _with_deployed_names(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_deployed_names(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_with_deployed_names(item) for item in value]
    if isinstance(value, str):
        for here, deployed in _tables_here():
            if value.startswith(here):
                return deployed + value.removeprefix(here)
            value = value.replace(f"table/{here}", f"table/{deployed}")
    return value


def _tables_here() -> Iterator[tuple[str, str]]:
    conf = sys.modules.get("django.conf")
    for setting, deployed in TABLE_NAMES.items():
        if conf and conf.settings.configured and (here := getattr(conf.settings, setting, "")):
            yield here, deployed


# --- Threads and processes ------------------------------------------------------------------------------------


def _stacks(callers: Iterable[str]) -> Stacks:
    """The project's frames of this thread, then of whoever gave it this work or began it, and so on."""
    own = tuple(name for name in callers if not name.startswith(TESTS))
    before: Stacks = getattr(_given, "stacks", ()) or getattr(threading.current_thread(), "aws_callers", ())
    return ((own, *before) if own else before)[:MAX_STACKS]


def _reach_threads() -> None:
    submit, begin = ThreadPoolExecutor.submit, threading.Thread.start

    def submit_with_callers(pool: ThreadPoolExecutor, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        stacks = _stacks(_callers(sys._getframe(1)))
        return submit(pool, partial(_work, stacks, work) if stacks else work, *args, **kwargs)

    def begin_with_callers(thread: threading.Thread) -> None:
        thread.aws_callers = _stacks(_callers(sys._getframe(1)))  # type: ignore[attr-defined]
        begin(thread)

    ThreadPoolExecutor.submit = submit_with_callers  # type: ignore[assignment,method-assign]
    threading.Thread.start = begin_with_callers  # type: ignore[assignment,method-assign]


def _watch_anyio(module: Any) -> None:
    """AnyIO's threads have a queue of their own, by ``anyio.to_thread``."""
    run = module.run_sync

    def run_with_callers(work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Awaitable[Any]:
        stacks = _stacks(_callers(sys._getframe(1)))
        answer: Awaitable[Any] = run(partial(_work, stacks, work) if stacks else work, *args, **kwargs)
        return answer

    module.run_sync = run_with_callers


def _work(stacks: Stacks, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    _given.stacks = stacks
    try:
        return work(*args, **kwargs)
    finally:
        _given.stacks = ()


def _reach_children() -> None:
    """Most tests give a child an environment of its own: what the recorder needs is added to it."""
    begin: Any = Popen.__init__

    def begin_with_recorder(process: Any, *args: Any, env: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        if env is not None:
            env = {**env, "PYTHONPATH": _child_path(env), DIRECTORY_VARIABLE: os.environ[DIRECTORY_VARIABLE]}
        begin(process, *args, env=env, **kwargs)

    Popen.__init__ = begin_with_recorder  # type: ignore[assignment,method-assign]


def _child_path(env: Mapping[str, str]) -> str:
    paths = env.get("PYTHONPATH", "").split(os.pathsep)
    return os.pathsep.join([CHILD_PATH, *(path for path in paths if path not in ("", CHILD_PATH))])


_WATCHES: Final[Mapping[str, Callable[[Any], None]]] = {
    "anyio.to_thread": _watch_anyio,
    "botocore.client": _watch_clients,
    "sessions_dynamo.dataplane.observers": _watch_planes,
}
