"""Python imports this by its name when it starts with this directory on its path: it starts the recorder there."""

from __future__ import annotations

import importlib.util
import os
import sys
from importlib.machinery import PathFinder
from pathlib import Path

_spec = importlib.util.spec_from_file_location("aws_call_recorder", Path(__file__).parents[1] / "recorder.py")
if _spec and _spec.loader and "IAM_CALLS_DIRECTORY" in os.environ:
    _recorder = importlib.util.module_from_spec(_spec)
    _spec.loader.exec_module(_recorder)
    _recorder.install(Path(os.environ["IAM_CALLS_DIRECTORY"]))

# One that stands behind it on the path, and is hidden by it.
_spec = PathFinder.find_spec("sitecustomize", [path for path in sys.path if Path(path) != Path(__file__).parent])
if _spec and _spec.loader:
    _spec.loader.exec_module(importlib.util.module_from_spec(_spec))
