"""What the bounces themselves give evidence of: a forged address, a hacked account, the owner's own mailing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from bouncefiler.backscatter.incident import Diagnosis
from bouncefiler.backscatter.provenance import Provenance, Reason

SIGNED_UNSENT = 3
"""So many messages with the signature of the owner's own domain that are not among the sent mail, in 24 hours."""

PROVIDER_SIGNED_UNSENT = 5
"""… with that of the provider that millions share, and the owner's address as From."""

STRANGERS = 30
"""So many addresses that were never written to before, in 24 hours, are not one person's day."""

STRANGE = 0.7
"""… if they are this share of all that were written to."""

BURST_BOUNCES = 5
"""So many messages of a burst have to have come back before it is worth a word."""

TIMES_USUAL = 10
"""What happens on other days, too, has to be so many times as much before it is a sign of anything."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What the bounces of a span of time show, in numbers."""

    bounces: int = 0
    forged: int = 0
    genuine: int = 0
    with_id: int = 0
    """Which show which message they are about."""
    in_sent: int = 0
    not_in_sent: int = 0
    """Of which it is known that it is not among the sent mail."""
    wrote_to: int = 0
    """Which show no message, and are about somebody whom the owner has written to."""
    never_wrote: int = 0
    """… or about nobody of these."""
    refused_as_forged: int = 0
    signed_unsent: int = 0
    provider_signed_unsent: int = 0
    blocked: int = 0

    @property
    def unknown(self) -> int:
        """Bounces of which neither is known."""
        return self.bounces - self.forged - self.genuine


@dataclass(frozen=True, slots=True)
class Burst:
    """What was sent within 24 hours, by the sent mail."""

    messages: int = 0
    recipients: int = 0
    strangers: int = 0
    """Recipients who were never written to before."""
    usual: float | None = None
    """Recipients a day on the days before; None when these are too few to tell."""


class Sign(StrEnum):
    """A sign that somebody else is in the account."""

    BLOCKED = "blocked"
    SIGNED_UNSENT = "signed-unsent"
    PROVIDER_SIGNED_UNSENT = "provider-signed-unsent"
    BURST = "burst"


def tally(counted: Iterable[tuple[Provenance, Reason, int]]) -> Tally:
    """Add up what is known of each bounce; `counted` are (provenance, reasons, how many such)."""
    rows = tuple(counted)

    def of(wanted: Reason, unwanted: Reason = Reason.NOTHING) -> int:
        return sum(n for _, reasons, n in rows if wanted in reasons and not reasons & unwanted)

    unsent = Reason.NOT_IN_SENT
    excused = Reason.OTHER_SYSTEM | Reason.MAILING
    return Tally(
        bounces=sum(n for *_, n in rows),
        forged=sum(n for provenance, _, n in rows if provenance is Provenance.FORGED),
        genuine=sum(n for provenance, _, n in rows if provenance is Provenance.GENUINE),
        with_id=of(Reason.HAS_ID),
        in_sent=of(Reason.IN_SENT),
        not_in_sent=of(unsent),
        wrote_to=of(Reason.WROTE_TO),
        never_wrote=of(Reason.NEVER_WROTE),
        refused_as_forged=of(Reason.REFUSED_AS_FORGED),
        signed_unsent=of(Reason.SIGNED | unsent, excused),
        provider_signed_unsent=of(Reason.PROVIDER_SIGNED | unsent, excused),
        blocked=of(Reason.BLOCKED, Reason.OTHER_SYSTEM),
    )


def weighs_earlier(today: Tally) -> bool:
    """Whether what `signs` finds may depend on what came earlier: not where today's is too little anyway."""
    return today.signed_unsent >= SIGNED_UNSENT or today.provider_signed_unsent >= PROVIDER_SIGNED_UNSENT


def signs(today: Tally, earlier: Tally, earlier_days: float, burst: Burst) -> tuple[Sign, ...]:
    """Say which signs there are that somebody else is in the account.

    `today` is about the last 24 hours, `earlier` about the days before: what another system of the owner's sends every
    day is no sign. No system is let off what is ten times its usual.
    """

    def rises(now: int, before: int, least: int) -> bool:
        return now >= least + TIMES_USUAL * before / max(1.0, earlier_days)

    found = (
        (Sign.BLOCKED, today.blocked > 0),
        (Sign.SIGNED_UNSENT, rises(today.signed_unsent, earlier.signed_unsent, SIGNED_UNSENT)),
        (
            Sign.PROVIDER_SIGNED_UNSENT,
            rises(today.provider_signed_unsent, earlier.provider_signed_unsent, PROVIDER_SIGNED_UNSENT),
        ),
        (Sign.BURST, today.in_sent + today.wrote_to >= BURST_BOUNCES and _to_strangers(burst)),
    )
    return tuple(sign for sign, holds in found if holds)


def _to_strangers(burst: Burst) -> bool:
    if burst.usual is None or burst.strangers < STRANGERS or burst.strangers < STRANGE * burst.recipients:
        return False
    return burst.recipients >= TIMES_USUAL * burst.usual


def diagnose(found: tuple[Sign, ...]) -> Diagnosis:
    """Name what a wave of bounces that the owner is not known to have caused is a sign of."""
    return Diagnosis.COMPROMISED if found else Diagnosis.BACKSCATTER
