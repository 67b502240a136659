"""JSON as the wire has it: UTF-8, and escapes for what UTF-8 or a client's reading of lines cannot carry."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pytest_django import Settings

from mcpsite.endpoint.wire.answers import encode, error_answer, json_answer, size_of

TEXTS: Final = st.text(max_size=40)
VALUES: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
@example("\ud83d\ude00")
@example({"\ud800": ["ü", "\udfff"]})
@example(10**400)
@example([-0.0, 5e-324, 1.7976931348623157e308, 1e16])
def test_what_is_encoded_can_be_sent_and_reads_as_it_was(value: Any) -> None:
    read = json.loads(encode(value).encode())
    # Two surrogates in a row are one character to whoever reads JSON.
    assert read == json.loads(json.dumps(value))


@pytest.mark.parametrize("text", ["Größe → 日本語", "\U0001f600", "\ufeff", "\x7f"])
def test_text_leaves_in_utf_8(text: str) -> None:
    assert encode({"text": text}) == f'{{"text":"{text}"}}'


def test_a_lone_surrogate_leaves_as_an_escape() -> None:
    assert encode(["ü\ud800"]) == '["\\u00fc\\ud800"]'


@given(TEXTS)
@example("\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
def test_no_client_finds_a_line_break_in_a_message(text: str) -> None:
    assert len(encode([text]).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "plain", "größe", "日本語", "\U0001f600"])
def test_a_size_is_in_bytes_and_the_answers_length_too(text: str) -> None:
    body = encode(text)
    assert size_of(body) == len(body.encode()) == len(json_answer(body).content)


def test_a_projects_charset_of_pages_is_not_that_of_answers(settings: Settings) -> None:
    settings.DEFAULT_CHARSET = "iso-8859-1"
    for answer in (json_answer(encode("ü→")), error_answer(400, "ü→")):
        assert "ü→" in answer.content.decode()
