"""The staff pages as somebody sees them who signs in with what ``make run`` printed."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.parse
import urllib.request
from dataclasses import dataclass

from tests.docs.sites import Site


@dataclass(frozen=True, slots=True)
class Login:
    """The account that a first start makes."""

    user: str
    password: str


def printed_login(site: Site) -> Login:
    """What the site printed, once."""
    (login,) = re.findall(r"user (\S+) password (\S+)$", site.log.read_text(), re.MULTILINE)
    return Login(*login)


def page(site: Site, login: Login, path: str) -> str:
    """A page below ``/admin/``, after signing in; raises ``HTTPError``."""
    base = f"http://127.0.0.1:{site.port}/admin"
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    form = opener.open(f"{base}/login/").read().decode()
    token = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)[0]
    fields = {"csrfmiddlewaretoken": token, "username": login.user, "password": login.password, "next": "/admin/"}
    opener.open(f"{base}/login/", urllib.parse.urlencode(fields).encode()).read()
    return str(opener.open(f"{base}/{path}").read().decode())
