"""Which role makes a call: told by the outermost frame of this project, as far as it says anything.

A thread's frames are those of its work; where that is a part of the library, whoever gave it the work decides.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

SERVE: Final = "serve"
OPERATE: Final = "operate"
READ_ONLY: Final = "read-only"
SCHEDULE: Final = "schedule"
BACKUP: Final = "backup"
ROLES: Final = (SERVE, OPERATE, READ_ONLY, SCHEDULE, BACKUP)

Roles = tuple[str, ...]

SAYS_NOTHING: Final = (
    "mcpsite.asgi",
    "mcpsite.aws_lambda",
    "mcpsite.blocking",
    "mcpsite.door.base_path",
    "mcpsite.door.short_door",
    "mcpsite.endpoint.access.origins",
    "mcpsite.freezing",
    "mcpsite.lambda_handler",
    "mcpsite.lifespan",
    "mcpsite.static_files",
    "sessions_dynamo.asgi_server",
    "sessions_dynamo.management.base",
    # What it does is told by its argument, and is more than one role's.
    "sessions_dynamo.management.commands.dynamodb_backup:Command.handle",
    "sessions_dynamo.management.commands.dynamodb_status:Command.handle",
    "sessions_dynamo.staff.shell",
)
"""What every request or command passes through."""

ENTRIES: Final[Mapping[str, Roles]] = {
    "mcpsite.endpoint": (SERVE,),
    "mcpsite.health:readyz": (SERVE, READ_ONLY),
    "mcpsite.server": (SERVE,),
    "mcpsite.try_it": (SERVE,),
    # What a served server keeps by it.
    "sessions_dynamo.key_value": (SERVE,),
    # A task of a process that serves.
    "sessions_dynamo.recorder": (SERVE,),
    # A thread of a process that serves; sessions_expire has metrics too.
    "sessions_dynamo.metrics.reporter": (SERVE, OPERATE, SCHEDULE),
    # DYNAMODB_CREATE_TABLES, which the embedded DynamoDB has on.
    "sessions_dynamo.tables.startup": (OPERATE,),
    "sessions_dynamo.management.commands.runserver": (OPERATE,),
    "sessions_dynamo.management.commands.dynamodb_backup": (OPERATE,),
    "sessions_dynamo.management.commands.dynamodb_backup:Command._daily": (OPERATE, BACKUP),
    "sessions_dynamo.management.commands.dynamodb_restore": (OPERATE,),
    "sessions_dynamo.management.commands.dynamodb_setup": (OPERATE,),
    "sessions_dynamo.management.commands.dynamodb_status:Command._emit": (READ_ONLY, SCHEDULE),
    "sessions_dynamo.management.commands.dynamodb_status:Command._show": (READ_ONLY,),
    "sessions_dynamo.management.commands.dynamodb_teardown": (OPERATE,),
    "sessions_dynamo.management.commands.sessions_expire": (OPERATE, SCHEDULE),
    "sessions_dynamo.management.commands.sessions_export": (OPERATE, READ_ONLY),
    "sessions_dynamo.management.commands.sessions_import": (OPERATE,),
    "sessions_dynamo.management.commands.sessions_restore": (OPERATE,),
    # Staff pages: those of sessions work where the endpoint is served, those for looking with read-only alone.
    "sessions_dynamo.staff.backups.pages:create": (OPERATE,),
    "sessions_dynamo.staff.backups.pages:delete": (OPERATE,),
    "sessions_dynamo.staff.backups.pages:page": (READ_ONLY,),
    "sessions_dynamo.staff.overview.dashboard": (READ_ONLY,),
    "sessions_dynamo.staff.events.listing": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.navigation": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.backups.restores:complete": (OPERATE,),
    "sessions_dynamo.staff.backups.restores:restore": (OPERATE,),
    "sessions_dynamo.staff.backups.restores:restored": (READ_ONLY,),
    "sessions_dynamo.staff.sessions.actions:_encoded": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.sessions.actions:delete": (SERVE,),
    "sessions_dynamo.staff.sessions.actions:export": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.sessions.actions:terminate": (SERVE,),
    "sessions_dynamo.staff.sessions.detail": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.sessions.listing:_read": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.sessions.listing:delete_selected": (SERVE,),
    "sessions_dynamo.staff.sessions.listing:session_list": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.sessions.listing:terminate_selected": (SERVE,),
    "sessions_dynamo.staff.sessions.state:add": (SERVE,),
    "sessions_dynamo.staff.sessions.state:delete": (SERVE,),
    "sessions_dynamo.staff.sessions.state:download": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.sessions.state:edit": (SERVE,),
    "sessions_dynamo.staff.sessions.state:value": (SERVE, READ_ONLY),
    "sessions_dynamo.staff.tables.pages:converge": (OPERATE,),
    "sessions_dynamo.staff.tables.pages:page": (READ_ONLY,),
    "sessions_dynamo.staff.workers.pages": (SERVE, READ_ONLY),
}
"""Where somebody's request enters: a view, a command, a thread. All of the roles must allow what it does."""

LIBRARY: Final[Mapping[str, Roles]] = {
    "sessions_dynamo": ROLES,
    "sessions_dynamo.tables.aspects": (OPERATE,),
    "sessions_dynamo.backups.carry_over": (OPERATE,),
    "sessions_dynamo.tables.convergence": (OPERATE,),
    "sessions_dynamo.tables.removal": (OPERATE,),
    "sessions_dynamo.backups.restores": (OPERATE,),
    "sessions_dynamo.tables.setup": (OPERATE,),
    # Each view and command is an entry of its own; these are their parts.
    "sessions_dynamo.management.commands": (),
    "sessions_dynamo.staff": (),
    "sessions_dynamo.staff.sessions.bulk": (SERVE,),
    "sessions_dynamo.staff.sessions.edits": (SERVE,),
    "sessions_dynamo.staff.sessions.endings": (SERVE,),
    "sessions_dynamo.staff.tables.readings": (READ_ONLY,),
}
"""What entries call, as threads and tests do without one: one of the roles must allow it, an only one counts."""


class UnknownCaller(LookupError):
    """A frame of this project that no table here names."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who made a call, and the roles that it may be made in."""

    frame: str
    roles: Roles
    is_certain: bool
    """False where a test called what several roles call: nothing says for which."""


def caller(stacks: Sequence[Sequence[str]]) -> Caller:
    """The caller, from the stacks of a call: its own thread's first, each outermost first. Raises ``UnknownCaller``."""
    library, unknown = None, ""
    for stack in stacks:
        frame = next((frame for frame in stack if not _longest(frame, SAYS_NOTHING)), None)
        if frame is None:
            continue
        if entry := _longest(frame, ENTRIES):
            return Caller(frame, ENTRIES[entry], is_certain=True)
        roles = LIBRARY.get(_longest(frame, LIBRARY), ())
        if not roles:
            # A part that runs in a pool belongs to whoever gave it.
            unknown = unknown or frame
            continue
        library = Caller(frame, roles, is_certain=len(roles) == 1)
    if library is None and unknown:
        raise UnknownCaller(
            f"{unknown} calls AWS, and tests/iam/roles.py does not say for which role: add it to ENTRIES if a request"
            " or a command begins there, to LIBRARY if others call it."
        )
    if library is None:
        raise UnknownCaller(f"tests/iam/roles.py has all of these in SAYS_NOTHING, and one of them calls AWS: {stacks}")
    return library


def _longest(frame: str, names: Sequence[str] | Mapping[str, Roles]) -> str:
    """The longest of the names that a frame is, or lies in; empty without one."""
    return max((name for name in names if frame == name or frame.startswith((f"{name}:", f"{name}."))), default="")
