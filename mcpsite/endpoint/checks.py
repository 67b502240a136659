"""System checks of the endpoint's settings: what cannot work is refused before the first request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.utils import autoreload

from mcpsite.endpoint.access.auth import ChosenTwice, chosen, load_authenticator
from mcpsite.endpoint.conf import PUBLIC, conf
from mcpsite.endpoint.own_routes import overridden
from mcpsite.endpoint.peers.bell import CannotRing, chosen_bell
from mcpsite.endpoint.server_object.authored import CannotServe
from mcpsite.endpoint.server_object.http_app import served_app
from mcpsite.endpoint.server_object.loading import load_server
from mcpsite.endpoint.serving.dependencies import DEFAULT_ARGUMENT
from mcpsite.endpoint.serving.session_argument import unnamed


@register(Tags.security)
def check_authentication(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``MCP_AUTH`` is chosen, importable, and public only where that was said twice."""
    try:
        path = chosen()
    except CannotServe:
        # Which is an error of its own; who may call a server that is not there is no question yet.
        return []
    except ChosenTwice as exc:
        return [
            Error(
                str(exc),
                hint="Unset MCP_AUTH to have the server object decide who may call, or take auth= out of the object.",
                id="mcp_endpoint.E006",
            )
        ]
    if not path:
        return [
            Error(
                "MCP_AUTH is not set, so nobody has decided who may call the MCP endpoint.",
                hint=(
                    "Set MCP_AUTH=django_mcpz.bearer_tokens.auth.token_auth for tokens made on the staff pages, or"
                    f" MCP_AUTH={PUBLIC} together with MCP_ALLOW_PUBLIC=true to let anybody in."
                ),
                id="mcp_endpoint.E001",
            )
        ]
    if path == PUBLIC and not conf.MCP_ALLOW_PUBLIC:
        return [
            Error(
                "MCP_AUTH lets anybody call the MCP endpoint, and MCP_ALLOW_PUBLIC is not set.",
                hint="Set MCP_ALLOW_PUBLIC=true if that is meant, or choose another MCP_AUTH.",
                id="mcp_endpoint.E002",
            )
        ]
    try:
        load_authenticator()
        return []
    except (ImportError, RuntimeError, TypeError) as exc:
        # Django's RuntimeError: a model of an app that is not installed.
        problem = str(exc)
    return [
        Error(
            f"MCP_AUTH={path!r} cannot be used: {problem}.",
            hint="It is the dotted path of a callable (request) -> HttpResponse | None, async or not, its app in"
            " INSTALLED_APPS.",
            id="mcp_endpoint.E003",
        )
    ]


@register()
def check_server(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``MCP_SERVER`` names a server object, and importing it works."""
    try:
        app = served_app()
    except CannotServe as exc:
        # Django's own list of what failed to import, and so is not among the modules that its reloader looks at.
        watched: list[str] = autoreload._error_files  # type: ignore[attr-defined]
        watched.extend(file for file in exc.files if file not in watched)
        return [
            Error(f"MCP_SERVER={conf.MCP_SERVER!r} cannot be served: {exc}.", hint=exc.hint, id="mcp_endpoint.E004")
        ]
    found: list[CheckMessage] = [
        Warning(
            f"The server object's {wish.what} is not followed. {wish.instead}",
            hint="Leave it out; docs/servers.md has the whole list.",
            id="mcp_endpoint.W002",
        )
        for wish in app.unserved
    ]
    if paths := sorted(set(overridden(app))):
        found.append(
            Warning(
                f"The site has these paths itself, so that the server object's are not served: {', '.join(paths)}.",
                hint="Give them other paths, such as /hooks/… in place of /admin/….",
                id="mcp_endpoint.W003",
            )
        )
    name = conf.MCP_SESSION_ARGUMENT
    if tools := unnamed(load_server(conf.MCP_SERVER), name):
        found.append(
            Warning(
                f"MCP_SESSION_ARGUMENT={name!r} names the session, and not the {DEFAULT_ARGUMENT} that these tools have"
                f" themselves: {', '.join(tools)}.",
                hint=f"Call their argument {name}, or leave it out; or unset MCP_SESSION_ARGUMENT.",
                id="mcp_endpoint.W004",
            )
        )
    return found


@register()
def check_asgi(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """The endpoint is served by ASGI alone."""
    if getattr(settings, "ASGI_APPLICATION", None):
        return []
    project = settings.ROOT_URLCONF.rpartition(".")[0] or "project"
    return [
        Warning(
            "ASGI_APPLICATION is not set, and the MCP endpoint is served by ASGI alone: under WSGI it answers 503.",
            hint=(
                f'Set ASGI_APPLICATION = "{project}.asgi.application", and in production serve it with gunicorn'
                f" {project}.asgi --worker-class sessions_dynamo.asgi_server.worker.Worker."
            ),
            id="mcp_endpoint.W001",
        )
    ]


@register()
def check_limits(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """A body cap that lets no message through is a mistake."""
    if conf.MCP_MAX_BODY_BYTES > 0:
        return []
    return [
        Error(
            f"MCP_MAX_BODY_BYTES={conf.MCP_MAX_BODY_BYTES} refuses every message.",
            hint="Set it to the bytes of the largest message to accept, or leave it unset for 4 MiB.",
            id="mcp_endpoint.E005",
        )
    ]


@register()
def check_base_path(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``MCP_BASE_PATH`` is a path, which no request begins with otherwise."""
    if not set(conf.MCP_BASE_PATH) & set(":?#% "):
        return []
    return [
        Error(
            f"MCP_BASE_PATH={conf.MCP_BASE_PATH!r} is no path.",
            hint="Set it to the path under which clients reach the site, without a host, such as /tools.",
            id="mcp_endpoint.E007",
        )
    ]


@register()
def check_bell(app_configs: Sequence[AppConfig] | None, **_: Any) -> list[CheckMessage]:
    """``BUS_URL`` is one that redis-py knows, which is installed. Nothing connects: it may be away now and then."""
    try:
        chosen_bell(lambda works: None)
    except CannotRing as exc:
        return [Error(str(exc), hint=exc.hint, id="mcp_endpoint.E008")]
    return []
