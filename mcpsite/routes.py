"""What any project mounts: the endpoint and the staff pages.

``path("", include("mcpsite.routes"))`` before the admin's own ``path("admin/", admin.site.urls)``.
"""

from django.urls import include, path

from mcpsite.endpoint.views import mcp_endpoint
from mcpsite.try_it.views import try_it

urlpatterns = [
    path("mcp", mcp_endpoint, name="mcp"),
    path("admin/try-it/", try_it, name="try-it"),
    path("admin/", include("sessions_dynamo.staff.urls")),
]
