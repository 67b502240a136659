"""The site's URLs: what any project mounts, the admin, and the way there. Health is ``HealthMiddleware``'s."""

from django.contrib import admin
from django.urls import path
from django.views.generic import RedirectView

from mcpsite.routes import urlpatterns as routes

urlpatterns = [
    *routes,
    path("admin/", admin.site.urls),
    path("", RedirectView.as_view(pattern_name="admin:index")),
]
