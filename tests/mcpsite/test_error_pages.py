"""What a person sees who asks for a page that is not there, or that fails."""

from __future__ import annotations

from django.http import HttpRequest
from django.test import Client
from django.views.defaults import server_error


def test_an_unknown_page_names_those_that_exist(client: Client) -> None:
    answer = client.get("/nothing/here")
    assert answer.status_code == 404
    assert b"/mcp" in answer.content
    assert b"/admin/" in answer.content


def test_a_page_that_fails_says_where_the_reason_is() -> None:
    answer = server_error(HttpRequest())
    assert answer.status_code == 500
    assert b"/readyz" in answer.content
