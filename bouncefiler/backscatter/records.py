"""What domains publish about their mail, as values: tag lists (RFC 6376, 3.2) and the keys of DKIM in them."""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

MAX_RECORD = 4_096
"""Characters of a record that is read. The key of 8192 bits takes a third of it."""

_TAG = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,60}")
_SEQUENCE = 0x30
_SHORT = 0x7F
"""The longest length that stands in one octet."""


def tags(text: str) -> dict[str, str] | None:
    """Return the tags of a list such as "v=DKIM1; k=rsa"; None where it is none, or where one is there twice."""
    found: dict[str, str] = {}
    for part in text.strip().removesuffix(";").split(";"):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if not equals or name in found or not _TAG.fullmatch(name):
            return None
        found[name] = value
    return found


@dataclass(frozen=True, slots=True)
class Key:
    """A public key of DKIM (RFC 6376, 3.6.1)."""

    type: str
    """ "rsa" or, RFC 8463, "ed25519"; others are not in use."""
    bits: int | None
    """The length of an RSA key; None for another type, and for octets that are no key."""
    revoked: bool
    """Taken back: p= is empty."""
    testing: bool
    """The t=y of a domain that only tries DKIM out."""
    record: str
    """As it is published."""


def key_of(records: Iterable[str]) -> Key | None:
    """Return the first DKIM key in the TXT records of one name; None when there is none among them."""
    return next((key for record in records if (key := _key(record)) is not None), None)


def _key(record: str) -> Key | None:
    found = tags(record) if len(record) <= MAX_RECORD else None
    if found is None or "p" not in found or found.get("v", "DKIM1") != "DKIM1":
        return None
    kind = found.get("k", "rsa").lower()
    encoded = "".join(found["p"].split())
    flags = {flag.strip().lower() for flag in found.get("t", "").split(":")}
    return Key(kind, _rsa_bits(encoded) if kind == "rsa" else None, not encoded, "y" in flags, record)


def _rsa_bits(encoded: str) -> int | None:
    """Return the length of the modulus: of an RSAPublicKey (RFC 8017, A.1.1), in a SubjectPublicKeyInfo or bare."""
    try:
        parts = _elements(_elements(binascii.a2b_base64(encoded))[0].content)
        if (
            parts[0].tag == _SEQUENCE
        ):  # the algorithm; the key is in the BIT STRING behind it, after an octet of its own
            parts = _elements(_elements(parts[1].content[1:])[0].content)
        return int.from_bytes(parts[0].content, "big").bit_length() or None
    except (binascii.Error, ValueError, IndexError):
        return None


class _Element(NamedTuple):
    tag: int
    content: bytes


def _elements(octets: bytes) -> list[_Element]:
    """Part a run of DER elements (X.690, 8.1). Raises ValueError or IndexError where they are cut short."""
    found, at = [], 0
    while at < len(octets):
        tag, length, at = octets[at], octets[at + 1], at + 2
        if length > _SHORT:
            digits = length - _SHORT - 1
            length, at = int.from_bytes(octets[at : at + digits], "big"), at + digits
        if at + length > len(octets):
            raise ValueError("an element is longer than what is there")
        found.append(_Element(tag, octets[at : at + length]))
        at += length
    return found
