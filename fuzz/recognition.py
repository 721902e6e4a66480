"""Coverage-guided fuzzing of recognition: `make fuzz` runs it for a fixed number of executions over tests/mail.

What must hold whatever the octets: there is a verdict, nothing raises, one input never takes long (libFuzzer's
-timeout), and a mail that was cut short is never called a bounce for good when the whole is none.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["bouncefiler.recognition"]):
    from bouncefiler.recognition.classify import examine
    from bouncefiler.recognition.lean import suspect
    from bouncefiler.recognition.rulebook import load

RULEBOOK = load()
PIECES = (
    b"\n", b"\n\n", b"\r\n", b"--b\n", b"--b--\n", b"--c\n", b"From: MAILER-DAEMON@example.net\n", b"Return-Path: <>\n",
    b"Return-Path: <x@shop.example>\n", b"Subject: Undelivered Mail Returned to Sender\n", b"Subject: =?utf-8?B?",
    b"Content-Type: multipart/report; report-type=delivery-status; boundary=b\n",
    b'Content-Type: multipart/mixed; boundary*0="c"; boundary*1=""\n', b"Content-Type: text/html\n",
    b"Content-Type: message/delivery-status\n", b"Content-Type: message/rfc822\n",
    b"Content-Type: application/pdf; name=a.pdf\n", b"Content-Transfer-Encoding: base64\n",
    b"Content-Transfer-Encoding: quoted-printable\n", b"charset=iso-2022-jp", b"charset=utf-7",
    b"Reporting-MTA: dns; mx.example.net\n", b"Final-Recipient: rfc822; bo@example.com\n", b"Action: failed\n",
    b"Status: 5.1.1\n", b"Diagnostic-Code: smtp; 550 5.1.1 user unknown\n", b"could not be delivered\n",
    b"<bo@example.com>: 550 5.1.1 user unknown\n", b"<a href=https://login.shop.example/>x</a>", b"<!--", b"<style>",
    b"--- Below this line is a copy of the message.\n", b"From: Ana <ana@example.org>\nTo: bo@example.com\n",
)  # fmt: skip
MAX_OCTETS = 65_536


def built(provider: atheris.FuzzedDataProvider) -> bytes:
    """Return a mail put together from pieces of mails and from octets."""
    out = bytearray()
    while provider.remaining_bytes() and len(out) < MAX_OCTETS:
        choice = provider.ConsumeIntInRange(0, len(PIECES) + 3)
        out += PIECES[choice] if choice < len(PIECES) else provider.ConsumeBytes(provider.ConsumeIntInRange(0, 40))
    return bytes(out)


def hold(raw: bytes, end: int) -> None:
    """Judge a mail whole and cut; raise AssertionError when the cut one says more than the whole."""
    whole, _ = examine(raw, False, RULEBOOK)  # noqa: FBT003 - mirrors how mail is read
    part, _ = examine(raw[:end], True, RULEBOOK)  # noqa: FBT003
    if part.kind.is_bounce and not whole.kind.is_bounce and not part.incomplete:
        raise AssertionError(f"{whole.kind}, but cut after {end} octets {part.kind}")
    suspect(raw[:2_000])


def one_input(data: bytes) -> None:
    """Judge one input, as it is or as a recipe, by its first octet."""
    if not data:
        return
    provider = atheris.FuzzedDataProvider(data[1:])
    raw = data[1:] if data[0] % 2 else built(provider)
    hold(raw, len(raw) * data[0] // 256)


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
