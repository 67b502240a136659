"""What docs/image.md shows: its files by their titles, and its ``docker run`` as a container."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from tests.image.compose import ROOT
from tests.image.container import Container
from tests.image.dockerfile import Image

PAGE = (ROOT / "docs" / "image.md").read_text()
_TITLED = re.compile(r'^```\w+ title="([^"]+)"\n(.*?)^```$', re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def file(title: str) -> str:
    """The text of a file that the page shows."""
    (text,) = (text for name, text in _TITLED.findall(PAGE) if name == title)
    return str(text)


def env_file(text: str) -> dict[str, str]:
    """As ``--env-file`` reads it."""
    return dict(line.split("=", 1) for line in text.splitlines() if line and not line.startswith("#"))


def docker_run(images: Mapping[str, Image], folder: Path) -> Container:
    """The page's ``docker run``, as pasted in a folder; an option that is not known here fails."""
    (block,) = (block for block in _SHELL.findall(PAGE) if block.startswith("docker run "))
    options = _Options()
    for name in ("--rm", "--read-only"):
        options.add_argument(name, action="store_true")
    for name in ("--tmpfs", "--volume", "--env", "--env-file", "--publish"):
        options.add_argument(name, action="append", default=[])
    options.add_argument("image")
    options.add_argument("command", nargs="*")
    given = options.parse_args(shlex.split(block.replace("\\\n", " ").replace("$PWD", str(folder)))[2:])
    assert given.read_only
    environment = dict(text.split("=", 1) for text in given.env)
    for name in given.env_file:
        environment |= env_file((folder / name).read_text())
    (port,) = images[given.image].ports
    assert given.publish == [f"{port}:{port}"]
    volumes = dict(reversed(text.removesuffix(":ro").split(":")) for text in given.volume)
    return Container(
        images[given.image],
        environment,
        tmpfs=[text.partition(":")[0] for text in given.tmpfs],
        volumes={place: Path(source) for place, source in volumes.items()},
        command=given.command,
    )


class _Options(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise AssertionError(f"docker run in docs/image.md: {message}")
