# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Airflow's REST API v2 with the standard library.

PRIVATE to the collection.

Source for paths, bodies and answers: Apache Airflow 3.3.2, ``airflow/api_fastapi/core_api/routes/public``; for the
login ``airflow/providers/fab/auth_manager/api_fastapi/routes/login.py`` (FAB provider 3.10.2).
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import typing as t
import urllib.error
import urllib.request
from urllib.parse import quote, urlencode, urlsplit


class AirflowError(Exception):
    """An answer of Airflow that is not a success.

    Attributes:
        status: HTTP status, for example 404.
        message: Airflow's own words.
        request: method and path, for example ``POST /api/v2/dags/x/dagRuns``.
    """

    def __init__(self, status: int, message: str, request: str) -> None:
        super().__init__(f"Airflow answered {status} to {request}: {message}")
        self.status = status
        self.message = message
        self.request = request


class AirflowUnreachable(Exception):
    """Nothing answers, or not yet: worth another try."""


class AirflowNameUnknown(AirflowUnreachable):
    """The host name in the URL does not resolve."""


class AirflowMisconfigured(Exception):
    """The address, the certificate or the login is wrong: another try will not help.

    Attributes:
        problem: what is wrong.
        fix: what to do.
    """

    def __init__(self, problem: str, fix: str) -> None:
        super().__init__(f"{problem}. {fix}")
        self.problem = problem
        self.fix = fix


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET."""

    def redirect_request(self, *_arguments: t.Any, **_more: t.Any) -> None:
        return None


class AirflowClient:
    """A session with one Airflow.

    Args:
        url: the base URL as users type it; may carry a path.
        username: a user of the FAB auth manager.
        password: the user's password.
        ca_path: PEM file of the authority that signed the server's certificate; empty means those the host trusts.
        validate_certs: False accepts any certificate.
        timeout: seconds that one request may take.

    Attributes:
        date: the server's clock at its last answer, as HTTP writes it; empty before.
    """

    def __init__(
        self,
        url: str,
        username: str,
        password: str,
        *,
        ca_path: str = "",
        validate_certs: bool = True,
        timeout: float = 15.0,
    ) -> None:
        self.url = url.rstrip("/")
        self.timeout = timeout
        self.date = ""
        self._username = username
        self._password = password
        self._token = ""
        handlers: list[urllib.request.BaseHandler] = [_NoRedirect()]
        if self.url.startswith("https:"):
            handlers.append(urllib.request.HTTPSHandler(context=_context(ca_path, validate_certs)))
        self._opener = urllib.request.build_opener(*handlers)

    def version(self) -> str:
        """Airflow's version; needs no login."""
        answer = self._send("GET", "/api/v2/version", login=False)
        return str(answer["version"])

    def health(self) -> dict[str, str]:
        """Component to status, for example ``{"scheduler": "healthy"}``. The endpoint always answers 200."""
        answer = self._send("GET", "/api/v2/monitor/health", login=False)
        return {name: str((part or {}).get("status") or "absent") for name, part in answer.items() if part is not None}

    def dag(self, dag_id: str) -> dict[str, t.Any] | None:
        """The DAG, or None when Airflow does not know it."""
        try:
            return self.get(f"/api/v2/dags/{quote(dag_id, safe='')}")
        except AirflowError as error:
            if error.status == 404:
                return None
            raise

    def unpause(self, dag_id: str) -> None:
        """Let the scheduler run the DAG."""
        path = f"/api/v2/dags/{quote(dag_id, safe='')}"
        self._send("PATCH", path, {"is_paused": False}, {"update_mask": "is_paused"})

    def parse_file(self, file_token: str) -> None:
        """Ask the DAG processor to read a file before the others; doing so twice is fine."""
        try:
            self._send("PUT", f"/api/v2/parseDagFile/{quote(file_token, safe='')}")
        except AirflowError as error:
            if error.status != 409:  # asked for already
                raise

    def trigger(self, dag_id: str, run_id: str, conf: t.Mapping[str, t.Any]) -> None:
        """Queue a run."""
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf)}
        self._send("POST", f"{_runs(dag_id)}", body)

    def runs(self, dag_id: str, prefix: str) -> list[dict[str, t.Any]]:
        """The newest 100 runs whose ID starts with ``prefix``, newest first."""
        # The API's own pattern would take "_" for any character.
        answer = self.get(_runs(dag_id), {"order_by": "-id", "limit": 100})
        return [run for run in answer["dag_runs"] if str(run["dag_run_id"]).startswith(prefix)]

    def run(self, dag_id: str, run_id: str) -> dict[str, t.Any]:
        """One run, with its ``state``."""
        return self.get(_run(dag_id, run_id))

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """End a run that is not wanted any more."""
        self._send("PATCH", _run(dag_id, run_id), {"state": "failed"}, {"update_mask": "state"})

    def delete_run(self, dag_id: str, run_id: str) -> None:
        """Delete a run with its task instances."""
        self._send("DELETE", _run(dag_id, run_id))

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, t.Any]]:
        """The tasks of a run, with ``state``, ``queue``, ``hostname`` and ``try_number``."""
        return self.get(f"{_run(dag_id, run_id)}/taskInstances")["task_instances"]

    def return_value(self, dag_id: str, run_id: str, task_id: str) -> t.Any:
        """What a task returned, or None when it returned nothing."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}/xcomEntries/return_value"
        try:
            value = self.get(path)["value"]
        except AirflowError as error:
            if error.status == 404:
                return None
            raise
        if isinstance(value, str):  # the database's own JSON
            try:
                return json.loads(value)
            except ValueError:
                return value
        return value

    def log_lines(self, dag_id: str, run_id: str, task_id: str, try_number: int) -> list[str]:
        """The log of one try, one message a line. Airflow's own complaints about unreadable logs are among them."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id, safe='')}/logs/{try_number}"
        answer = self.get(path, {"full_content": "true"})
        return [line for entry in answer["content"] for line in _event(entry).splitlines()]

    def import_errors(self) -> list[dict[str, t.Any]]:
        """DAG files that could not be read, with ``filename``, ``bundle_name`` and ``stack_trace``."""
        return self.get("/api/v2/importErrors", {"limit": 20})["import_errors"]

    def get(self, path: str, query: t.Mapping[str, t.Any] | None = None) -> t.Any:
        """GET a JSON document with a login. A list in ``query`` becomes a parameter for each of its values.

        Raises:
            AirflowError: Airflow refuses.
            AirflowUnreachable: Airflow does not answer, or not now.
            AirflowMisconfigured: the URL, the certificate or the login is wrong.
        """
        return self._send("GET", path, None, query)

    def _send(
        self,
        method: str,
        path: str,
        body: t.Any = None,
        query: t.Mapping[str, t.Any] | None = None,
        login: bool = True,
    ) -> t.Any:
        if not login:
            return self._request(method, path, body, query)
        if not self._token:
            self._log_in()
        try:
            return self._request(method, path, body, query)
        except AirflowError as error:
            if error.status != 401:
                raise
        self._log_in()  # the token expired, or the server has a new key
        return self._request(method, path, body, query)

    def _log_in(self) -> None:
        self._token = ""
        body = {"username": self._username, "password": self._password}
        try:
            self._token = self._request("POST", "/auth/token", body)["access_token"]
        except AirflowError as error:
            if error.status == 401:
                raise AirflowMisconfigured(
                    f"Airflow at {self.url} refuses the password of user {self._username}",
                    "Give the user's present password; the init job of a deploy sets that of airflow_admin",
                ) from error
            if error.status in (400, 404, 405):
                raise AirflowMisconfigured(
                    f"{self.url} offers no login with a password ({error.message})",
                    "Give the URL with the path that airflow_public_url has; the FAB auth manager has to be active",
                ) from error
            raise

    def _request(self, method: str, path: str, body: t.Any = None, query: t.Mapping[str, t.Any] | None = None) -> t.Any:
        url = self.url + path + (f"?{urlencode(query, doseq=True)}" if query else "")
        headers = {"Accept": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=payload, headers=headers, method=method)  # noqa: S310 - http(s) only
        try:
            with self._opener.open(request, timeout=self.timeout) as response:
                answer = response.read()
                self.date = response.headers.get("Date", "")
        except urllib.error.HTTPError as error:
            raise _refused(error, f"{method} {path}", self.url) from error
        except urllib.error.URLError as error:
            raise _unreachable(error.reason, self.url) from error
        except (OSError, http.client.HTTPException) as error:
            raise _unreachable(error, self.url) from error
        try:
            return json.loads(answer) if answer.strip() else None
        except ValueError as error:
            raise AirflowError(
                404, "the answer is not JSON, so this is not Airflow's API", f"{method} {path}"
            ) from error


def _context(ca_path: str, validate_certs: bool) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_path or None)
    except (OSError, ssl.SSLError) as error:
        raise AirflowMisconfigured(
            f"the CA file {ca_path} cannot be read ({error})", "Give the path of a PEM file on the host that runs this"
        ) from error
    if not validate_certs:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _refused(error: urllib.error.HTTPError, request: str, url: str) -> Exception:
    with error:
        answer = error.read()
    if error.code in (301, 302, 303, 307, 308):
        target = urlsplit(error.headers.get("Location", ""))
        return AirflowMisconfigured(
            f"{url} redirects to {target.scheme}://{target.netloc}{target.path}",
            "Use the URL it redirects to, without the part that belongs to the API",
        )
    message = _message(answer) or str(error.reason)
    if error.code in (502, 503, 504):
        return AirflowUnreachable(f"{url} answers {error.code}: {message}")
    return AirflowError(error.code, message, request)


def _unreachable(reason: t.Any, url: str) -> Exception:
    if isinstance(reason, ssl.SSLCertVerificationError):
        return AirflowMisconfigured(
            f"the certificate of {url} is not to be trusted ({reason.verify_message})",
            "Give the authority's PEM file with ca_path, or correct the host name in the URL",
        )
    if isinstance(reason, ssl.SSLError):
        return AirflowMisconfigured(
            f"no TLS with {url} ({reason.reason or reason})", "Check whether the URL has to start with http:// there"
        )
    if isinstance(reason, socket.gaierror):
        return AirflowNameUnknown(f"the name in {url} does not resolve ({reason.strerror})")
    if isinstance(reason, socket.timeout):
        return AirflowUnreachable(f"{url} does not answer in time")
    if isinstance(reason, ConnectionRefusedError):
        return AirflowUnreachable(f"{url} refuses the connection: nothing listens there")
    return AirflowUnreachable(f"{url} cannot be reached ({reason})")


def _message(answer: bytes) -> str:
    try:
        detail = json.loads(answer)["detail"]
    except (ValueError, KeyError, TypeError):
        text = answer.decode(errors="replace").strip()
        return "an HTML page" if text.startswith("<") else text[:200]
    return detail if isinstance(detail, str) else json.dumps(detail)


def _event(entry: t.Any) -> str:
    if isinstance(entry, str):
        return entry
    text = str(entry.get("event", ""))
    errors = entry.get("error_detail") or []
    causes = [f"{one.get('exc_type')}: {one.get('exc_value')}" for one in errors if isinstance(one, dict)]
    return "\n".join([text, *causes])


def _runs(dag_id: str) -> str:
    return f"/api/v2/dags/{quote(dag_id, safe='')}/dagRuns"


def _run(dag_id: str, run_id: str) -> str:
    return f"{_runs(dag_id)}/{quote(run_id, safe='')}"
