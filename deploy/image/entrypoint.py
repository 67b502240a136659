"""What the image runs first (docs/image.md): it installs what MCP_REQUIREMENTS names, then becomes the command.

It runs before anything of the site is imported, and needs nothing but Python.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from importlib.metadata import distributions
from pathlib import Path
from typing import Final, NoReturn

VARIABLE: Final = "MCP_REQUIREMENTS"
PACKAGES: Final = Path("/packages")
"""The one place that is written; ``packages.pth`` puts ``installed`` below it behind the image's own packages."""
CONSTRAINTS: Final = Path(sys.prefix) / "constraints.txt"
"""The image's own packages, as they are locked."""


class CannotStart(Exception):
    """The container cannot do what it was asked to; the message says what to do."""


def install(requirements: Path, packages: Path, constraints: Path) -> list[str]:
    """Install a requirements file into ``packages / "installed"``, and return what came, as ``name==version``.

    What an earlier start left there is removed first. Raises ``CannotStart``, and then nothing is installed.
    """
    if not requirements.is_file():
        raise CannotStart(
            f"There is no file {requirements} in the container. Mount the folder that it is in, such as"
            f" --volume ./app:/srv/app:ro, and give its path inside the container: {VARIABLE}=/srv/app/requirements.txt"
        )
    if not os.access(requirements, os.R_OK):
        raise CannotStart(f"User {os.getuid()} may not read {requirements}: chmod -R a+rX the folder that it is in.")
    unfinished, installed, scratch = (packages / name for name in ("unfinished", "installed", "scratch"))
    try:
        for directory in (unfinished, installed, scratch):
            if directory.exists():
                shutil.rmtree(directory)
        for directory in (unfinished, scratch):
            directory.mkdir(parents=True)
    except OSError as exc:
        raise CannotStart(
            f"Packages are installed below {packages}, and user {os.getuid()} cannot write there ({exc.strerror})."
            f" Mount a tmpfs or a volume that it can write: docker run --tmpfs {packages}:exec"
        ) from None
    try:
        _pip(requirements, unfinished, constraints, scratch)
        names = _checked(requirements, unfinished)
        unfinished.rename(installed)
    finally:
        for directory in (unfinished, scratch):
            shutil.rmtree(directory, ignore_errors=True)
    return names


def _pip(requirements: Path, prefix: Path, constraints: Path, scratch: Path) -> None:
    # -I and no PYTHONPATH: a mounted module that is named like one that pip imports is not in its way.
    command = [sys.executable, "-I", "-m", "pip", "install", "--progress-bar", "off", "--no-warn-script-location"]
    # Into a file: what pip finds there already is a hundred lines, and they are wanted only where it fails.
    with (scratch / "output").open("w+", errors="replace") as output:
        done = subprocess.run(  # noqa: S603
            [*command, "--prefix", prefix, "--constraint", constraints, "--requirement", requirements.name],
            # Where the file's relative paths begin, as when its author ran pip beside it.
            cwd=requirements.parent,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"TMPDIR": str(scratch)},
            stdout=output,
            # Python looks for signals between short sleeps then. A wait without a limit can begin just after a signal
            # came, and the signal would wait with it.
            timeout=threading.TIMEOUT_MAX,
            check=False,
        )
        output.seek(0)
        said = output.read()
    if done.returncode:
        sys.stderr.write(said)
        raise CannotStart(
            f"pip could not install {requirements}; its reason is above. Correct the file and start again. The image's"
            f" own packages stay as they are, in the versions of {constraints}: another version or source of one of"
            " them cannot be had this way."
        )


def _checked(requirements: Path, prefix: Path) -> list[str]:
    """What pip has installed; raises ``CannotStart`` where it could not be loaded."""
    if os.statvfs(prefix).f_flag & os.ST_NOEXEC and any(prefix.rglob("*.so")):
        raise CannotStart(
            f"{requirements} brings compiled packages, and {prefix.parent} is mounted noexec, so that none of them can"
            f" be loaded. Docker mounts a tmpfs so, unless it is told: --tmpfs {prefix.parent}:exec"
        )
    where = str(prefix / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages")
    return sorted(f"{found.name}=={found.version}" for found in distributions(path=[where]))


def _say(text: str) -> None:
    print(f"{VARIABLE}: {text}", file=sys.stderr, flush=True)


def _stop(signum: int, _frame: object) -> NoReturn:
    # The kernel ignores a signal to a container's first process that has no handler.
    raise SystemExit(128 + signum)


def main(command: list[str]) -> NoReturn:
    """Install, where that is asked for, and become the command."""
    if not command:
        raise SystemExit("No command: 'gunicorn mcpsite.asgi' serves, 'python manage.py help' has the others.")
    if named := os.environ.get(VARIABLE):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        _say(f"installing {named}")
        try:
            came = install(Path(named).absolute(), PACKAGES, CONSTRAINTS)
        except CannotStart as exc:
            _say(str(exc))
            raise SystemExit(1) from None
        _say(f"installed {', '.join(came) or 'nothing: the image has all of it'}")
    try:
        os.execvp(command[0], command)  # noqa: S606
    except OSError as exc:
        raise SystemExit(f"{command[0]} cannot be run: {exc.strerror}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
