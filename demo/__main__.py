"""The demo: a year of somebody's mail on an embedded server, and the real commands at work on it."""

from __future__ import annotations

import sys
import tempfile
from datetime import UTC, datetime
from email.message import EmailMessage
from itertools import takewhile
from pathlib import Path

from demo import account

HEADERS = ("From", "To", "Subject", "Auto-Submitted")


def main() -> None:
    """Show preview, clean, the alert, a clean that finds nothing, and the report. Exits with 1 when a command fails."""
    with account.opened(datetime.now(UTC)) as ana:
        _say(
            f"Ana's INBOX has {ana.messages} messages: a quiet year, her friends and newsletters, and a bad day today."
        )
        _run(ana, "preview", "What would be filed, and why? This only looks.")
        _run(ana, "clean", "Now do it.")
        _say("It waits in her INBOX too, where she reads it on her telephone:")
        _show(ana.newest())
        _run(ana, "clean", "And again? There is nothing left to do.")
        page = Path(tempfile.mkdtemp(prefix="bouncefiler-demo-report-")) / "report.html"
        _run(ana, f"report --output {page}", "All of it on a page, to be looked at in a browser.")
        _say(f"That was all. Nothing of it stays on this machine, but for the page: {page}")


def _run(ana: account.Account, command: str, caption: str) -> None:
    _say(caption)
    print(f"$ bouncefiler {command}\n", flush=True)
    if code := ana.bouncefiler(*command.split(" ")).returncode:
        sys.exit(f"bouncefiler {command} ended with {code}")


def _show(message: EmailMessage) -> None:
    body = message.get_body(("plain",))
    lines = body.get_content().splitlines() if body else []
    first_paragraph = takewhile(str.strip, lines)
    for line in (*(f"{name}: {message[name]}" for name in HEADERS), "", *first_paragraph, "…"):
        print(f"    {line}".rstrip(), flush=True)


def _say(text: str) -> None:
    print(f"\n*** {text}\n", flush=True)


if __name__ == "__main__":
    main()
