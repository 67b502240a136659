"""What any project mounts: the endpoint at ``/mcp``, and the staff pages under ``/admin/mcp/``.

``path("", include("mcpsite.routes"))`` before the admin's own ``path("admin/", admin.site.urls)``.
"""

from django.apps import apps
from django.urls import include, path

from mcpsite.endpoint.views import mcp_endpoint

urlpatterns = [
    path("mcp", mcp_endpoint, name="mcp"),
    path("admin/mcp/", include("sessions_dynamo.staff.urls")),
]

if apps.is_installed("mcpsite.try_it"):
    from mcpsite.try_it.views import try_it

    urlpatterns += [path("admin/mcp/try-it/", try_it, name="try-it")]
