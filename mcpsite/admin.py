"""Django's and django-mcpz's own models on the staff pages, in their shell's form."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db.models import QuerySet
from django.http import HttpRequest
from django_mcpz.bearer_tokens.admin import TokenAdmin
from django_mcpz.bearer_tokens.models import Token
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from mcpsite.endpoint.access.bearer import remembered

for model in (User, Group, Token):
    admin.site.unregister(model)


@admin.register(User)
class StaffUserAdmin(UserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class StaffGroupAdmin(GroupAdmin, ModelAdmin):  # type: ignore[misc]
    pass


@admin.register(Token)
class BearerTokenAdmin(TokenAdmin, ModelAdmin):  # type: ignore[misc]
    @admin.action(description="Revoke selected tokens")
    def revoke(self, request: HttpRequest, queryset: QuerySet[Token]) -> None:
        """Revoke, and have this process forget at once; by a query, which sends no signal of a token."""
        super().revoke(request, queryset)
        remembered.forget()
