"""Where each client is installed: an environment of its own in a folder that git ignores, built once for its recipe."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

ROOT: Final = Path(__file__).resolve().parents[2]
DRIVERS: Final = Path(__file__).parent / "drivers"
BUILD_SECONDS: Final = 900


class NotBuilt(Exception):
    """An environment that could not be built; the message ends with what the tool said."""


class ToolchainMissing(NotBuilt):
    """A program that a recipe needs is not on PATH."""


class Recipe(Protocol):
    """How an environment is built in a folder, and the command that runs a driver in it."""

    @property
    def tool(self) -> str:
        """The program that must be on PATH."""
        ...

    def build(self, folder: Path) -> None: ...

    def command(self, folder: Path) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Pip:
    """A virtual environment of this Python, and one of the drivers in Python."""

    driver: str
    requirements: tuple[str, ...]
    tool: str = sys.executable

    def build(self, folder: Path) -> None:
        uv = [sys.executable, "-m", "uv"]
        _run([*uv, "venv", "--quiet", "--python", sys.executable, folder / "venv"], folder)
        _run([*uv, "pip", "install", "--quiet", "--python", folder / "venv", *self.requirements], folder)

    def command(self, folder: Path) -> list[str]:
        return [str(folder / "venv" / "bin" / "python"), str(DRIVERS / self.driver)]


@dataclass(frozen=True, slots=True)
class Npm:
    """A folder with its ``node_modules``, beside which the driver is copied: modules are found from where it stands."""

    driver: str
    packages: tuple[str, ...]
    tool: str = "npm"

    def build(self, folder: Path) -> None:
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        _run(["npm", "install", "--no-audit", "--no-fund", "--loglevel=error", *self.packages], folder)

    def command(self, folder: Path) -> list[str]:
        for module in DRIVERS.glob("*.mjs"):
            shutil.copy2(module, folder)
        return ["node", str(folder / self.driver)]


@dataclass(frozen=True, slots=True)
class Page:
    """A web page that an npm package serves, with a driver in Python that uses it in Chromium by playwright."""

    driver: str
    packages: tuple[str, ...]
    tool: str = "npm"

    def build(self, folder: Path) -> None:
        Npm(self.driver, self.packages).build(folder)

    def command(self, folder: Path) -> list[str]:
        return [sys.executable, str(DRIVERS / self.driver), str(folder)]


@dataclass(frozen=True, slots=True)
class Go:
    """A module of the driver's sources, built to a program."""

    driver: str
    module: str
    tool: str = "go"

    def build(self, folder: Path) -> None:
        for source in (DRIVERS / self.driver, DRIVERS / "go" / "steps.go"):
            shutil.copy2(source, folder)
        _run(["go", "mod", "init", "matrix"], folder)
        _run(["go", "get", self.module], folder)
        _run(["go", "mod", "tidy"], folder)
        _run(["go", "build", "-o", "driver", "."], folder)

    def command(self, folder: Path) -> list[str]:
        return [str(folder / "driver")]


@dataclass(frozen=True, slots=True)
class Cargo:
    """A crate of the driver's sources, built without optimisation."""

    driver: str
    dependencies: tuple[str, ...]
    """Lines of ``[dependencies]``."""
    tool: str = "cargo"

    def build(self, folder: Path) -> None:
        (folder / "src").mkdir(exist_ok=True)
        shutil.copy2(DRIVERS / self.driver, folder / "src" / "main.rs")
        package = '[package]\nname = "driver"\nversion = "0.0.0"\nedition = "2024"\n\n[profile.dev]\ndebug = 0\n'
        (folder / "Cargo.toml").write_text(package + "\n[dependencies]\n" + "\n".join(self.dependencies) + "\n")
        _run(["cargo", "build", "--quiet"], folder)

    def command(self, folder: Path) -> list[str]:
        return [str(folder / "target" / "debug" / "driver")]


@dataclass(frozen=True, slots=True)
class Maven:
    """A project of the driver's sources, compiled, and the class path that Maven found for it."""

    driver: str
    version: str
    tool: str = "mvn"

    def build(self, folder: Path) -> None:
        sources = folder / "src" / "main" / "java"
        sources.mkdir(parents=True, exist_ok=True)
        for source in sorted((DRIVERS / "java").glob("*.java")):
            shutil.copy2(source, sources)
        (folder / "pom.xml").write_text((DRIVERS / "java" / "pom.xml").read_text().replace("@VERSION@", self.version))
        classpath = ["dependency:build-classpath", "-Dmdep.outputFile=classpath"]
        _run(["mvn", "--quiet", "--batch-mode", "compile", *classpath], folder)

    def command(self, folder: Path) -> list[str]:
        classpath = f"{folder / 'target' / 'classes'}:{(folder / 'classpath').read_text().strip()}"
        return ["java", "-XX:TieredStopAtLevel=1", "-cp", classpath, self.driver]


def cache() -> Path:
    """``.clients`` in the clone, or what ``CLIENTS_CACHE`` names."""
    return Path(os.environ.get("CLIENTS_CACHE") or ROOT / ".clients")


def prepared(name: str, recipe: Recipe) -> list[str]:
    """The command that runs a client's driver; its environment is built if it is not there or not of this recipe."""
    if shutil.which(recipe.tool) is None:
        raise ToolchainMissing(f"{recipe.tool} is not on PATH")
    folder = cache() / name.replace(" ", "-").replace("/", "-")
    stamp = folder / ".built"
    if not stamp.exists() or stamp.read_text() != _identity(recipe):
        # What a compiler has built of others' code is built again for nothing.
        if not isinstance(recipe, Cargo):
            shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, exist_ok=True)
        recipe.build(folder)
        stamp.write_text(_identity(recipe))
    return recipe.command(folder)


def _identity(recipe: Recipe) -> str:
    """What an environment depends on: the recipe, and for what is compiled its sources."""
    digest = hashlib.sha256()
    if isinstance(recipe, Go | Cargo | Maven):
        folder = {"go": "go", "cargo": "rust", "mvn": "java"}[recipe.tool]
        for source in sorted((DRIVERS / folder).rglob("*")):
            digest.update(source.read_bytes() if source.is_file() else b"")
    assert not isinstance(recipe, type)
    fields = asdict(recipe)  # type: ignore[call-overload]
    return f"{type(recipe).__name__} {json.dumps(fields)} {digest.hexdigest()}"


def _run(command: Sequence[str | Path], folder: Path) -> None:
    parts = [str(part) for part in command]
    # uv would prefer the environment of whoever runs the matrix.
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    try:
        done = subprocess.run(
            parts,
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise NotBuilt(f"{' '.join(parts)} took longer than {BUILD_SECONDS} s") from error
    if done.returncode:
        raise NotBuilt(f"{' '.join(parts)} failed:\n{(done.stdout + done.stderr)[-3000:]}")
