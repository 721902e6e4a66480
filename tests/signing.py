"""Keys for DKIM, made by openssl for the run, and messages signed with them."""

from __future__ import annotations

import base64
import subprocess
from dataclasses import dataclass
from functools import cache

import dkim


@dataclass(frozen=True)
class SigningKey:
    """A private key, and the record that publishes its public half."""

    pem: bytes
    record: str

    def sign(
        self,
        message: bytes,
        selector: str = "k1",
        domain: str = "example.org",
        *,
        canonicalize: tuple[bytes, bytes] = (b"relaxed", b"relaxed"),
        fields: tuple[bytes, ...] | None = None,
        length: bool = False,
    ) -> bytes:
        """Return the message with a signature on top; `fields` are the names in h=, None for those that are usual."""
        signature = dkim.sign(
            message,
            selector.encode(),
            domain.encode(),
            self.pem,
            canonicalize=canonicalize,
            include_headers=fields,
            length=length,
        )
        return bytes(signature) + message


@cache
def signing_key(bits: int = 2_048) -> SigningKey:
    """Make a key of this length; the same one for the whole run."""
    generate = ["openssl", "genrsa", str(bits)]
    pem = subprocess.run(generate, check=True, capture_output=True).stdout
    publish = ["openssl", "rsa", "-pubout", "-outform", "DER"]
    public = subprocess.run(publish, input=pem, check=True, capture_output=True).stdout
    return SigningKey(pem, f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}")
