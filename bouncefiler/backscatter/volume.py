"""Is this more than usual?"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bouncefiler.recognition.identity import Fingerprint
from bouncefiler.recognition.verdict import Cause, Kind


class Provenance(StrEnum):
    """Did the account's owner send the returned message?"""

    GENUINE = "genuine"
    FORGED = "forged"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sighting:
    """One bounce that came; `received_at` is INTERNALDATE."""

    fingerprint: Fingerprint
    received_at: datetime
    kind: Kind
    cause: Cause
    provenance: Provenance = Provenance.UNKNOWN


@dataclass(frozen=True, slots=True)
class WatchPolicy:
    """When the user wants to be told.

    `threshold`: so many bounces in 24 hours always raise an alert, whatever is usual; None leaves it to the statistics.
    """

    threshold: int | None = None
    renotify: timedelta = timedelta(hours=6)
