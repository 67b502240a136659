"""Both recipes of docs/image.md as they are written there: a server of a user's own, with a requirement of its own."""

from __future__ import annotations

import re
import stat
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.image.calls import call
from tests.image.compose import compose
from tests.image.conftest import SECRETS
from tests.image.container import Container
from tests.image.dockerfile import Image, build, network_environment
from tests.image.documented import docker_run, env_file, file

SERVER = """
from mcp.server.mcpserver import MCPServer
import stamped

mcp = MCPServer("mine")


@mcp.tool()
def stamp() -> str:
    return stamped.VALUE
"""

FORK = """
[build-system]
requires = ["flit_core>=3.11,<4"]
build-backend = "flit_core.buildapi"

[project]
name = "six"
dynamic = ["version", "description"]
"""


def _wheel(folder: Path, name: str, version: str, *, requires: str = "", module: str = "VALUE = 'stamped'\n") -> str:
    """A wheel of one module, in the folder; returns its name."""
    wheel = f"{name}-{version}-py3-none-any.whl"
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        f"{name}.py": module,
        f"{info}/METADATA": metadata + (f"Requires-Dist: {requires}\n" if requires else ""),
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def _folder(directory: Path, **files: str) -> Path:
    """A folder as a user has one, readable for everybody: pytest's own is not."""
    folder = directory / "server"
    folder.mkdir()
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    for parent in (folder, *folder.parents):
        if parent.stat().st_uid == 0 and not parent.stat().st_mode & stat.S_IXOTH:
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    return folder


def _documented(directory: Path) -> Path:
    folder = _folder(directory)
    for title in ("sizes.py", "requirements.txt", "Dockerfile", "site.env"):
        (folder / title).write_text(file(title))
    return folder


def _with_settings_of(container: Container, site_environment: dict[str, str]) -> Container:
    """With this machine's database and DynamoDB in the place of the documented ones."""
    return replace(container, environment={**container.environment, **site_environment})


# --- FROM mcp-sessions ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(image: Image, workshop: Path, tmp_path_factory: pytest.TempPathFactory) -> Image:
    folder, directory = _documented(tmp_path_factory.mktemp("built")), workshop / "sizes"
    directory.mkdir()
    return build((folder / "Dockerfile").read_text(), folder, {"mcp-sessions": image}, directory)


def test_a_server_that_is_built_in_is_served(
    built: Image, site_environment: dict[str, str], token: str, tmp_path: Path
) -> None:
    site = Container(built, site_environment)
    with site.serving(tmp_path / "log"):
        names, answer = call(site.url, token, "readable", {"size": 3_000_000})
        assert (names, answer) == (["readable"], {"result": "3.0 MB"})
        assert site.health() == 0
    assert built.user == "1000:1000"


def test_a_requirement_that_the_image_excludes_ends_the_build(built: Image) -> None:
    assert "USER root\n" in file("Dockerfile")
    done = built.run(["pip", "install", "django>=6"], environment=network_environment(), user="root")
    assert done.returncode != 0
    assert re.search(r"(?s)django>=6.*\(constraint\) (was )?django==5", done.stdout + done.stderr)


# --- MCP_REQUIREMENTS -----------------------------------------------------------------------------------------


def test_a_mounted_server_is_served_with_its_requirements(
    image: Image, site_environment: dict[str, str], token: str, tmp_path: Path
) -> None:
    folder, log = _documented(tmp_path), tmp_path / "log"
    site = _with_settings_of(docker_run({"mcp-sessions": image}, folder), site_environment)
    with site.serving(log):
        names, answer = call(site.url, token, "readable", {"size": 3_000_000})
        assert (names, answer) == (["readable"], {"result": "3.0 MB"})
        assert site.health() == 0
    said = log.read_text()
    assert said.index("installed humanize==4.") < said.index("Starting gunicorn")
    # Once, though there is a process that watches and one that serves.
    assert said.count("MCP_REQUIREMENTS: installing") == 1


def test_the_documented_environment_is_all_that_has_no_default(image: Image) -> None:
    documented = env_file(file("site.env"))

    def checked(**environment: str) -> str:
        return Container(image, environment).run("python", "manage.py", "check", "--deploy").stderr

    complete, nothing = checked(**documented), checked(DEBUG="false")
    for name in set(documented) - {"AWS_REGION"}:
        assert name in nothing
        assert name not in complete


def test_commands_have_the_requirements_too(image: Image, site_environment: dict[str, str], tmp_path: Path) -> None:
    folder = _folder(tmp_path, mine__py=SERVER)
    wheel = _wheel(folder, "stamped", "1.0")
    # Beside the file, as pip has it for whoever stands there.
    (folder / "requirements.txt").write_text(f"./{wheel}\n")
    environment = site_environment | {"MCP_SERVER": "mine:mcp"}
    site = Container(image, environment, ("/tmp", "/packages"), {"/srv/app": folder})
    without = site.run("python", "manage.py", "check")
    assert without.returncode != 0
    assert "stamped" in without.stderr

    with_them = site.run("python", "manage.py", "check", MCP_REQUIREMENTS="/srv/app/requirements.txt")
    assert with_them.returncode == 0, with_them.stderr
    assert "MCP_REQUIREMENTS: installed stamped==1.0\n" in with_them.stderr


def test_what_was_installed_is_there_for_whoever_looks_in_later(image: Image, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "requirements.txt").write_text(f"./{_wheel(folder, 'stamped', '1.0')}\n")
    packages = tmp_path / "packages"
    packages.mkdir()
    packages.chmod(0o777)
    site = Container(image, {}, ("/tmp",), {"/srv/app": folder}, writable={"/packages": packages})
    script = ("python", "-c", "import stamped; print(stamped.VALUE, stamped.__file__)")
    first = site.run(*script, MCP_REQUIREMENTS="/srv/app/requirements.txt")
    assert first.stdout.split()[0] == "stamped", first.stderr
    assert site.run(*script, entrypoint=False).stdout == first.stdout
    assert [path.name for path in packages.iterdir()] == ["installed"]

    # A start with other requirements leaves nothing of the former ones.
    (folder / "requirements.txt").write_text(f"./{_wheel(folder, 'other', '2.0')}\n")
    second = site.run(*script, MCP_REQUIREMENTS="/srv/app/requirements.txt")
    assert "MCP_REQUIREMENTS: installed other==2.0\n" in second.stderr
    assert "No module named 'stamped'" in second.stderr


def _refused(image: Image, folder: Path, requirements: str) -> str:
    """What a start says that refuses a requirements file."""
    (folder / "requirements.txt").write_text(requirements)
    site = Container(image, {}, ("/tmp", "/packages"), {"/srv/app": folder})
    done = site.run("echo", "served", MCP_REQUIREMENTS="/srv/app/requirements.txt")
    assert done.returncode == 1
    assert "served" not in done.stdout
    assert "Traceback" not in done.stderr
    return done.stderr


def test_requirements_that_exclude_the_image_s_own_end_the_container(image: Image, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    said = _refused(image, folder, "django>=6\n")
    assert "The user requested django>=6" in said
    assert "pip could not install /srv/app/requirements.txt; its reason is above." in said

    wheel = _wheel(folder, "stamped", "1.0", requires="mcp<2")
    assert "stamped 1.0 depends on mcp<2" in _refused(image, folder, f"./{wheel}\n")


def test_another_source_of_the_image_s_own_ends_the_container(image: Image, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    version = next(
        line.partition("==")[2]
        for line in (image.root / "opt/venv/constraints.txt").read_text().split()
        if line.startswith("six==")
    )
    # A wheel of the same version pip leaves out; what is to be built it installs.
    (folder / "fork").mkdir()
    (folder / "fork" / "six.py").write_text(f'"""A fork."""\n__version__ = "{version}"\n')
    (folder / "fork" / "pyproject.toml").write_text(FORK)
    said = _refused(image, folder, "./fork\n")
    assert "another version or source of one of them cannot be had this way" in said


def test_a_line_that_is_met_by_the_image_installs_nothing(image: Image, tmp_path: Path) -> None:
    folder = _folder(tmp_path)
    (folder / "requirements.txt").write_text("mcp>=2\nboto3\n")
    site = Container(image, {}, ("/tmp", "/packages"), {"/srv/app": folder})
    done = site.run("echo", "served", MCP_REQUIREMENTS="/srv/app/requirements.txt")
    assert (done.returncode, done.stdout) == (0, "served\n"), done.stderr
    assert "installed nothing: the image has all of it" in done.stderr


def test_what_cannot_be_read_or_written_ends_the_container(image: Image, tmp_path: Path) -> None:
    folder = _folder(tmp_path, requirements__txt="humanize\n")
    named = {"MCP_REQUIREMENTS": "/srv/app/requirements.txt"}
    nowhere = Container(image, named, ("/tmp", "/packages")).run("echo", "served")
    assert "There is no file /srv/app/requirements.txt in the container. Mount the folder" in nowhere.stderr
    read_only = Container(image, named, ("/tmp",), {"/srv/app": folder}).run("echo", "served")
    assert "docker run --tmpfs /packages:exec" in read_only.stderr
    (folder / "requirements.txt").chmod(0o600)
    unreadable = Container(image, named, ("/tmp", "/packages"), {"/srv/app": folder}).run("echo", "served")
    assert "User 1000 may not read /srv/app/requirements.txt: chmod -R a+rX" in unreadable.stderr
    for done in (nowhere, read_only, unreadable):
        assert (done.returncode, done.stdout) == (1, "")


# --- Compose --------------------------------------------------------------------------------------------------


def test_the_override_for_compose_mounts_the_same(image: Image, tmp_path: Path) -> None:
    folder = _documented(tmp_path)
    site = compose(SECRETS)["services"]["site"]
    override = yaml.safe_load(file("docker-compose.override.yml"))["services"]
    assert set(override) == {"site"}
    assert override["site"]["volumes"] == ["./server:/srv/app:ro"]
    settings = site["environment"] | override["site"]["environment"]
    tmpfs = [text.partition(":")[0] for text in site["tmpfs"]]
    container = Container(image, settings, tmpfs, {"/srv/app": folder})
    done = container.run("python", "-c", "import sizes; print(sizes.readable(1000))")
    assert done.stdout == "1.0 kB\n", done.stderr
