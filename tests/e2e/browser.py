"""What a person does: sign in by the form with its token, and look at a page in a real browser, Debian's Chromium."""

from __future__ import annotations

import http.cookiejar
import re
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

CHROMIUM = "/usr/bin/chromium"
FIELD = re.compile(r'name="csrf_token"[^>]*value="([^"]+)"')


@dataclass(frozen=True)
class Page:
    """Where a sign-in ended, and whether the API then knew who asks."""

    address: str
    signed_in: bool


@dataclass(frozen=True)
class Seen:
    """What a page of the playbook `status` shows, and every address that it asked for."""

    heading: str
    evidence: str
    rows: list[str]
    asked: list[str]


def look(file: Path, picture: Path) -> Seen:
    """Open a file in the browser and take a picture of it."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only this needs it

    assert Path(CHROMIUM).exists(), f"there is no {CHROMIUM}: run scripts/lab_needs chromium"
    picture.parent.mkdir(parents=True, exist_ok=True)
    asked: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            page = browser.new_page(viewport={"width": 1200, "height": 1000})
            page.on("request", lambda request: asked.append(request.url))
            page.goto(file.as_uri())
            page.screenshot(path=str(picture), full_page=True)
            rows = page.locator("tbody tr").all_inner_texts()
            return Seen(page.inner_text("h1"), page.inner_text("pre"), rows, asked)
        finally:
            browser.close()


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
