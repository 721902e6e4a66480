"""DKIM signatures (RFC 6376) in returned mail. Only this module knows dkimpy.

A signature is over the header, and over the body by a hash that stands in the header. So it can be verified when only
the header came back, and when the body was changed: the header's part of it holds or doesn't hold by itself.

The mail is a stranger's, so everything is bounded before dkimpy sees it: some of its patterns take time in the square
of a run of blanks.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple

import dkim

from bouncefiler.backscatter.domains import Answer, Status, aligned, domain_name
from bouncefiler.backscatter.proof import Outcome, Proof
from bouncefiler.backscatter.records import Key, key_of, tags

MAX_HEADER = 65_536
MAX_BODY = 262_144
"""Octets; a longer body is not looked at."""
MAX_SIGNATURES = 5
MAX_SIGNATURE = 8_192
MAX_SIGNED = 100
"""Names in h=."""
MAX_BLANKS = 40
"""White space in a row in a signature; those that are folded have a few."""
LEAST_BITS, MOST_BITS = 1_024, 8_192
"""RFC 8301, 3.2: a shorter key proves nothing; a longer one takes long."""
MOST_EXPONENT = 2**32
NOT_VERIFIED = ("rsa-sha1", "ed25519-sha256")
"""The first proves nothing any more (RFC 8301, 3.1), the second (RFC 8463) takes a library in C."""

_NAME = re.compile(r"[!-9;-~]{1,100}")
_BLANKS = re.compile(rb"\s{%d}" % MAX_BLANKS)
_DATES = ("t", "x")
"""dkimpy would hold them against the clock; a message that comes back late is as genuine as it was."""
_BODY = ("bh", "l")

_SILENT = logging.getLogger(f"{__name__}.dkimpy")
"""dkimpy logs what stands in mail; so nobody hears it."""
_SILENT.disabled = True


class _Field(NamedTuple):
    name: bytes
    value: bytes
    """All behind the colon, folded as it is, up to and with the last CRLF: what dkimpy takes for a value."""


class _Head(NamedTuple):
    fields: list[_Field]
    places: dict[str, list[int]]
    """Where the fields of a name are among them; the names in lower case."""


@dataclass(frozen=True, slots=True)
class _Signature:
    field: _Field
    tags: dict[str, str]
    domain: str
    selector: str
    names: tuple[str, ...]
    """h=, in lower case."""

    def proof(self, outcome: Outcome, why: str) -> Proof:
        return Proof(self.domain, self.selector, outcome, why, self.names)


class _Key(NamedTuple):
    """A public key as dkimpy holds it."""

    public: dict[str, int]
    bits: int
    kind: bytes
    tls_reports_only: bool


def prove(
    returned: bytes, look_up: Callable[[str], Answer], *, domains: Collection[str], whole: bool
) -> tuple[Proof, ...]:
    """Verify the signatures of these domains, or of ones aligned with them, in a message that came back.

    Args:
        returned: its header block; the body behind it counts if it came back `whole`. Any line ends.
        look_up: returns the TXT records of a name.
        domains: whose signatures are of interest; others are passed over, and no key of theirs is asked for.
        whole: whether all of the body is there.

    Never raises, and takes some tens of milliseconds at most, beside what `look_up` takes for up to five questions.
    """
    block, body = _parted(returned)
    head = _head(block)
    wanted = [name for domain in domains if (name := domain_name(domain))]
    ours = (signature for signature in _signatures(head) if any(aligned(signature.domain, name) for name in wanted))
    return tuple(
        _proved(signature, head, look_up, body if whole else None) for signature in islice(ours, MAX_SIGNATURES)
    )


def _parted(returned: bytes) -> tuple[bytes, bytes | None]:
    """Part header and body, with LF and CRLF as line ends; None for a body that is too long."""
    lines = (
        returned[: MAX_HEADER + MAX_BODY + 1].replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    )
    head, _, body = lines.lstrip(b"\n").partition(b"\n\n")
    if len(returned) > MAX_HEADER + MAX_BODY or len(body) > MAX_BODY:
        return head[:MAX_HEADER], None
    return head[:MAX_HEADER], body.replace(b"\n", b"\r\n")


def _head(block: bytes) -> _Head:
    """Part a header block into its fields. A line that is none, such as mbox's "From ", is passed over."""
    found: list[list[bytes]] = []
    goes_on = False
    for line in block.split(b"\n"):
        if not line.startswith((b" ", b"\t")):
            name, colon, _ = line.partition(b":")
            goes_on = bool(colon and _NAME.fullmatch(name.decode("latin-1")))
            if goes_on:
                found.append([line])
        elif goes_on:
            found[-1].append(line)
    head = _Head([], {})
    for place, lines in enumerate(found):
        name, _, value = b"\r\n".join((*lines, b"")).partition(b":")
        head.fields.append(_Field(name, value))
        head.places.setdefault(name.decode("ascii").lower(), []).append(place)
    return head


def _signatures(head: _Head) -> Iterator[_Signature]:
    for place in head.places.get("dkim-signature", ()):
        if (signature := _signature(head.fields[place])) is not None:
            yield signature


def _signature(field: _Field) -> _Signature | None:
    """Read a signature; None where it is too long, or does not say whose it is and of what."""
    if len(field.value) > MAX_SIGNATURE or _BLANKS.search(field.value):
        return None
    found = (tags(field.value.decode("ascii")) if field.value.isascii() else None) or {}
    domain, selector = domain_name(found.get("d", "")), found.get("s", "").lower()
    names = tuple(filter(None, (name.strip().lower() for name in found.get("h", "").split(":", MAX_SIGNED))))
    if domain is None or domain_name(f"{selector}.{domain}") is None or not all(map(_NAME.fullmatch, names)):
        return None
    return _Signature(field, found, domain, selector, names)


def _proved(signature: _Signature, head: _Head, look_up: Callable[[str], Answer], body: bytes | None) -> Proof:
    if signature.tags.get("a") in NOT_VERIFIED:
        return signature.proof(Outcome.UNKNOWN, f"{signature.tags['a']} is not verified")
    if not _well_formed(signature):
        return signature.proof(Outcome.INVALID, "it is not what RFC 6376 calls a signature")
    key = _key(look_up(f"{signature.selector}._domainkey.{signature.domain}"))
    if isinstance(key, str):
        return signature.proof(Outcome.UNKNOWN, key)
    if not _verified(signature, head, key):
        return signature.proof(Outcome.INVALID, "the header is not as it was signed")
    intact = None if body is None else _intact(signature, body)
    return replace(
        signature.proof(Outcome.VALID, "; ".join(_remarks(signature, intact))),
        covers_from=_covers(signature, head, "from"),
        covers_message_id=_covers(signature, head, "message-id"),
        covers_date=_covers(signature, head, "date"),
        body_intact=intact,
    )


def _well_formed(signature: _Signature) -> bool:
    if "from" not in signature.names:  # RFC 6376, 5.4: From is a must
        return False
    with suppress(Exception):  # all kinds of them, over what a stranger has written; so twice more below
        dkim.validate_signature_fields(_for_dkimpy(signature, without=_DATES))
        return True
    return False


def _key(answer: Answer) -> _Key | str:
    """Return the key that the records hold, or why there is none."""
    if answer.status is not Status.FOUND:
        return "its key is not published, or no longer" if answer.status is Status.ABSENT else "no answer about its key"
    key = key_of(answer.values)
    if key is None:
        return "what is published in the place of its key is none"
    if (fault := _fault(key)) is not None:
        return fault
    with suppress(Exception):
        public, bits, kind, tls_reports_only = dkim.evaluate_pk("", key.record)
        if bits <= MOST_BITS and 1 < public["publicExponent"] < MOST_EXPONENT:
            return _Key(public, bits, kind, tls_reports_only)
    return "its key is not usable"


def _fault(key: Key) -> str | None:
    if key.revoked:
        return "its key has been revoked"
    if key.bits is None:
        return "its key is of another kind, or damaged"
    return None if LEAST_BITS <= key.bits <= MOST_BITS else f"its key has {key.bits} bits"


def _verified(signature: _Signature, head: _Head, key: _Key) -> bool:
    verifier = dkim.DKIM(logger=_SILENT)
    verifier.headers = _signed(head, [*signature.names, "from"])  # dkimpy looks for one From more
    verifier.pk, verifier.keysize, verifier.ktag, verifier.seqtlsrpt = key
    with suppress(Exception):
        names = [name.encode() for name in signature.names]
        # Without bh= it leaves the body alone; the hash of the header is over the field as it is written.
        return bool(verifier.verify_sig_process(_for_dkimpy(signature, without=_BODY), names, signature.field, None))
    return False


def _signed(head: _Head, names: Sequence[str]) -> list[_Field]:
    """Return the fields that are signed: of each name the last so many (RFC 6376, 5.4.2)."""
    places = (place for name, number in Counter(names).items() for place in head.places.get(name, ())[-number:])
    return [head.fields[place] for place in sorted(places)]


def _for_dkimpy(signature: _Signature, without: Collection[str]) -> dict[bytes, bytes]:
    return {name.encode(): value.encode() for name, value in signature.tags.items() if name not in without}


def _covers(signature: _Signature, head: _Head, name: str) -> bool:
    return name in signature.names and len(head.places.get(name, ())) == 1


def _intact(signature: _Signature, body: bytes) -> bool | None:
    if "l" in signature.tags:  # signed up to there only
        return None
    relaxed = signature.tags.get("c", "").endswith("/relaxed")
    digest = hashlib.sha256(_relaxed(body) if relaxed else _simple(body)).digest()
    return base64.b64encode(digest).decode() == "".join(signature.tags["bh"].split())


def _simple(body: bytes) -> bytes:
    """RFC 6376, 3.4.3. This and the next are not left to dkimpy, which takes very long over many blanks."""
    return body.rstrip(b"\r\n") + b"\r\n"


def _relaxed(body: bytes) -> bytes:
    """RFC 6376, 3.4.4."""
    lines = re.sub(rb"[ \t]+", b" ", body + b"\r\n").replace(b" \r\n", b"\r\n").rstrip(b"\r\n")
    return lines and lines + b"\r\n"


def _remarks(signature: _Signature, intact: bool | None) -> Iterator[str]:  # noqa: FBT001 - three answers, no switch
    with suppress(KeyError, ValueError, OverflowError, OSError):
        until = datetime.fromtimestamp(int(signature.tags["x"][:20]), UTC)
        yield f"made to be verified until {until:%Y-%m-%d}"
    if intact is False:
        yield "the body is not as it was signed"
