"""What can be done to one session: end it, delete it, download it, change a key of its state."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from django.contrib import messages
from django.contrib.admin.models import CHANGE, DELETION
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import path, reverse

from sessions_dynamo.errors import StorageError
from sessions_dynamo.models import Session
from sessions_dynamo.staff import shell, stores
from sessions_dynamo.staff.sessions import endings, state
from sessions_dynamo.staff.sessions.detail import unknown
from sessions_dynamo.transfer import exports


@shell.page("change_session")
def terminate(request: HttpRequest, session_id: str) -> HttpResponse:
    """End the session for its client; an ended one's workers are told again, in case they did not hear."""
    if stores.sessions().peek(session_id) is None:
        return unknown(request, session_id)
    back = reverse("mcp_staff:session", args=[session_id])
    answer = shell.ask(
        request,
        title="Terminate a session",
        question=f"Terminate session {session_id}?",
        consequences="Its client is answered 404 from now on, and its open streams are closed. What is stored of it"
        " stays readable here for some hours.",
        button="Terminate the session",
        back=back,
    )
    if answer is not None:
        return answer
    try:
        was_live = endings.terminate(session_id)
    except StorageError as exc:
        # It may have ended all the same, and who tries again is told that it had.
        shell.record(request, Session, session_id, CHANGE, f"Tried to terminate it. {exc}")
        raise
    if not was_live:
        message = f"Session {session_id} had ended before; the workers were told again to close its streams."
        return shell.done(request, message, back, level=messages.INFO)
    shell.record(request, Session, session_id, CHANGE, "Terminated.")
    return shell.done(request, f"Session {session_id} was terminated.", back)


@shell.page("delete_session")
def delete(request: HttpRequest, session_id: str) -> HttpResponse:
    """Delete the session, its large values, events and calls."""
    if stores.sessions().peek(session_id) is None:
        return unknown(request, session_id)
    answer = shell.ask(
        request,
        title="Delete a session",
        question=f"Delete session {session_id}, with its state, its events and its record of calls?",
        consequences="It ends for its client, and nothing of it can be read afterwards. Export it first to keep it.",
        button="Delete the session",
        back=reverse("mcp_staff:session", args=[session_id]),
    )
    if answer is not None:
        return answer
    try:
        endings.delete(session_id)
    except StorageError as exc:
        # Part of it may be gone.
        shell.record(request, Session, session_id, DELETION, f"Tried to delete it with its events. {exc}")
        raise
    shell.record(request, Session, session_id, DELETION, "Deleted with its events.")
    return shell.done(request, f"Session {session_id} was deleted.", reverse("mcp_staff:sessions"))


@shell.page("view_session")
def export(request: HttpRequest, session_id: str) -> HttpResponseBase:
    """The session as JSON Lines, as ``sessions_import`` takes them."""
    # Over the quick client: an export itself waits for a slow DynamoDB as long as a command does.
    stores.sessions().peek(session_id)
    lines = exports.export_session(session_id)
    # The first line now: what is wrong from the start is answered with a page, not with a broken file.
    first = next(lines, "")
    response = StreamingHttpResponse(_encoded(chain([first], lines)), content_type="application/jsonl; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="session-{session_id}.jsonl"'
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _encoded(lines: Iterator[str]) -> Iterator[bytes]:
    for line in lines:
        yield (line if line.endswith("\n") else f"{line}\n").encode()


urlpatterns = [
    path("sessions/<dynamo_id:session_id>/terminate/", terminate, name="session-terminate"),
    path("sessions/<dynamo_id:session_id>/delete/", delete, name="session-delete"),
    path("sessions/<dynamo_id:session_id>/export/", export, name="session-export"),
    *state.urlpatterns,
]
