"""``python -m tests.browser.accounts``: the site's database, with a staff account for each kind of person.

Run as a process of its own: the tests' own database is another one.
"""

from __future__ import annotations

from typing import Final

PASSWORD: Final = "a-password-for-tests"
PERMISSIONS: Final[dict[str, tuple[str, ...] | None]] = {
    "admin": None,  # A superuser.
    "operator": ("view_session", "change_session", "delete_session"),
    "viewer": ("view_session",),
    "newcomer": (),
}


def main() -> None:
    import django

    django.setup()

    from django.contrib.auth import get_user_model
    from django.contrib.auth.models import Permission
    from django.core.management import call_command

    call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model().objects
    for name, permissions in PERMISSIONS.items():
        if permissions is None:
            users.create_superuser(name, password=PASSWORD)
            continue
        user = users.create_user(name, password=PASSWORD, is_staff=True)
        user.user_permissions.set(
            Permission.objects.filter(content_type__app_label="sessions_dynamo", codename__in=permissions)
        )


if __name__ == "__main__":
    main()
