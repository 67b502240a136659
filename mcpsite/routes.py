"""What any project mounts: the endpoint at ``/mcp`` and ``/mcp/``, and the staff pages under ``/admin/mcp/``.

``path("", include("mcpsite.routes"))`` before the admin's own ``path("admin/", admin.site.urls)``.
"""

from django.apps import apps
from django.urls import include, path

from mcpsite.endpoint.views import mcp_endpoint

urlpatterns = [
    path("mcp", mcp_endpoint, name="mcp"),
    # Served, not redirected: a 301 makes a GET of a POST, and not every client follows a 308 or takes its token along.
    path("mcp/", mcp_endpoint),
    path("admin/mcp/", include("sessions_dynamo.staff.urls")),
]

if apps.is_installed("mcpsite.try_it"):
    from mcpsite.try_it.views import try_it

    urlpatterns += [path("admin/mcp/try-it/", try_it, name="try-it")]
