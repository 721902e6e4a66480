"""Alerts to a chat, a telephone or anything else that apprise reaches, by URLs that hold a token and so are secrets.

apprise runs in a process of its own (messenger.py), which gets all of an order on its standard input: nothing of a URL
can reach our log, a traceback or the list of processes, and one that hangs is ended.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bouncefiler.backscatter.advice import Alert
from bouncefiler.backscatter.letters import Brief
from bouncefiler.errors import Undelivered

PATIENCE = 15.0
"""Seconds that one URL may take. apprise itself waits four for a connection and four for each further word."""

_MESSENGER = Path(__file__).with_name("messenger.py")

_TROUBLE = {
    "unknown": "apprise does not know what this URL means; docs/alerts.md shows how they are written",
    "clear": "it would go unencrypted over the internet, so it was not sent: take the kind of URL that ends in s, such "
    "as ntfys:// or jsons://",
    "status": "the service answered {detail}",
    "timeout": "the service did not answer in time; try again later",
    "unreachable": "the service cannot be reached ({detail}); look whether the URL names the right server",
    "untrusted": "the certificate of the service is not trusted; look whether the URL names the right server",
    "login": "the mail server refused the user name or the password that is in the URL",
    "refused": "the service did not take it, or apprise could not send it; look whether the URL is still right",
    "missing": "apprise is not installed: `pip install 'bouncefiler[notify]'`, or `pipx inject bouncefiler apprise`",
    "crash": "apprise stumbled over it ({detail})",
}

_STATUS = {
    **dict.fromkeys((401, 403), ": it refuses the token or password that is in the URL"),
    **dict.fromkeys((404, 410), ": there is nobody at that address; look whether the URL is still right"),
    **dict.fromkeys((301, 302, 303, 307, 308), ", which sends us elsewhere: not followed; write where it is now"),
    429: ": too many messages at once; try again later",
}


def send(url: str, alert: Alert, brief: Brief, environ: Mapping[str, str], seconds: float = PATIENCE) -> None:
    """Send the brief form of the alert to the URL, as plain text.

    `environ` is what the process may know of the environment. Raises Undelivered, whose text has nothing of the URL in
    it, when the service did not take it, or did not say so within `seconds`: then it may have arrived all the same.
    """
    headers = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}  # RFC 3834, for e-mail
    order = {"task": "send", "url": url, "title": brief.title, "body": brief.body, "level": alert.level.value}
    reply = _reply({**order, "headers": headers}, environ, seconds)
    if reply.get("sent") is not True:
        raise Undelivered(_in_words(reply))


def services(urls: Sequence[str], environ: Mapping[str, str], seconds: float = PATIENCE) -> tuple[str | None, ...]:
    """Return the name of the service that each URL is for, None where apprise knows none. Raises Undelivered."""
    reply = _reply({"task": "check", "urls": list(urls)}, environ, seconds)
    found = reply.get("services")
    if not isinstance(found, list) or len(found) != len(urls):
        raise Undelivered(_in_words(reply))
    return tuple(name if isinstance(name, str) else None for name in found)


def _reply(order: Mapping[str, Any], environ: Mapping[str, str], seconds: float) -> dict[str, Any]:
    try:
        done = subprocess.run(  # noqa: S603 - our own file, and nothing of the order on its command line
            [sys.executable, "-P", str(_MESSENGER)],
            input=json.dumps(order).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environ,
            timeout=seconds,
            check=False,
        )
        reply = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return {"why": "timeout"}
    except (OSError, ValueError) as exc:
        return {"why": "crash", "detail": type(exc).__name__}
    return reply if isinstance(reply, dict) else {"why": "crash", "detail": "no answer"}


def _in_words(reply: Mapping[str, Any]) -> str:
    why, detail = str(reply.get("why")), reply.get("detail")
    shown = str(detail) if re.fullmatch(r"\w{1,40}|no answer", str(detail)) else "unexpected"
    text = _TROUBLE.get(why, _TROUBLE["refused"]).format(detail=shown)
    return text + _STATUS.get(detail, "; try again later") if why == "status" and isinstance(detail, int) else text
