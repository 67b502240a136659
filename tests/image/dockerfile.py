"""A Dockerfile's steps, replayed in root directories with bwrap. What is not understood is refused, never left out."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from dockerfile_parse import DockerfileParser

from tests.image.bubble import enter
from tests.image.dockerignore import context_files

ROOT_USER: Final = "0:0"
PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_VARIABLE: Final = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_FROM: Final = re.compile(r"(\S+)(?: AS (\S+))?", re.IGNORECASE)
_HANDED_ON: Final = re.compile(
    r"(?i:https?|no)_(?i:proxy)|PIP_(INDEX_URL|CERT|TRUSTED_HOST|DEFAULT_TIMEOUT)|SSL_CERT_FILE"
)
_HEALTHCHECK: Final = re.compile(r"((?:--\w[\w-]*=\S+ )*)CMD (\[.*\])")


class NotUnderstood(Exception):
    """A line of a Dockerfile that is not replayed; the message has the line."""


@dataclass(frozen=True, slots=True)
class Step:
    """One instruction, with its continuation lines joined."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Image:
    """A root directory, and what a container of it starts with."""

    root: Path
    environment: Mapping[str, str] = field(default_factory=lambda: {"PATH": PATH})
    directory: str = "/"
    user: str = ROOT_USER
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    healthcheck: Sequence[str] = ()
    ports: Sequence[str] = ()

    def run(
        self, command: Sequence[str], *, environment: Mapping[str, str], user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command as a step of a build does: the root may be written."""
        uid, gid = _numbers(self.root, user or self.user)
        return subprocess.run(
            enter(
                self.root,
                command,
                writable=True,
                user=(uid, gid),
                environment={**self.environment, **environment},
                directory=self.directory,
            ),
            capture_output=True,
            text=True,
            check=False,
        )


def steps(text: str) -> list[Step]:
    """The instructions of a Dockerfile. Raises ``NotUnderstood`` for a line that belongs to none."""
    parsed = [
        found
        for found in DockerfileParser(fileobj=io.BytesIO(text.encode()), env_replace=False).structure
        if found["instruction"] != "COMMENT"
    ]
    # The parser leaves out what does not look like an instruction.
    read = {number for found in parsed for number in range(found["startline"], found["endline"] + 1)}
    for number, line in enumerate(text.splitlines()):
        if number not in read and line.strip() and not line.lstrip().startswith("#"):
            raise NotUnderstood(line)
    return [Step(found["instruction"], found["value"].strip()) for found in parsed]


def build(
    text: str,
    context: Path,
    images: Mapping[str, Image],
    directory: Path,
    arguments: Mapping[str, str] | None = None,
) -> Image:
    """Replay a Dockerfile below ``directory``; ``images`` are those that it may begin with, by their references.

    Raises ``NotUnderstood``, and ``AssertionError`` with its output where a ``RUN`` fails.
    """
    building = _Build(context, images, directory, dict(arguments or {}))
    for step in steps(text):
        building.take(step)
    return building.image


class _Build:
    def __init__(self, context: Path, images: Mapping[str, Image], directory: Path, arguments: dict[str, str]) -> None:
        self._context, self._images, self._directory, self._given = context, images, directory, arguments
        self._arguments: dict[str, str] = {}
        self._stages: dict[str, Image] = {}
        self._count = 0
        self._current: Image | None = None

    @property
    def image(self) -> Image:
        if self._current is None:
            raise NotUnderstood("there is no FROM")
        return self._current

    def take(self, step: Step) -> None:
        handlers: dict[str, Callable[[str], None]] = {
            "ARG": self._arg,
            "CMD": self._cmd,
            "COPY": self._copy,
            "ENTRYPOINT": self._entrypoint,
            "ENV": self._env,
            "EXPOSE": self._expose,
            "FROM": self._from,
            "HEALTHCHECK": self._healthcheck,
            "RUN": self._run,
            "USER": self._user,
            "WORKDIR": self._workdir,
        }
        if step.name not in handlers:
            raise NotUnderstood(f"{step.name} {step.value}")
        handlers[step.name](step.value)

    def _arg(self, value: str) -> None:
        name, _, default = self._expanded(value).partition("=")
        if self._current is not None:
            raise NotUnderstood(f"ARG {value} behind FROM")
        self._arguments[name] = self._given.get(name, default)

    def _from(self, value: str) -> None:
        match = _FROM.fullmatch(self._expanded(value))
        if match is None:
            raise NotUnderstood(f"FROM {value}")
        base = self._stages.get(match[1]) or self._images.get(match[1])
        if base is None:
            raise NotUnderstood(f"FROM {value}: there is no {match[1]} among {sorted(self._images)}")
        self._count += 1
        root = self._directory / f"stage-{self._count}"
        subprocess.run(["cp", "-a", "--reflink=auto", base.root, root], check=True)
        self._current = replace(base, root=root)
        if match[2]:
            self._stages[match[2]] = self._current

    def _env(self, value: str) -> None:
        pairs = [part.partition("=") for part in shlex.split(value)]
        if not all(name and sign for name, sign, _ in pairs):
            raise NotUnderstood(f"ENV {value}")
        added = {name: self._expanded(text) for name, _, text in pairs}
        self._change(environment={**self.image.environment, **added})

    def _workdir(self, value: str) -> None:
        directory = os.path.join(self.image.directory, self._expanded(value))  # noqa: PTH118
        _inside(self.image.root, directory).mkdir(parents=True, exist_ok=True)
        self._change(directory=directory)

    def _user(self, value: str) -> None:
        self._change(user=self._expanded(value))

    def _expose(self, value: str) -> None:
        self._change(ports=[*self.image.ports, *value.split()])

    def _entrypoint(self, value: str) -> None:
        # As Docker has it, a new entry point forgets the command that was the old one's.
        self._change(entrypoint=_exec_form(value), command=())

    def _cmd(self, value: str) -> None:
        self._change(command=_exec_form(value))

    def _healthcheck(self, value: str) -> None:
        match = _HEALTHCHECK.fullmatch(value)
        if match is None:
            raise NotUnderstood(f"HEALTHCHECK {value}")
        self._change(healthcheck=_exec_form(match[2]))

    def _run(self, value: str) -> None:
        if value.startswith(("--", "[", "<<")):
            raise NotUnderstood(f"RUN {value}")
        done = self.image.run(["/bin/sh", "-c", value], environment=network_environment())
        assert done.returncode == 0, f"RUN {value}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"

    def _copy(self, value: str) -> None:
        words = shlex.split(self._expanded(value))
        flags = [word for word in words if word.startswith("--")]
        *sources, target = words[len(flags) :]
        if any(not flag.startswith("--from=") for flag in flags) or any(set(source) & set("*?[") for source in sources):
            raise NotUnderstood(f"COPY {value}")
        if flags:
            self._copy_from(self._stages[flags[0].partition("=")[2]], sources, target)
        else:
            self._copy_context(sources, target)

    def _copy_from(self, stage: Image, sources: Sequence[str], target: str) -> None:
        for source in sources:
            found = _inside(stage.root, source)
            if not found.is_dir():
                raise NotUnderstood(f"COPY --from of {source}, which is no folder")
            place = self._place(target)
            place.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", "--reflink=auto", f"{found}/.", place], check=True)

    def _copy_context(self, sources: Sequence[str], target: str) -> None:
        files = list(context_files(self._context))
        for source in map(Path, sources):
            chosen = [path for path in files if source in (path, Path(), *path.parents)]
            assert chosen, f"COPY {source}: the context does not have it"
            for path in chosen:
                if path != source:
                    place = self._place(target) / path.relative_to(source)
                else:
                    place = self._place(target) / path.name if target.endswith("/") else self._place(target)
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self._context / path, place)
                os.chown(place, 0, 0)

    def _place(self, target: str) -> Path:
        return _inside(self.image.root, os.path.join(self.image.directory, target))  # noqa: PTH118

    def _expanded(self, value: str) -> str:
        known = {**self._arguments, **(self._current.environment if self._current else {})}

        def found(match: re.Match[str]) -> str:
            name = match[1] or match[2]
            if name not in known:
                raise NotUnderstood(f"${name} in {value}")
            return known[name]

        text = _VARIABLE.sub(found, value)
        if "${" in text:
            raise NotUnderstood(value)
        return text

    def _change(self, **changes: object) -> None:
        before = self.image
        self._current = replace(before, **changes)  # type: ignore[arg-type]
        self._stages = {name: self._current if stage is before else stage for name, stage in self._stages.items()}


def network_environment() -> dict[str, str]:
    """What a step needs of this machine to reach a package registry, as an engine hands its proxy on."""
    names = re.compile(
        r"(https?|no)_proxy|PIP_(INDEX_URL|CERT|TRUSTED_HOST|DEFAULT_TIMEOUT)|SSL_CERT_FILE", re.IGNORECASE
    )
    return {name: value for name, value in os.environ.items() if names.fullmatch(name)}


def _exec_form(value: str) -> list[str]:
    try:
        words = json.loads(value)
    except ValueError:
        raise NotUnderstood(value) from None
    return [str(word) for word in words]


def _inside(root: Path, path: str) -> Path:
    return root / path.lstrip("/")


def _numbers(root: Path, user: str) -> tuple[int, int]:
    """User and group of ``USER``: numbers, or a name of the image's own."""
    name, _, group = user.partition(":")
    if name.isdecimal():
        return int(name), int(group or "0")
    for line in (root / "etc" / "passwd").read_text().splitlines():
        fields = line.split(":")
        if fields[0] == name:
            return int(fields[2]), int(fields[3])
    raise NotUnderstood(f"USER {user}")
