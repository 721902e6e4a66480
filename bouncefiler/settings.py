"""What the user has configured, as plain frozen data: `config` reads it from the file, everything else takes it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from bouncefiler.backscatter.domains import domain_name
from bouncefiler.backscatter.volume import WatchPolicy
from bouncefiler.filing.plan import FilingPolicy

if TYPE_CHECKING:
    from bouncefiler.recognition.rule import Rule


class Security(StrEnum):
    """How the connection is protected: TLS from the start, STARTTLS before anything else (RFC 8314), or not at all."""

    TLS = "tls"
    STARTTLS = "starttls"
    PLAIN = "plain"


class Compress(StrEnum):
    """When to have the server compress what it sends (RFC 4978), where it can."""

    AUTO = "auto"
    """When its answers take as long as over a slow line."""
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Server:
    """How to reach an IMAP account."""

    host: str
    port: int
    user: str
    security: Security = Security.TLS
    ca_file: Path | None = None
    """PEM file of the authority to trust instead of the system's."""
    fingerprint: str | None = None
    """SHA-256 of the server's certificate, 64 lower-case hex digits: trust this one and no other."""
    timeout: float = 60.0
    """Seconds to wait for the server's next octet."""
    compress: Compress = Compress.AUTO
    oauth: bool = False
    """Whether one logs in with an access token (OAuth 2.0, RFC 6749) instead of a password."""


@dataclass(frozen=True, slots=True)
class KeyringEntry:
    """The secret is in the desktop's keyring, where `bouncefiler login` puts it."""

    service: str = "bouncefiler"


@dataclass(frozen=True, slots=True)
class SystemdCredential:
    """The secret is a systemd credential: a file of this name in $CREDENTIALS_DIRECTORY (systemd.exec(5))."""

    name: str


@dataclass(frozen=True, slots=True)
class Command:
    """This program prints the secret, a password in its first line; it is run without a shell."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TokenCommand:
    """This program prints an access token in its first line, one that is good now; it is run without a shell."""

    argv: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnvironmentVariable:
    """The secret is in this environment variable."""

    name: str


NOTIFY_ENTRY = KeyringEntry("bouncefiler notify")
"""Where in the keyring the URLs to notify are: never where the password is."""

CredentialSource = KeyringEntry | SystemdCredential | Command | TokenCommand | EnvironmentVariable


@dataclass(frozen=True, slots=True)
class Account:
    """One account and what to do in it."""

    name: str
    server: Server
    credential: CredentialSource
    folders: tuple[str, ...] = ("INBOX",)
    poll_interval: timedelta = timedelta(minutes=5)
    filing: FilingPolicy = field(default_factory=FilingPolicy)
    watch: WatchPolicy = field(default_factory=WatchPolicy)
    alert_channels: tuple[str, ...] = ("log", "inbox")
    language: str | None = None
    """Language of alerts, such as "en" or "pt"; None takes the locale's."""
    sent_folders: tuple[str, ...] = ()
    """Where copies of sent mail are; with none, they are found by their flags and names."""
    addresses: tuple[str, ...] = ()
    """Further addresses of the owner's; those that mail is sent from are learnt from sent mail as well."""
    also_sends: tuple[str, ...] = ()
    """Domains of other systems that send in the owner's name, as they are in Message-IDs or among the servers."""
    drafts_folder: str | None = None
    """Where a letter to the contacts is put; None finds it by its flag or name."""
    notify_from: CredentialSource = NOTIFY_ENTRY
    """Where the URLs are that the channel "notify" sends to."""
    idle: bool = True
    """Whether the server may say by itself that something has come (RFC 2177)."""

    @property
    def address(self) -> str:
        """The owner's address: the user name where it is one, else the first that is configured, else that name."""
        return next((name for name in (self.server.user, *self.addresses) if "@" in name), self.server.user)

    @property
    def domain(self) -> str | None:
        """The domain of that address; None when it is none, or of no domain that the DNS could know."""
        local_part, _, domain = self.address.rpartition("@")
        return domain_name(domain) if local_part else None


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration."""

    path: Path
    accounts: Mapping[str, Account]
    state_dir: Path
    language: str | None = None
    """Language of the words for causes; None takes the locale's."""
    rules: tuple[Rule, ...] = ()
    """The user's own rules, in their order."""
    limited: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Which accounts a rule is for, by the rule's name; one that is not in here is for all."""
    dns: bool = True
    """Whether the DNS may be asked: for keys of DKIM signatures, and for what a domain publishes against forgery."""

    def rules_for(self, account: str | None) -> tuple[Rule, ...]:
        """Return the user's rules that are for this account; all of them for None."""
        if account is None:
            return self.rules
        return tuple(rule for rule in self.rules if account in self.limited.get(rule.name, (account,)))

    @property
    def secret_variables(self) -> frozenset[str]:
        """The environment variables that hold secrets: no child process may see them."""
        sources = (source for one in self.accounts.values() for source in (one.credential, one.notify_from))
        return frozenset(source.name for source in sources if isinstance(source, EnvironmentVariable))
