#!/usr/bin/env python
"""Django's command-line utility."""

import os
import sys
from pathlib import Path


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mcpsite.settings")
    # A bare clone, where nothing has been configured, is somebody trying this out. Only this entry point assumes so:
    # gunicorn and Lambda refuse to start without a SECRET_KEY unless DEBUG was asked for.
    if not {"DEBUG", "SECRET_KEY"} & os.environ.keys() and not Path(__file__).with_name(".env").exists():
        os.environ["DEBUG"] = "true"
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
