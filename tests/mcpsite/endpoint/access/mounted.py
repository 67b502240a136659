"""The URLs of a project that mounts everything under a path of its own."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("tools/", include("mcpsite.routes")), path("admin/", admin.site.urls)]
