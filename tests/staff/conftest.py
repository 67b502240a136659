"""Staff accounts with exactly the permissions that a test names. For stored sessions and events: ``dynamodb``."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission, User
from django.test import Client
from pytest_django import Settings


@pytest.fixture(autouse=True)
def _no_record_of_calls(settings: Settings) -> None:
    """Served calls are written later and by another thread, when a test's tables may be gone."""
    settings.RECORD_CALLS = False


@pytest.fixture
def staff_user(db: None) -> Callable[..., User]:
    """Make a staff account with permissions of ``sessions_dynamo`` by codename, such as ``"view_session"``."""
    numbers = count(1)

    def make(*permissions: str) -> User:
        user: User = get_user_model().objects.create_user(f"staff-{next(numbers)}", is_staff=True)
        granted = Permission.objects.filter(content_type__app_label="sessions_dynamo", codename__in=permissions)
        assert granted.count() == len(permissions), f"no such permission among {permissions}"
        user.user_permissions.set(granted)
        return user

    return make


@pytest.fixture
def staff_client(staff_user: Callable[..., User]) -> Callable[..., Client]:
    """Log a staff account in that has permissions by codename."""

    def make(*permissions: str, enforce_csrf_checks: bool = False) -> Client:
        client = Client(enforce_csrf_checks=enforce_csrf_checks)
        client.force_login(staff_user(*permissions))
        return client

    return make
