"""The staff pages: sessions, events, backups and tables, in the admin's shell.

One module a page, each with its ``urlpatterns``; ``shell`` is what they share.
"""
