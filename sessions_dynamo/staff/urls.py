"""The staff pages' URLs, under ``/admin/``, before the admin's own."""

from __future__ import annotations

from django.urls import register_converter

from sessions_dynamo.staff.ids import IdConverter

# Before the pages are imported: their URLs use it.
register_converter(IdConverter, "dynamo_id")

from sessions_dynamo.staff import (  # noqa: E402
    backup_pages,
    dashboard,
    event_list,
    session_actions,
    session_detail,
    session_list,
    table_pages,
)

app_name = "staff"

urlpatterns = [
    *dashboard.urlpatterns,
    *session_list.urlpatterns,
    *session_detail.urlpatterns,
    *session_actions.urlpatterns,
    *event_list.urlpatterns,
    *table_pages.urlpatterns,
    *backup_pages.urlpatterns,
]
