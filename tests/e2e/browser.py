"""Sign in as a person does: fetch the form, post it with its token, follow what it sets."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass

FIELD = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@dataclass(frozen=True)
class Page:
    """Where a sign-in ended, and whether the API then knew who asks."""

    address: str
    signed_in: bool


def sign_in(url: str, username: str, password: str) -> Page:
    """Use the login form of Airflow's FAB auth manager with a cookie jar of its own."""
    jar = http.cookiejar.CookieJar()
    opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(jar))
    form = opener.open(f"{url}/auth/login/", timeout=30).read().decode()
    token = FIELD.search(form)
    assert token, f"no login form at {url}/auth/login/: {form[:500]}"
    fields = urllib.parse.urlencode({"csrf_token": token.group(1), "username": username, "password": password})
    answer = opener.open(f"{url}/auth/login/", data=fields.encode(), timeout=30)
    return Page(answer.geturl(), _knows_who_asks(opener, jar, url))


def _knows_who_asks(opener: urllib.request.OpenerDirector, jar: http.cookiejar.CookieJar, url: str) -> bool:
    request = urllib.request.Request(f"{url}/api/v2/dags")
    for cookie in jar:
        if cookie.name == "_token" and cookie.value:
            request.add_header("Authorization", f"Bearer {cookie.value}")
    try:
        return opener.open(request, timeout=30).status == 200
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            return False
        raise
