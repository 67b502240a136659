"""Settings: the project's value, else a variable's, else the one default."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import environ
import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from mcpsite.endpoint.conf import EndpointSettings
from sessions_dynamo.conf import AWS_VARIABLES, AppSettings, conf, forget_on_change

DECLARED = [*AppSettings.declared(), *EndpointSettings.declared()]


def of_project(setting: Any, **project: Any) -> Any:
    return setting.of(SimpleNamespace(**{"DEBUG": False, **project}))


def from_environment(setting: Any, monkeypatch: pytest.MonkeyPatch, **variables: str) -> Any:
    for name in setting.variables:
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return setting.from_environment(environ.Env(), SimpleNamespace(DEBUG=False))


@pytest.mark.parametrize("setting", DECLARED, ids=lambda setting: setting.name)
def test_a_project_that_names_nothing_has_every_default(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    read = from_environment(setting, monkeypatch)
    assert of_project(setting) == read


@pytest.mark.parametrize(
    ("setting", "text", "kind"),
    [
        (AppSettings.DYNAMODB_EMBEDDED_PORT, "abc", "whole number"),
        (AppSettings.MAX_EVENTS_PER_SESSION, "1.5", "whole number"),
        (AppSettings.SESSION_TTL_HOURS, "a day", "number"),
    ],
)
def test_a_number_that_is_none_is_named(setting: Any, text: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^{setting.name}='{text}' is no {kind}, and has to be one\.$"):
        from_environment(setting, monkeypatch, **{setting.name: text})


@pytest.mark.parametrize("setting", DECLARED, ids=lambda setting: setting.name)
def test_the_projects_value_wins(setting: Any) -> None:
    value = object()
    assert of_project(setting, **{setting.name: value}) is value


@pytest.mark.parametrize(
    ("setting", "text", "value"),
    [
        (AppSettings.SESSION_TTL_HOURS, "0.5", 0.5),
        (AppSettings.MAX_EVENTS_PER_SESSION, "7", 7),
        (AppSettings.RECORD_CALLS, "false", False),
        (AppSettings.DYNAMODB_REPLICA_REGIONS, "us-west-2,eu-west-1", ["us-west-2", "eu-west-1"]),
        (EndpointSettings.STREAM_SECONDS, "0", 0.0),
        (EndpointSettings.MCP_SERVER, "notes:mcp", "notes:mcp"),
    ],
)
def test_a_variable_is_read_in_its_type(
    setting: Any, text: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert from_environment(setting, monkeypatch, **{setting.name: text}) == value


@pytest.mark.parametrize("setting", [s for s in DECLARED if s.variables], ids=lambda setting: setting.name)
def test_an_empty_variable_counts_as_unset(setting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    unset = from_environment(setting, monkeypatch)
    assert from_environment(setting, monkeypatch, **{setting.name: ""}) == unset


def test_an_alias_counts_where_the_name_is_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    table = AppSettings.DYNAMODB_SESSIONS_TABLE
    assert from_environment(table, monkeypatch, DYNAMODB_TABLE="other") == "other"
    assert from_environment(table, monkeypatch, DYNAMODB_TABLE="other", DYNAMODB_SESSIONS_TABLE="mine") == "mine"


def test_debug_alone_may_open_the_endpoint_and_embeds_a_dynamodb(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AWS_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for debug in (True, False):
        assert of_project(EndpointSettings.MCP_ALLOW_PUBLIC, DEBUG=debug) is debug
        assert of_project(AppSettings.DYNAMODB_EMBEDDED, DEBUG=debug) is debug


@pytest.mark.parametrize("name", AWS_VARIABLES)
def test_what_points_at_a_real_dynamodb_turns_the_embedded_one_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "x")
    assert of_project(AppSettings.DYNAMODB_EMBEDDED, DEBUG=True) is False


def test_streams_do_not_depend_on_threads() -> None:
    assert of_project(EndpointSettings.MAX_STREAMS, THREADS=8) == 10_000


def test_a_setting_is_read_when_it_is_asked_for(settings: Settings) -> None:
    settings.SESSION_IDLE_MINUTES = 5
    assert conf.SESSION_IDLE_MINUTES == 5
    del settings.SESSION_IDLE_MINUTES
    assert conf.SESSION_IDLE_MINUTES == 30


def test_what_is_made_of_settings_is_forgotten_when_one_changes(settings: Settings) -> None:
    forgotten: list[None] = []
    forget_on_change(lambda: forgotten.append(None), "EVENT_TTL_HOURS", "DYNAMODB_")
    settings.METRICS = "off"
    assert not forgotten
    settings.EVENT_TTL_HOURS = 1
    settings.DYNAMODB_EVENTS_TABLE = "other"
    assert len(forgotten) == 2
