"""Django's and django-mcpz's own models on the staff pages, in their shell's form."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django_mcpz.bearer_tokens.admin import TokenAdmin
from django_mcpz.bearer_tokens.models import Token
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

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
    pass
