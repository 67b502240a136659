#!/usr/bin/env python
"""Django's command-line utility."""

import gc
import os
import sys
from pathlib import Path

COLLECT_AFTER = 20_000
"""Objects. A start makes 170,000 that stay: looked through after every 700, it would take a fifth longer."""

INTERRUPTED = 130
"""What a shell reports of a program that Ctrl-C ended."""


def main() -> None:
    gc.set_threshold(COLLECT_AFTER)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")
    # A bare clone, where nothing has been configured, is somebody trying this out. Only this entry point assumes so:
    # gunicorn and Lambda refuse to start without a SECRET_KEY unless DEBUG was asked for.
    if not {"DEBUG", "SECRET_KEY"} & os.environ.keys() and not Path(__file__).with_name(".env").exists():
        os.environ["DEBUG"] = "true"
    from django.core.exceptions import ImproperlyConfigured
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except KeyboardInterrupt:
        # Before a command began, or in one of Django's.
        sys.stderr.write("\nInterrupted.\n")
        sys.exit(INTERRUPTED)
    except ImproperlyConfigured as exc:
        # Its message says what to set.
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"This cannot start with its settings: {exc}")


if __name__ == "__main__":
    main()
