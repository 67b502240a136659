"""The lines of the sessions table. Written here, not by a template: that takes longer for a hundred sessions than
DynamoDB does for reading them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from html import escape
from typing import Final
from urllib.parse import quote

from django.utils.safestring import SafeString

from sessions_dynamo import schema
from sessions_dynamo.reading.session_status import SessionStatus, status_of
from sessions_dynamo.staff.formats import badge, short_id, when
from sessions_dynamo.staff.ids import IdConverter
from sessions_dynamo.store.session_items import Session

# Links are relative to the list's own address. On a phone, session_list.css says which column a cell is of.
_ROW: Final = """<tr>{choice}\
<th scope="row"><a href="{path}/"><code dir="ltr">{short}</code></a>\
<button type="button" class="copy" data-copy="{session_id}" aria-label="Copy {short}" hidden>\
<i class="material-symbols-outlined" aria-hidden="true">content_copy</i></button></th>\
<td>{client}</td><td>{revision}</td><td>{principal}</td><td>{status}</td>\
<td>{created}</td><td>{active}</td><td>{expires}</td><td class="number">{keys}</td></tr>
"""
_CHOICE: Final = '<td class="choice"><input type="checkbox" name="session" value="{}" aria-label="Choose {}"></td>'
_NO_CHOICE: Final = '<td class="choice"></td>'
_CLIENT: Final = "<span><bdi>{}</bdi> <small><bdi>{}</bdi></small></span>"
_PRINCIPAL: Final = '<a href="?principal={}">{}</a>'
_USERS_OWN: Final = '<span class="quiet">kept for the user</span>'
_NOT_COUNTED: Final = '<span class="quiet">not counted</span>'
_BADGES: Final = {status: badge(status.value) for status in SessionStatus}
_UNITS: Final = (("day", 86_400), ("hour", 3600), ("minute", 60))
_WEEK: Final = 7 * 86_400
_ids: Final = IdConverter()


def rows(sessions: Iterable[Session], keys: Mapping[str, int], *, choice: bool) -> SafeString:
    """A line for each session, with a box to choose it by if it can be acted on; ``keys`` of state by session."""
    now = datetime.now(UTC)
    return SafeString("".join(_row(session, keys, now, choice=choice) for session in sessions))


def _row(session: Session, keys: Mapping[str, int], now: datetime, *, choice: bool) -> str:
    """HTML: whatever is put in here is escaped, or nobody's text."""
    session_id, short = escape(session.session_id), escape(short_id(session.session_id))
    # What else wrote to the table may have put items there whose ids no session of ours can have.
    is_ours = schema.is_session_id(session.session_id)
    return _ROW.format(
        choice=(_CHOICE.format(session_id, short) if is_ours else _NO_CHOICE) if choice else "",
        path=session_id if is_ours else _ids.to_url(session.session_id),
        short=short,
        session_id=session_id,
        client=_client(session),
        revision=_cut(session.protocol_version or "", 20),
        principal=_principal(session.principal) if session.principal else "",
        status=_BADGES[status_of(session, now)],
        created=_time(session.created_at, now),
        active=_time(session.last_activity, now),
        expires=_time(session.expires_at, now),
        keys=keys.get(session.session_id, _NOT_COUNTED),
    )


def _client(session: Session) -> str:
    name = session.client_name
    if not name:
        return _USERS_OWN if schema.is_user_session_id(session.session_id) else ""
    version = (session.client_params or {})["clientInfo"].get("version", "")
    return _CLIENT.format(_cut(name, 40), _cut(str(version), 20))


def _principal(principal: str) -> str:
    return _PRINCIPAL.format(quote(principal, safe=""), _cut(principal, 40))


def _cut(text: str, limit: int) -> str:
    """What a client sent, cut to size and escaped."""
    return escape(text if len(text) <= limit else f"{text[:limit]}…")


def _time(at: datetime, now: datetime) -> str:
    """What ``when`` makes of a time, in a tenth of its time for those that are within a week."""
    ahead = (at - now).total_seconds()
    seconds = int(abs(ahead))
    if not 60 <= seconds < _WEEK:
        return when(at)
    unit, size = next((unit, size) for unit, size in _UNITS if seconds >= size)
    count = seconds // size
    span = f"{count}\xa0{unit}" if count == 1 else f"{count}\xa0{unit}s"
    words = f"in {span}" if ahead > 0 else f"{span} ago"
    return f'<time datetime="{at.isoformat()}" title="{at:%Y-%m-%d %H:%M:%S} UTC">{words}</time>'
