"""What a person sees: Airflow's pages in a real browser, Debian's Chromium, which runs inside of the lab's network.

As a program, which has to be started in that network, it signs in, opens one page after the other, waits for the texts
that have to be on each, and takes a picture of it. What to look at is a document on standard input, see :func:`see`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import typing as t
import urllib.parse
from pathlib import Path

from airflow_api import PORT, Run
from lab_hosts import MANAGERS, Hosts
from report import OUTPUT

#: Seconds for a page and what has to be on it. A guest's processor is slow, and Airflow's interface is large.
PATIENCE = 240
CHROMIUM = "/usr/bin/chromium"


class Page(t.NamedTuple):
    """A page to look at: its path, what has to be on it, and the picture's name below ``tests/output``.

    What has to be there are regular expressions. Of a long log only the last lines are on the page: Airflow goes to its
    end, and draws what is in sight.
    """

    path: str
    texts: t.Sequence[str]
    picture: str


def see(hosts: Hosts, password: str, pages: t.Sequence[Page]) -> subprocess.CompletedProcess[str]:
    """Open pages of Airflow as its administrator; status 1 and an output that says which text did not come."""
    assert Path(CHROMIUM).exists(), f"there is no {CHROMIUM}: run scripts/lab_needs chromium"
    OUTPUT.mkdir(parents=True, exist_ok=True)
    request = {
        "address": f"http://{hosts.facts['addresses'][MANAGERS[0]]}:{PORT}",
        "username": "admin",
        "password": password,
        "pages": [page._asdict() for page in pages],
    }
    return subprocess.run(
        ["ip", "netns", "exec", hosts.facts["namespace"], sys.executable, __file__],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=False,
        timeout=4 * PATIENCE,
    )


def log_page(run: Run, index: int, attempt: int = 1) -> str:
    """Path of the page with the log of a mapped task."""
    quoted = urllib.parse.quote(run.id, safe="")
    return f"/dags/probe/runs/{quoted}/tasks/work/mapped/{index}?try_number={attempt}"


def main() -> int:
    """See this module; the exit status is 1 when a text did not come."""
    from playwright.sync_api import TimeoutError as NotThere  # noqa: PLC0415 - only the program needs it
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    request = json.load(sys.stdin)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        page.set_default_timeout(PATIENCE * 1000)
        try:
            page.goto(f"{request['address']}/auth/login/")
            page.locator("input[name=username]").fill(request["username"])
            page.locator("input[name=password]").fill(request["password"])
            page.locator("input[type=submit], button[type=submit]").first.click()
            page.wait_for_url(lambda url: "/auth/login" not in url)
            for wanted in request["pages"]:
                page.goto(f"{request['address']}{wanted['path']}")
                try:
                    for text in wanted["texts"]:
                        page.get_by_text(re.compile(text)).first.wait_for()
                finally:
                    page.screenshot(path=str(OUTPUT / wanted["picture"]))
        except NotThere as error:
            print(f"{error}\nThe page is {page.url} and says:\n{page.inner_text('body')[:3000]}")
            return 1
        finally:
            browser.close()
    return 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    sys.exit(main())
