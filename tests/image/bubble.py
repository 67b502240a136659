"""A command line that runs another in a root directory of its own, as a container engine would, by bwrap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

CERTIFICATES: Final = ("PIP_CERT", "SSL_CERT_FILE")
"""Variables that name a file of this machine's, which is then there inside, too."""
NAMES: Final = ("/etc/resolv.conf", "/etc/hosts")


def enter(
    root: Path,
    command: Sequence[str],
    *,
    writable: bool,
    user: tuple[int, int],
    environment: Mapping[str, str],
    directory: str,
    mounts: Sequence[str] = (),
) -> list[str]:
    """The command line. ``mounts`` are more options of bwrap; where nothing is writable, ``/tmp`` is theirs to name.

    Processes, names of hosts and users are the machine's own, the network too; nothing else of it is to be seen.
    """
    seen = [path for path in (*NAMES, *(environment.get(name, "") for name in CERTIFICATES)) if Path(path).is_file()]
    return [
        "bwrap",
        *("--bind" if writable else "--ro-bind", str(root), "/"),
        *("--dev", "/dev", "--perms", "1777", "--tmpfs", "/dev/shm", "--proc", "/proc"),
        *(word for path in dict.fromkeys(seen) for word in ("--ro-bind", path, path)),
        *mounts,
        *("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--clearenv"),
        *(word for name, value in environment.items() for word in ("--setenv", name, value)),
        *("--chdir", directory),
        *("/usr/bin/setpriv", f"--reuid={user[0]}", f"--regid={user[1]}", "--clear-groups", "--no-new-privs"),
        *(() if user[0] == 0 else ("--inh-caps=-all", "--bounding-set=-all")),
        *command,
    ]
