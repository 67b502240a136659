"""What cannot work is refused before the first request, with a sentence that says what to set."""

from __future__ import annotations

import pytest
from django.core.checks import Error, run_checks
from pytest_django import Settings


def _errors() -> dict[str, Error]:
    return {found.id: found for found in run_checks() if (found.id or "").startswith("mcp_endpoint.")}  # type: ignore[misc]


def test_the_settings_of_development_pass() -> None:
    assert _errors() == {}


def test_nobody_has_chosen_who_may_call(settings: Settings) -> None:
    settings.MCP_AUTH = ""
    (error,) = _errors().values()
    assert error.id == "mcp_endpoint.E001"
    assert "MCP_AUTH is not set" in error.msg
    assert error.hint is not None
    assert "MCP_AUTH=django_mcpz.bearer_tokens.auth.token_auth" in error.hint
    assert "MCP_ALLOW_PUBLIC=true" in error.hint


def test_public_must_be_said_twice(settings: Settings) -> None:
    settings.MCP_ALLOW_PUBLIC = False
    (error,) = _errors().values()
    assert error.id == "mcp_endpoint.E002"
    assert error.hint is not None
    assert "MCP_ALLOW_PUBLIC=true" in error.hint
    settings.MCP_ALLOW_PUBLIC = True
    assert _errors() == {}


@pytest.mark.parametrize(
    "path", ["nowhere", "nowhere.auth", "mcpsite.endpoint.access.auth.nothing", "mcpsite.endpoint.conf.PUBLIC"]
)
def test_an_authenticator_that_cannot_be_called_is_refused(settings: Settings, path: str) -> None:
    settings.MCP_AUTH = path
    (error,) = _errors().values()
    assert error.id == "mcp_endpoint.E003"
    assert path in error.msg
    assert error.hint is not None
    assert "(request) -> HttpResponse | None" in error.hint


@pytest.mark.parametrize("path", ["django_mcpz.bearer_tokens.auth.token_auth", "tests.mcpsite.servers.callers_name"])
def test_an_authenticator_of_any_package_passes(settings: Settings, path: str) -> None:
    settings.MCP_AUTH, settings.MCP_ALLOW_PUBLIC = path, False
    assert _errors() == {}


@pytest.mark.parametrize("limit", [0, -1])
def test_a_cap_that_refuses_every_message_is_a_mistake(settings: Settings, limit: int) -> None:
    settings.MCP_MAX_BODY_BYTES = limit
    assert set(_errors()) == {"mcp_endpoint.E005"}


def test_an_argument_of_a_tools_own_that_names_nothing_any_more_is_said(settings: Settings) -> None:
    settings.MCP_SESSION_ARGUMENT = "notebook"
    (warning,) = _errors().values()
    assert warning.id == "mcp_endpoint.W004"
    assert "store_app_state" in warning.msg
    assert "dynamodb_info" not in warning.msg, "it takes no session"
    for name in ("", "session_id"):
        settings.MCP_SESSION_ARGUMENT = name
        assert _errors() == {}


def test_a_bell_that_is_none_is_refused_without_its_password(settings: Settings) -> None:
    settings.BUS_URL = "redis://:hid/den@127.0.0.1"
    (error,) = _errors().values()
    assert error.id == "mcp_endpoint.E008"
    assert "BUS_URL cannot be used" in error.msg
    assert "hid" not in f"{error.msg} {error.hint}"
    settings.BUS_URL = "redis://:hid%2Fden@nowhere.example"
    assert _errors() == {}, "it is not asked"


@pytest.mark.parametrize("path", ["https://mcp.example.com/tools", "/tools?x=1", "/a b", "/%2F"])
def test_a_base_path_that_is_none_is_refused(settings: Settings, path: str) -> None:
    settings.MCP_BASE_PATH = path
    assert set(_errors()) == {"mcp_endpoint.E007"}
    settings.MCP_BASE_PATH = "/tools/v1"
    assert _errors() == {}
