"""The staff pages' URLs, under ``/admin/``, before the admin's own."""

from __future__ import annotations

from django.urls import register_converter

from sessions_dynamo.staff.ids import IdConverter

# Before the pages are imported: their URLs use it.
register_converter(IdConverter, "dynamo_id")

from sessions_dynamo.staff.backups import pages as backups  # noqa: E402
from sessions_dynamo.staff.events import listing as events  # noqa: E402
from sessions_dynamo.staff.overview import dashboard  # noqa: E402
from sessions_dynamo.staff.sessions import actions, detail  # noqa: E402
from sessions_dynamo.staff.sessions import listing as sessions  # noqa: E402
from sessions_dynamo.staff.tables import pages as tables  # noqa: E402
from sessions_dynamo.staff.workers import pages as workers  # noqa: E402

app_name = "mcp_staff"

urlpatterns = [
    *dashboard.urlpatterns,
    *sessions.urlpatterns,
    *detail.urlpatterns,
    *actions.urlpatterns,
    *events.urlpatterns,
    *workers.urlpatterns,
    *tables.urlpatterns,
    *backups.urlpatterns,
]
