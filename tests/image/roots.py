"""A bare Debian with Python, which stands for the base image.

The base image has its Python below ``/usr/local``, of a newer patch level and with a ``pip`` of its own; here it is
Debian's own 3.11, called ``python`` too. Both are Debian bookworm, with the same C library, shell and tools.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

from tests.engines import EngineMissing

SUITE: Final = "bookworm"
MIRROR: Final = "http://deb.debian.org/debian"
INCLUDED: Final = "python-is-python3,python3-venv"
SPACE: Final = 2 * 1024**3
"""Bytes that all roots of a run take, with some to spare."""
READY_MADE: Final = "BARE_ROOT"
"""A variable that names such a root, where one was made earlier; it is only read."""


def bare_root(directory: Path) -> Path:
    """Make the root below ``directory``. Raises ``EngineMissing`` where that cannot be done."""
    require()
    if ready_made := os.environ.get(READY_MADE):
        return Path(ready_made)
    root = directory / "bare"
    done = subprocess.run(
        ["debootstrap", "--variant=minbase", f"--include={INCLUDED}", SUITE, root, MIRROR],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode and ("E: Failed getting release" in done.stderr or "E: Invalid Release" in done.stderr):
        raise EngineMissing(f"no Debian mirror answers at {MIRROR}")
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr}"
    for needless in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/lib/apt/lists"):
        shutil.rmtree(root / needless)
    # bwrap brings devices of its own. A copy that took one of these for a file would never end.
    for path in (root / "dev").rglob("*"):
        if not path.is_symlink() and not path.is_dir():
            path.unlink()
    return root


def roomy_place() -> Path | None:
    """A directory in memory, where there is plenty of it and roots can live there; ``None``: where tests keep theirs.

    Roots are a hundred thousand small files, which a disk takes minutes to delete.
    """
    place = Path("/dev/shm")
    if not place.is_dir():
        return None
    status = os.statvfs(place)
    (available,) = (
        int(line.split()[1]) * 1024
        for line in Path("/proc/meminfo").read_text().splitlines()
        if line.startswith("MemAvailable:")
    )
    roomy = status.f_bavail * status.f_frsize > SPACE and available > 3 * SPACE
    return place if roomy and not status.f_flag & (os.ST_NOEXEC | os.ST_NODEV) else None


def require() -> None:
    """Raises ``EngineMissing`` where a root cannot be made and entered."""
    if missing := [name for name in ("debootstrap", "bwrap", "setpriv") if shutil.which(name) is None]:
        raise EngineMissing(f"{', '.join(missing)} not installed: apt-get install debootstrap bubblewrap util-linux")
    if os.geteuid():
        raise EngineMissing("a Debian root is made and entered by root")
    entered = subprocess.run(["bwrap", "--bind", "/", "/", "true"], capture_output=True, text=True, check=False)
    if entered.returncode:
        raise EngineMissing(f"bwrap cannot enter a root here: {entered.stderr.strip()}")
