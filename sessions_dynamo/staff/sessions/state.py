"""One key of a session's state: seen, downloaded, changed, added and deleted, never over another's change."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Final

from django import forms
from django.contrib.admin.models import CHANGE
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path, reverse

from sessions_dynamo.errors import InvalidState, StateConflict, StorageError, StorageUnavailable
from sessions_dynamo.models import Session as SessionModel
from sessions_dynamo.staff import json_tree, shell, stores
from sessions_dynamo.staff.sessions import edits
from sessions_dynamo.staff.sessions.detail import unknown
from sessions_dynamo.store import session_items, sessions, values
from sessions_dynamo.store.session_items import Session
from sessions_dynamo.store.state import Spilled

MAX_EDITED: Final = 64 * 1024
"""Characters of a value that a form offers for editing; a larger one can be replaced."""
MAX_COMPARED: Final = 20_000
"""Characters of a value that a conflict shows beside one's own."""


class ValueForm(forms.Form):
    """A JSON text, and the mark of what stood under its key when it was read."""

    text = forms.CharField(
        label="Value, as JSON", strip=False, widget=forms.Textarea({"rows": 14, "spellcheck": "false"})
    )
    seen = forms.CharField(required=False, widget=forms.HiddenInput)

    def clean_text(self) -> Any:
        """The value of the text; a mistake is named with its line and column."""
        try:
            value = json.loads(self.cleaned_data["text"], object_pairs_hook=_no_duplicates)
            values.dumps(value)
        except json.JSONDecodeError as exc:
            raise forms.ValidationError(
                f"This is no JSON: {exc.msg}, at line {exc.lineno}, column {exc.colno}. Text needs double quotes."
            ) from exc
        except RecursionError as exc:
            raise forms.ValidationError("The value is nested too deep: flatten it.") from exc
        except (ValueError, InvalidState) as exc:
            raise forms.ValidationError(str(exc)) from exc
        # In a list of one: null is a value too, and Django takes None for a field that failed.
        return [value]


class NewKeyForm(ValueForm):
    """A key that is not there yet, and its value."""

    key = forms.CharField(max_length=values.MAX_KEY_CHARACTERS, strip=False)
    field_order = ("key", "text", "seen")


@shell.page("view_session")
def value(request: HttpRequest, session_id: str, key: str) -> HttpResponse:
    """A value as a tree; a spilled one is read for it."""
    found = _find(request, session_id, key)
    if isinstance(found, HttpResponse):
        return found
    session, text = found
    parsed = json_tree.parse(text)
    entry = session.state.entries[key]
    context = {
        "session": session,
        "key": key,
        "size": len(text.encode()),
        "kind": json_tree.kind_of(parsed),
        "tree": json_tree.tree(parsed),
        "is_spilled": isinstance(entry, Spilled),
    }
    if "HX-Request" in request.headers:
        return render(request, "sessions_dynamo/sessions/value_tree.html", context)
    return shell.render(request, "sessions_dynamo/sessions/value.html", context, title=f"Key {key!r}")


@shell.page("view_session")
def download(request: HttpRequest, session_id: str, key: str) -> HttpResponse:
    """A value exactly as it is stored."""
    found = _find(request, session_id, key)
    if isinstance(found, HttpResponse):
        return found
    return shell.attachment(found[1], "application/json", f"{session_id}-value.json")


@shell.page("change_session")
def edit(request: HttpRequest, session_id: str, key: str) -> HttpResponse:
    """The form of one key's value; its POST names the target, and is refused where the value has changed."""
    found = _find(request, session_id, key)
    if isinstance(found, HttpResponse):
        # Somebody deleted the key while it was being edited: what was typed must not be lost.
        if request.method != "POST" or found.status_code != 404:
            return found
        session, stored = stores.sessions().peek(session_id), None
        if session is None:
            return found
    else:
        session, stored = found
    if not session.is_live:
        return _ended(request, session)
    seen = edits.mark(session.state.entries.get(key))
    if request.method != "POST":
        fits = stored is not None and len(stored) <= MAX_EDITED
        shown = json_tree.indented(stored or "", MAX_EDITED * 4)
        # A value that is too long when it is indented is edited as it is stored, never its beginning alone.
        text = (stored if shown.is_cut else shown.text) if fits else ""
        form = ValueForm(initial={"text": text, "seen": seen})
        return _form(request, session, key, form, is_replaced=not fits)
    form = ValueForm(request.POST)
    if not form.is_valid():
        return _form(request, session, key, form, status=400)
    try:
        edits.set_key(
            sessions.default_store(), session_id, key, form.cleaned_data["text"][0], seen=form.cleaned_data["seen"]
        )
    except StateConflict:
        return _conflict(request, session_id, key, form.data.get("text", ""))
    except StorageError as exc:
        return _not_saved(request, session, key, form, exc)
    return _changed(request, session_id, f"Changed the state's key {key!r}.", f"Key {key!r} was saved.")


@shell.page("change_session")
def add(request: HttpRequest, session_id: str) -> HttpResponse:
    """The form of a new key; refused where the key is there by now."""
    session = stores.sessions().peek(session_id)
    if session is None:
        return unknown(request, session_id)
    if not session.is_live:
        return _ended(request, session)
    form = NewKeyForm(request.POST if request.method == "POST" else None)
    if request.method != "POST" or not form.is_valid():
        return _form(request, session, None, form, status=400 if form.is_bound else 200)
    key = form.cleaned_data["key"]
    try:
        edits.set_key(sessions.default_store(), session_id, key, form.cleaned_data["text"][0], seen=edits.ABSENT)
    except StateConflict:
        return _conflict(request, session_id, key, form.data.get("text", ""))
    except StorageError as exc:
        return _not_saved(request, session, None, form, exc)
    return _changed(request, session_id, f"Added the key {key!r} to the state.", f"Key {key!r} was added.")


@shell.page("change_session")
def delete(request: HttpRequest, session_id: str, key: str) -> HttpResponse:
    """Delete one key, if it still holds what stood there when the question was asked."""
    session = stores.sessions().peek(session_id)
    if session is None:
        return unknown(request, session_id)
    if key not in session.state.entries:
        return _no_key(request, session_id, key)
    if not session.is_live:
        return _ended(request, session)
    seen = request.POST.get("seen") or edits.mark(session.state.entries[key])
    answer = shell.ask(
        request,
        title="Delete a key",
        question=f"Delete the key {key!r} from the state of session {session_id}?",
        consequences="The session's next call finds no such key. What it holds is gone; download it first to keep it.",
        button="Delete the key",
        back=reverse("mcp_staff:session", args=[session_id]),
        fields={"seen": seen},
    )
    if answer is not None:
        return answer
    try:
        edits.delete_key(sessions.default_store(), session_id, key, seen=seen)
    except StateConflict:
        return shell.problem(
            request,
            "Changed meanwhile",
            f"The key {key!r} was changed after you were asked, so nothing was deleted.",
            remedy="Look at what it holds now, then delete it again.",
            status=409,
        )
    return _changed(request, session_id, f"Deleted the key {key!r} from the state.", f"Key {key!r} was deleted.")


def _find(request: HttpRequest, session_id: str, key: str) -> tuple[Session, str] | HttpResponse:
    session = stores.sessions().peek(session_id)
    if session is None:
        return unknown(request, session_id)
    text = session.state.stored_text(key)
    return _no_key(request, session_id, key) if text is None else (session, text)


def _no_key(request: HttpRequest, session_id: str, key: str) -> HttpResponse:
    return shell.problem(
        request,
        "No such key",
        f"The state of session {session_id} has no key {key!r}.",
        remedy="It may have been deleted: look at the session's keys as they are now.",
        status=404,
    )


def _ended(request: HttpRequest, session: Session) -> HttpResponse:
    return shell.problem(
        request,
        "The session has ended",
        f"Session {session.session_id} has ended: its state can be read as long as it is stored, and not changed.",
        status=409,
    )


def _form(
    request: HttpRequest,
    session: Session,
    key: str | None,
    form: ValueForm,
    *,
    is_replaced: bool = False,
    theirs: json_tree.Shown | None = None,
    status: int = 200,
) -> HttpResponse:
    title = "Add a key" if key is None else f"Change the key {key!r}"
    context = {
        "session": session,
        "key": key,
        "form": form,
        "is_replaced": is_replaced,
        "theirs": theirs,
        "is_conflict": status == 409,
        "limit": session_items.MAX_VALUE_BYTES,
    }
    return shell.render(request, "sessions_dynamo/sessions/value_form.html", context, title=title, status=status)


def _not_saved(
    request: HttpRequest, session: Session, key: str | None, form: ValueForm, error: StorageError
) -> HttpResponse:
    """The form with the reason, and with what was typed, which a page of the error would lose."""
    form.add_error("text", str(error))
    return _form(request, session, key, form, status=503 if isinstance(error, StorageUnavailable) else 400)


def _conflict(request: HttpRequest, session_id: str, key: str, text: str) -> HttpResponse:
    """Both texts, and a form that saves one's own over what is there now."""
    session = stores.sessions().peek(session_id)
    if session is None:
        return unknown(request, session_id)
    stored = session.state.stored_text(key)
    seen = edits.mark(session.state.entries.get(key))
    theirs = None if stored is None else json_tree.indented(stored, MAX_COMPARED)
    form = ValueForm(initial={"text": text, "seen": seen})
    return _form(request, session, key, form, theirs=theirs, status=409)


def _changed(request: HttpRequest, session_id: str, recorded: str, message: str) -> HttpResponse:
    shell.record(request, SessionModel, session_id, CHANGE, recorded)
    return shell.done(request, message, f"{reverse('mcp_staff:session', args=[session_id])}#state")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"The key {twice!r} stands twice in one object: keep one of them.")
    return found


_KEY: Final = "sessions/<dynamo_id:session_id>/state/<dynamo_id:key>"
urlpatterns = [
    path("sessions/<dynamo_id:session_id>/add-key/", add, name="session-key-add"),
    path(f"{_KEY}/", value, name="session-value"),
    path(f"{_KEY}/download/", download, name="session-value-download"),
    path(f"{_KEY}/edit/", edit, name="session-value-edit"),
    path(f"{_KEY}/delete/", delete, name="session-value-delete"),
]
