"""``docs/authentication.md``: a token that is made and sent as the page says, and its callable."""

from __future__ import annotations

from pathlib import Path

from tests.docs.answers import answers
from tests.docs.fences import ROOT, fences
from tests.docs.sites import running

START, CALL, CALLABLE = (
    fence
    for fence in fences(ROOT / "docs" / "authentication.md")
    if fence.mark == "run by tests/docs/test_authentication.py"
)


def test_a_bearer_token_lets_in_and_its_absence_does_not(tmp_path: Path) -> None:
    with running(START.text, tmp_path) as site:
        done = site.shell(CALL.text)
        refused = site.shell(CALL.text.replace("Bearer $TOKEN", "Bearer wrong"))
        anonymous = site.status("/mcp")

    (answer,) = answers(done.stdout)
    assert answer["result"]["protocolVersion"] == "2025-11-25"
    assert "result" not in refused.stdout
    assert anonymous == 401


def test_the_callable_lets_in_whoever_has_the_key(tmp_path: Path) -> None:
    call = CALL.text.partition("\ncurl ")[2].replace('"Authorization: Bearer $TOKEN"', '"X-Api-Key: $KEY"')
    start = "MCP_AUTH=partners.partner PARTNER_KEY=spare make run"
    with running(start, tmp_path, {CALLABLE.title: CALLABLE.text}) as site:
        done = site.shell(f"curl {call}", KEY="spare")
        refused = site.shell(f"curl {call}", KEY="wrong")

    (answer,) = answers(done.stdout)
    assert answer["result"]["protocolVersion"] == "2025-11-25"
    assert "result" not in refused.stdout
