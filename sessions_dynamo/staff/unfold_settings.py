"""What the staff pages need of the admin's shell: ``from sessions_dynamo.staff.unfold_settings import UNFOLD``.

A project with an ``UNFOLD`` of its own takes from this what it wants.
"""

from __future__ import annotations

from typing import Any, Final

UNFOLD: Final[dict[str, Any]] = {
    "SCRIPTS": ["sessions_dynamo.staff.navigation.script"],
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "show_all_applications": True,
        "navigation": "sessions_dynamo.staff.navigation.sidebar",
    },
    "COMMAND": {"search_callback": "sessions_dynamo.staff.navigation.search"},
    # The shell's own is too dark for text on its dark pages (WCAG 2, AA).
    "COLORS": {"primary": {"500": "oklch(66% .24 303.9)"}},
}
