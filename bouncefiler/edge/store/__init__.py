"""What bouncefiler remembers of one account, in one SQLite file. The only room that speaks SQL.

Kept here: the journal of moves (intended, then settled), sightings of bounces, how far each folder was read, hashes of
the ids of sent mail and of the addresses written to, incidents, the outbox of alerts, refused logins. Not kept here:
mail. Without the file, the folders are read again, that is all.

A `Store` is to be used by one thread at a time, not always the same one.
"""

from __future__ import annotations

from bouncefiler.edge.store.database import at_work
from bouncefiler.edge.store.reader import StoreReader, open_for_reading
from bouncefiler.edge.store.rows import KEPT, Run, WaitingAlert
from bouncefiler.edge.store.schema import MIGRATIONS
from bouncefiler.edge.store.writer import IDLE_RUN_KEPT, Store, open_store

__all__ = [
    "IDLE_RUN_KEPT",
    "KEPT",
    "MIGRATIONS",
    "Run",
    "Store",
    "StoreReader",
    "WaitingAlert",
    "at_work",
    "open_for_reading",
    "open_store",
]
