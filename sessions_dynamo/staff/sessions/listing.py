"""The sessions: a list by cursor with filters, one found by its id, and several ended or deleted at once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, cast

from django import forms
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import path, reverse
from django.utils.functional import SimpleLazyObject

from sessions_dynamo.errors import StorageError
from sessions_dynamo.reading import index_pages
from sessions_dynamo.reading.session_filters import Order, SessionFilter
from sessions_dynamo.reading.session_status import SessionStatus
from sessions_dynamo.staff import shell, stores
from sessions_dynamo.staff.sessions import bulk, rows
from sessions_dynamo.store.session_items import Session

PAGE_SIZES: Final = ("50", "100")
_MOMENT: Final = forms.DateTimeInput({"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")


class FilterForm(forms.Form):
    """What the page's address may ask for; every field may be left out."""

    status = forms.ChoiceField(
        choices=[("", "Any"), *((status.value, status.value.capitalize()) for status in SessionStatus)], required=False
    )
    client = forms.CharField(label="Client name", max_length=200, required=False)
    revision = forms.CharField(
        label="Protocol revision",
        max_length=64,
        required=False,
        widget=forms.TextInput({"placeholder": "2025-11-25"}),
    )
    # A key of an index holds 2,048 bytes, and a character at most 4.
    principal = forms.CharField(max_length=512, required=False)
    order = forms.ChoiceField(
        label="Sort by", choices=[("last_activity", "Last active"), ("created_at", "Created")], required=False
    )
    since = forms.DateTimeField(label="From (UTC)", required=False, widget=_MOMENT)
    until = forms.DateTimeField(label="To (UTC)", required=False, widget=_MOMENT)
    per_page = forms.ChoiceField(label="On a page", choices=[(size, size) for size in PAGE_SIZES], required=False)

    @property
    def session_filter(self) -> SessionFilter:
        """The filter that valid fields describe."""
        given = self.cleaned_data
        return SessionFilter(
            status=SessionStatus(given["status"]) if given["status"] else None,
            client=given["client"],
            protocol_version=given["revision"],
            principal=given["principal"],
            since=given["since"],
            until=given["until"],
        )

    @property
    def list_order(self) -> Order:
        return cast("Order", self.cleaned_data["order"] or "last_activity")

    @property
    def page_size(self) -> int:
        return int(self.cleaned_data["per_page"] or PAGE_SIZES[0])


@shell.page("view_session")
def session_list(request: HttpRequest) -> HttpResponse:
    """A page of the list; with ``find``, the session of that id."""
    wanted = request.GET.get("find", "").strip()
    if wanted:
        return _find(request, wanted)
    form = FilterForm(request.GET, auto_id="filter-%s", label_suffix="")
    if not form.is_valid():
        return _render(request, {"form": form}, status=400)
    may_act = shell.may(request, "change_session") or shell.may(request, "delete_session")
    with ThreadPoolExecutor(1) as pool:
        # The template asks for the listing when it comes to the table: the shell around it is rendered meanwhile.
        read = pool.submit(_read, form, request.GET.get("cursor", ""))
        context = {
            "form": form,
            "listing": SimpleLazyObject(read.result),
            "rows": lambda: rows.rows(read.result().page.items, read.result().keys, choice=may_act),
            "may_act": may_act,
            "is_filtered": form.session_filter != SessionFilter(),
            "order": form.session_filter.order(form.list_order),
        }
        return _render(request, context)


@dataclass(frozen=True, slots=True)
class Listing:
    """What DynamoDB has for one page: sessions, and how many keys of state they have, as far as it is known."""

    page: index_pages.Page[Session]
    keys: dict[str, int]
    cursor: str
    is_damaged: bool = False
    """Whether this is the first page because the cursor that was asked for is of none."""


def _read(form: FilterForm, cursor: str) -> Listing:
    session_list = stores.session_list()
    read_page = partial(session_list.page, form.list_order, limit=form.page_size, filters=form.session_filter)
    is_damaged = False
    try:
        page = read_page(cursor=cursor or None)
    except ValueError:
        cursor, is_damaged = "", True
        page = read_page()
    try:
        keys = session_list.keys_of_state([session.session_id for session in page.items])
    except StorageError:
        keys = {}  # The page is worth showing without them.
    return Listing(page, keys, cursor, is_damaged)


def _find(request: HttpRequest, wanted: str) -> HttpResponse:
    if stores.sessions().peek(wanted) is not None:
        return redirect("mcp_staff:session", wanted)
    return _render(request, {"missing": wanted}, status=404)


def _render(request: HttpRequest, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    return shell.render(request, "sessions_dynamo/sessions/list.html", context, title="Sessions", status=status)


@shell.page("change_session")
def terminate_selected(request: HttpRequest) -> HttpResponse:
    """End the sessions that were chosen in the list."""
    return bulk.carry_out(request, bulk.TERMINATE, back=_back(request))


@shell.page("delete_session")
def delete_selected(request: HttpRequest) -> HttpResponse:
    """Delete the sessions that were chosen in the list."""
    return bulk.carry_out(request, bulk.DELETE, back=_back(request))


def _back(request: HttpRequest) -> str:
    """The page of the list that the action was chosen on; no other address."""
    sessions, query = reverse("mcp_staff:sessions"), QueryDict(request.POST.get("query", "")).urlencode()
    return f"{sessions}?{query}" if query else sessions


urlpatterns = [
    path("sessions/", session_list, name="sessions"),
    # Not under sessions/, where every name may be a session's id.
    path("terminate-sessions/", terminate_selected, name="terminate-sessions"),
    path("delete-sessions/", delete_selected, name="delete-sessions"),
]
