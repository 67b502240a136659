"""The site's URLs: the endpoint, health, and the staff pages as its admin."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from mcpsite.endpoint.views import mcp_endpoint
from mcpsite.health import healthz, readyz
from mcpsite.try_it.views import try_it

handler500 = "mcpsite.error_pages.server_error"

urlpatterns = [
    path("healthz", healthz),
    path("readyz", readyz, name="readyz"),
    path("mcp", mcp_endpoint, name="mcp"),
    path("mcp/", mcp_endpoint),
    path("admin/try-it/", try_it, name="try-it"),
    path("admin/", include("sessions_dynamo.staff.urls")),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
