"""What every staff page shares: its permission, the admin's shell around it, and pages for what went wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast

from django.contrib import admin, messages
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.template.response import TemplateResponse

from sessions_dynamo.errors import (
    AccessDenied,
    IndexMissing,
    SessionNotFound,
    StateConflict,
    StorageError,
    StorageUnavailable,
    TableMissing,
    Unsupported,
)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]

APP = "sessions_dynamo"


def page(permission: str) -> Callable[[View[P]], View[P]]:
    """Make a view a staff page: login, the permission (``view_session``), and storage errors as pages of the shell."""

    def decorate(view: View[P]) -> View[P]:
        @wraps(view)
        def guarded(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if not may(request, permission):
                return denied(request, permission)
            try:
                return view(request, *args, **kwargs)
            except StorageError as exc:
                return failed(request, exc)

        inside = admin.site.admin_view(guarded)

        @wraps(view)
        def entered(request: HttpRequest, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            if "HX-Request" in request.headers and not admin.site.has_permission(request):
                # htmx would put the login page where the part belongs: load the whole page, which leads there.
                return HttpResponse(status=403, headers={"HX-Refresh": "true"})
            return inside(request, *args, **kwargs)

        return entered  # type: ignore[return-value]

    return decorate


def may(request: HttpRequest, permission: str) -> bool:
    """Whether the staff user has a permission of this app."""
    return request.user.has_perm(f"{APP}.{permission}")


def render(
    request: HttpRequest, template: str, context: Mapping[str, Any], *, title: str, status: int = 200
) -> HttpResponse:
    """A page of the shell; ``title`` is its heading and the beginning of the window's title."""
    request.current_app = admin.site.name
    shell = admin.site.each_context(request)
    permissions = {
        name: may(request, name)
        for name in ("view_session", "change_session", "delete_session", "manage_tables", "manage_backups")
    }
    return TemplateResponse(
        request, template, {**shell, "title": title, "may": permissions, **context}, status=status
    ).render()


def problem(
    request: HttpRequest, title: str, reason: str, *, remedy: str = "", status: int = 400, fragment: bool = False
) -> HttpResponse:
    """A page that says what is wrong and what to do; ``fragment`` for a part that a page asks for by itself."""
    context = {"reason": reason, "remedy": remedy, "retry": request.get_full_path() if request.method == "GET" else ""}
    if fragment or "HX-Request" in request.headers:
        return TemplateResponse(request, "sessions_dynamo/problem_fragment.html", context, status=status).render()
    return render(request, "sessions_dynamo/problem.html", context, title=title, status=status)


def denied(request: HttpRequest, permission: str) -> HttpResponse:
    """The page for somebody who may not."""
    return problem(
        request,
        "Not permitted",
        f"This needs the permission {APP}.{permission}, which your account does not have.",
        remedy="Ask somebody who manages users to give it to you or to one of your groups.",
        status=403,
    )


def failed(request: HttpRequest, error: StorageError) -> HttpResponse:
    """The page for a storage error; its message names the remedy."""
    match error:
        case SessionNotFound():
            return problem(request, "No such session", str(error), status=404)
        case StateConflict():
            return problem(request, "Changed meanwhile", str(error), status=409)
        case TableMissing():
            return problem(request, "A table is missing", str(error), status=503)
        case IndexMissing():
            return problem(request, "An index is missing", str(error), status=503)
        case AccessDenied():
            return problem(request, "AWS denies access", str(error), status=503)
        case StorageUnavailable():
            return problem(request, "DynamoDB does not answer", str(error), status=503)
        case Unsupported():
            return problem(request, "Not supported here", str(error), status=501)
        case _:
            return problem(request, "That did not work", str(error), status=400)


def ask(
    request: HttpRequest,
    *,
    title: str,
    question: str,
    button: str,
    back: str,
    targets: list[str] | None = None,
    consequences: str = "",
    fields: Mapping[str, str | list[str]] | None = None,
    danger: bool = True,
) -> HttpResponse | None:
    """The page that asks before an action; ``None`` once the POST that confirms it is here.

    ``question`` names the target, ``targets`` lists them where there are several, ``fields`` are posted again with
    the confirmation, ``back`` is where "Cancel" leads.
    """
    if request.method == "POST" and request.POST.get("confirmed") == "yes":
        return None
    hidden = [
        (name, value)
        for name, given in (fields or {}).items()
        for value in ([given] if isinstance(given, str) else given)
    ]
    context = {
        "question": question,
        "button": button,
        "back": back,
        "targets": targets or [],
        "consequences": consequences,
        "hidden": hidden,
        "danger": danger,
    }
    return render(request, "sessions_dynamo/confirm.html", context, title=title)


def record(request: HttpRequest, model: type[Model], target: str, flag: int, message: str) -> None:
    """Write the admin log entry of an action on ``target``, an id or a name."""
    LogEntry.objects.create(
        user_id=cast("int", request.user.pk),
        content_type=ContentType.objects.get_for_model(model),
        object_id=target,
        object_repr=target[:200],
        action_flag=flag,
        change_message=message,
    )


def done(request: HttpRequest, message: str, to: str, *, level: int = messages.SUCCESS) -> HttpResponse:
    """Back to a page, with a sentence of what was done."""
    messages.add_message(request, level, message)
    return redirect(to)


def attachment(text: str, content_type: str, name: str) -> HttpResponse:
    """A text as a file that no browser opens by itself."""
    response = HttpResponse(text, content_type=f"{content_type}; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    response["X-Content-Type-Options"] = "nosniff"
    return response
