"""What docs/development.md says of DynamoDB Local, with DynamoDB Local."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.conftest import start_or_skip
from tests.docs.fences import ROOT, fences
from tests.docs.sites import running
from tests.engines import DYNAMODB_LOCAL


def test_the_site_runs_on_dynamodb_local(tmp_path: Path, start_engine: Callable[[str], str]) -> None:
    _, url = start_or_skip(DYNAMODB_LOCAL, start_engine)
    (block,) = [fence.text for fence in fences(ROOT / "docs" / "development.md") if "test_development" in fence.mark]
    assert block.count("http://localhost:8000") == 1
    start = block.replace("http://localhost:8000", url).replace("python manage.py runserver", "make run")
    # Tables of its own: the engine is that of every other test.
    names = {"DYNAMODB_SESSIONS_TABLE": "documented-sessions", "DYNAMODB_EVENTS_TABLE": "documented-events"}
    with running(start, tmp_path, None, **names) as site:
        ready = site.status("/readyz")
    log = site.log.read_text()
    assert ready == 200, log
    assert "documented-events" in log
    assert "unsupported" in log
