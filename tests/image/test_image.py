"""What the Dockerfile's own steps make, served from a read-only root over PostgreSQL."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.image.calls import call
from tests.image.compose import ROOT
from tests.image.container import Container
from tests.image.dockerfile import Image, steps
from tests.live.postgresql import Cluster

DOCKERFILES = ("Dockerfile",)

LISTED = """
import json
from importlib.metadata import distributions
print(json.dumps([[found.metadata["Name"], found.version] for found in distributions()]))
"""
# Whether a line is for this Python and system is asked of pip in the image: it is not the one that runs the tests.
LOCKED = r"""
import json, re
from pip._vendor.packaging.requirements import Requirement
lines = re.findall(r"^(\S+==[^\\]*?) \\$", open("/app/requirements-image.txt").read(), re.MULTILINE)
named = map(Requirement, lines)
print(json.dumps([[r.name, str(r.specifier)[2:]] for r in named if r.marker is None or r.marker.evaluate()]))
"""


def _asked(image: Image, script: str) -> set[tuple[str, str]]:
    done = Container(image, {}).run("python", "-c", script)
    assert done.returncode == 0, done.stderr
    return {(name.lower().replace("_", "-"), version) for name, version in json.loads(done.stdout)}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name: str) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", "--no-color", ROOT / name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_pinned_and_can_be_another() -> None:
    first, *rest = steps((ROOT / "Dockerfile").read_text())
    assert (first.name, first.value.partition("=")[0]) == ("ARG", "PYTHON_IMAGE")
    # A tag with its patch level, or a digest.
    assert len(first.value.partition("python:")[2].partition("-")[0].split(".")) == 3 or "@sha256:" in first.value
    assert {step.value.partition(" ")[0] for step in rest if step.name == "FROM"} == {"${PYTHON_IMAGE}"}


def test_what_is_installed_is_what_is_locked(image: Image) -> None:
    installed, locked = _asked(image, LISTED), _asked(image, LOCKED)
    installer = {pair for pair in installed if pair[0] == "pip"}

    assert len(locked) > 40
    assert installed - installer == locked
    assert len(installer) == 1
    names = {name for name, _ in installed}
    assert {"psycopg", "psycopg-binary", "psycopg-pool", "redis"} <= names
    assert not names & {"moto", "flask", "setuptools"}


def test_later_installations_are_held_to_what_is_locked(image: Image) -> None:
    held = (image.root / "opt/venv/constraints.txt").read_text().split()
    assert {tuple(line.lower().replace("_", "-").split("==")) for line in held} == _asked(image, LOCKED)
    assert image.environment["PIP_CONSTRAINT"] == "/opt/venv/constraints.txt"


def test_nothing_of_the_clone_is_in_it_but_what_runs(image: Image) -> None:
    app = image.root / "app"
    assert {path.name for path in app.iterdir()} == {
        "__pycache__",
        "deploy",
        "gunicorn.conf.py",
        "manage.py",
        "mcpsite",
        "requirements-image.txt",
        "sessions_dynamo",
        "staticfiles",
        "templates",
    }
    assert {path.name for path in (app / "deploy/image").iterdir()} == {
        "__pycache__",
        "entrypoint.py",
        "packages.pth",
    }
    assert list(app.glob("staticfiles/unfold/**/*.css"))
    assert not {"tests", "conftest.py", ".env"} & {path.name for path in app.rglob("*")}


def test_all_of_it_is_compiled_and_none_of_it_can_be_written(image: Image) -> None:
    for path in ("app/mcpsite/settings.py", "opt/venv/lib/python3.11/site-packages/django/__init__.py"):
        source = image.root / path
        (compiled,) = (source.parent / "__pycache__").glob(f"{source.stem}.cpython-*.pyc")
        # PEP 552: checked by the hash of its source.
        assert int.from_bytes(compiled.read_bytes()[4:8], "little") == 0b11

    (uid, gid) = map(int, image.user.split(":"))
    assert (uid, gid) == (1000, 1000)
    script = "touch /app/x /opt/venv/x; touch /data/x /packages/x && id --user"
    done = image.run(["sh", "-c", script], environment={})
    assert done.stdout.split() == ["1000"]
    assert done.stderr.count("Permission denied") == 2
    for directory in ("data", "packages"):
        (image.root / directory / "x").unlink()


def test_a_narrow_umask_of_the_clone_does_no_harm(image: Image) -> None:
    unreadable = [path for path in (image.root / "app").rglob("*") if path.stat().st_mode & 0o004 == 0]
    assert unreadable == []


def test_it_serves_from_a_read_only_root_over_postgresql(
    image: Image, site_environment: dict[str, str], token: str, cluster: Cluster, tmp_path: Path
) -> None:
    # Not even /tmp can be written.
    site, log = Container(image, site_environment, tmpfs=()), tmp_path / "log"
    assert image.ports == ["8062"]
    assert site.health() != 0
    with site.serving(log):
        assert site.health() == 0
        names, stored = call(site.url, token, "store_app_state", {"key": "colour", "data": "blue"})
        assert "store_app_state" in names
        assert stored["stored"] is True
        assert site.status("/mcp") == 401
        with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/admin/login/", timeout=10) as page:
            assert b"/static/unfold/" in page.read()
        asked = cluster.ask("SELECT count(*) FROM pg_stat_activity WHERE datname = 'site'")
        assert asked[0][0] >= 1
    written = log.read_text()
    assert "Using worker: sessions_dynamo.asgi_server.worker.Worker" in written
    assert "Traceback" not in written
    # It went at SIGTERM, as the container's first process.
    assert "Shutting down: Master" in written
    assert site.health() != 0


def test_the_database_that_its_own_check_recommends_it_can_use_and_by_django_s_own_pool(
    image: Image, site_environment: dict[str, str], migrated: None
) -> None:
    script = (
        "from django.db import connections;"
        "connection = connections['default'];"
        "connection.ensure_connection();"
        "from django.db.backends.postgresql.base import DatabaseWrapper;"
        "print(isinstance(connection, DatabaseWrapper), type(connection.pool).__module__, connection.pool.max_size)"
    )
    done = Container(image, site_environment).run(
        "python", "manage.py", "shell", "--verbosity", "0", "--command", script
    )
    assert done.stdout.split() == ["True", "psycopg_pool.pool", "10"], done.stderr


def test_without_settings_it_ends_and_says_which_are_missing(image: Image) -> None:
    done = Container(image, {"WEB_CONCURRENCY": "1"}).run(*image.command)
    assert done.returncode != 0
    for name in ("SECRET_KEY", "DATABASE_URL"):
        assert name in done.stderr
