"""Sends a notification through apprise, as a process of its own: it does one order from standard input, and ends.

apprise writes addresses with their tokens into its log, libraries below it into theirs, and any of them may hang or
print. Here all of that can be switched off, and whoever has started this can end it. It is run by its path, and imports
nothing of ours; what it answers has no word of a URL in it, nor of an exception's text.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import smtplib
import sys
import warnings
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

MAX_ANSWER = 65_536
"""So much is read of what a web server answers; nobody looks at it."""

_LEVELS = {"info": "INFO", "warning": "WARNING", "critical": "FAILURE"}

_NEARBY = re.compile(r"localhost|[^.]+|.+\.(?:localhost|local|lan|internal|home\.arpa)", re.IGNORECASE)
"""Names that only mean something in one's own network (RFC 6761, 6762, 8375; `internal`: ICANN, 2024)."""


def main() -> None:
    """Do the order on standard input, and answer it on standard output, both JSON."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    warnings.simplefilter("ignore")
    logging.disable(sys.maxsize)
    try:
        reply = answer(json.load(sys.stdin))
    except BaseException as exc:  # noqa: BLE001 - whatever it is, its text may hold a URL
        reply = {"why": "crash", "detail": type(exc).__name__}
    json.dump(reply, answers)
    answers.flush()
    os._exit(0)  # a plug-in's thread must not keep it


def answer(order: Mapping[str, Any]) -> dict[str, Any]:
    """Say which services the URLs of a `check` belong to, None where apprise knows none; or carry out a `send`."""
    try:
        import apprise  # noqa: PLC0415 - in here, so that what goes wrong with it is answered, too
    except ImportError:
        return {"why": "missing"}
    if order["task"] == "check":
        plugins = [apprise.Apprise.instantiate(url) for url in order["urls"]]
        return {"services": [plugin and str(plugin.service_name) for plugin in plugins]}
    plugin = apprise.Apprise.instantiate(order["url"])
    return _send(apprise, plugin, order) if plugin else {"why": "unknown"}


def _send(apprise: Any, plugin: Any, order: Mapping[str, Any]) -> dict[str, Any]:
    plugin.overflow_mode = apprise.OverflowMode.SPLIT  # too long for a service is two messages, not none
    if hasattr(plugin, "smtp_host"):
        mode = getattr(plugin.secure_mode, "value", plugin.secure_mode)
        if mode == "insecure" and in_the_clear(f"http://{plugin.smtp_host}"):
            return {"why": "clear"}
        plugin.headers.update(order["headers"])
    noted: list[dict[str, Any]] = []
    _watch_web(noted)
    _watch_mail(noted)
    sender = apprise.Apprise()
    sender.add(plugin)
    kind = getattr(apprise.NotifyType, _LEVELS[order["level"]])
    text = apprise.NotifyFormat.TEXT
    if sender.notify(body=order["body"], title=order["title"], notify_type=kind, body_format=text):
        return {"sent": True}
    return noted[-1] if noted else {"why": "refused"}


def _watch_web(noted: list[dict[str, Any]]) -> None:
    """Have requests follow no redirect, send nothing in the clear, read little, and note what goes wrong."""
    import requests  # noqa: PLC0415 - it is apprise's

    real = requests.Session.send

    def send(session: Any, request: Any, **options: Any) -> Any:
        if in_the_clear(request.url):
            noted.append({"why": "clear"})
            raise requests.exceptions.InvalidSchema
        try:
            response = real(session, request, **{**options, "allow_redirects": False, "stream": True})
            with response:
                response._content = next(response.iter_content(MAX_ANSWER), b"")  # noqa: SLF001 - as `content` does
        except requests.RequestException as exc:
            noted.append({"why": web_trouble(type(exc).__name__), "detail": type(exc).__name__})
            raise
        if not 200 <= response.status_code < 300:
            noted.append({"why": "status", "detail": response.status_code})
        return response

    setattr(requests.Session, "send", send)  # noqa: B010 - a checker would want the signature, down to its names


def web_trouble(name: str) -> str:
    """Say what kind of trouble an exception of requests' is, by its name."""
    if name == "SSLError":
        return "untrusted"
    return "timeout" if "Timeout" in name else "unreachable"


def in_the_clear(url: str) -> bool:
    """Whether a request to this URL could be read on its way over the internet."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme != "http":
        return False
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_global
    return not _NEARBY.fullmatch(host)


def _watch_mail(noted: list[dict[str, Any]]) -> None:
    real = smtplib.SMTP.login

    def login(server: Any, *arguments: Any, **options: Any) -> Any:
        try:
            return real(server, *arguments, **options)
        except smtplib.SMTPException:
            noted.append({"why": "login"})
            raise

    setattr(smtplib.SMTP, "login", login)  # noqa: B010


if __name__ == "__main__":
    main()
