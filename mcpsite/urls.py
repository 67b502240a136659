"""The site's URLs: the MCP endpoint and the staff pages. ``HealthMiddleware`` answers the health routes."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from mcpsite.endpoint.views import mcp_endpoint

urlpatterns = [
    path("mcp", mcp_endpoint, name="mcp"),
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
