"""The tables of the state file, and how an earlier version of them becomes this one."""

from __future__ import annotations

from bouncefiler.backscatter.provenance import Provenance
from bouncefiler.filing.plan import Outcome
from bouncefiler.recognition.verdict import Cause, Kind

Migrations = tuple[tuple[str, ...], ...]


# "bncf", which tells this file from other programs' (https://sqlite.org/pragma.html#pragma_application_id).
APPLICATION_ID = 0x626E6366


# In the tables that grow, an enum's member is stored as its place in these tuples: only ever append.
KINDS = (
    Kind.OTHER,
    Kind.FAILED,
    Kind.DELAYED,
    Kind.DELIVERED,
    Kind.FEEDBACK,
    Kind.AUTOREPLY,
    Kind.RECEIPT,
    Kind.CHALLENGE,
    Kind.IMITATION,
)


CAUSES = (
    Cause.UNKNOWN,
    Cause.MAILBOX_FULL,
    Cause.USER_UNKNOWN,
    Cause.MAILBOX_DISABLED,
    Cause.DOMAIN_UNKNOWN,
    Cause.SENDER_BLOCKED,
    Cause.AUTH_FAILED,
    Cause.CONTENT_REJECTED,
    Cause.MESSAGE_TOO_BIG,
    Cause.RELAY_DENIED,
    Cause.RATE_LIMITED,
    Cause.UNREACHABLE,
    Cause.POLICY,
    Cause.MOVED,
    Cause.LOOP,
    Cause.PROTOCOL_ERROR,
)


PROVENANCES = (Provenance.UNKNOWN, Provenance.FORGED, Provenance.GENUINE)

OUTCOMES = (None, Outcome.MOVED, Outcome.GONE, Outcome.VOID)  # None: intended, and open

_FIRST = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    # A version that cannot read the rest still reads `written_by` from here: this table must stay as it is.
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
    "INSERT INTO meta VALUES ('salt', randomblob(32))",
    """CREATE TABLE run (
        id INTEGER PRIMARY KEY, command TEXT NOT NULL, began INTEGER NOT NULL, ended INTEGER,
        scanned INTEGER NOT NULL DEFAULT 0, moved INTEGER NOT NULL DEFAULT 0, stayed INTEGER NOT NULL DEFAULT 0,
        gone INTEGER NOT NULL DEFAULT 0, unsettled INTEGER NOT NULL DEFAULT 0, settled INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE batch (
        id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES run, source TEXT NOT NULL,
        uidvalidity INTEGER NOT NULL, source_uidnext INTEGER NOT NULL, target TEXT NOT NULL,
        to_uidvalidity INTEGER NOT NULL, to_uidnext INTEGER NOT NULL, method TEXT NOT NULL)""",
    "CREATE INDEX batch_run ON batch (run)",
    """CREATE TABLE move (
        id INTEGER PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batch, uid INTEGER NOT NULL,
        state INTEGER NOT NULL DEFAULT 0, fingerprint BLOB NOT NULL, size INTEGER NOT NULL,
        received_at INTEGER NOT NULL, kind INTEGER NOT NULL, cause INTEGER, subject TEXT NOT NULL,
        recipients TEXT NOT NULL, to_uidvalidity INTEGER, to_uid INTEGER)""",
    "CREATE UNIQUE INDEX move_batch ON move (batch, uid)",
    "CREATE INDEX move_open ON move (id) WHERE state = 0",
    """CREATE TABLE folder (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, uidvalidity INTEGER NOT NULL, UNIQUE (name, uidvalidity))""",
    """CREATE TABLE filed (
        fingerprint BLOB NOT NULL, folder INTEGER NOT NULL REFERENCES folder, last_uid INTEGER NOT NULL,
        PRIMARY KEY (fingerprint, folder)) WITHOUT ROWID""",
    """CREATE TABLE sighting (
        fingerprint BLOB PRIMARY KEY, received_at INTEGER NOT NULL, kind INTEGER NOT NULL,
        cause INTEGER NOT NULL, provenance INTEGER NOT NULL) WITHOUT ROWID""",
    "CREATE INDEX sighting_received_at ON sighting (received_at, kind, provenance)",
    # Fingerprints of the sightings that live on in day_total only, so that they are not counted again.
    "CREATE TABLE folded (fingerprint BLOB PRIMARY KEY) WITHOUT ROWID",
    """CREATE TABLE day_total (
        day INTEGER NOT NULL, kind INTEGER NOT NULL, cause INTEGER NOT NULL, provenance INTEGER NOT NULL,
        count INTEGER NOT NULL, PRIMARY KEY (day, kind, cause, provenance)) WITHOUT ROWID""",
    """CREATE TABLE watermark (
        folder TEXT PRIMARY KEY, uidvalidity INTEGER NOT NULL, last_uid INTEGER NOT NULL) WITHOUT ROWID""",
    """CREATE TABLE incident (
        id INTEGER PRIMARY KEY, diagnosis TEXT NOT NULL, opened REAL NOT NULL, last_seen REAL NOT NULL,
        count INTEGER NOT NULL, usual REAL, total INTEGER NOT NULL, peak INTEGER NOT NULL, notified REAL,
        notified_count INTEGER NOT NULL, closed REAL, began REAL, earlier INTEGER NOT NULL)""",
    """CREATE TABLE outbox (
        id INTEGER PRIMARY KEY, channel TEXT NOT NULL, key TEXT NOT NULL, level TEXT NOT NULL,
        subject TEXT NOT NULL, body TEXT NOT NULL, due REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
        why TEXT NOT NULL DEFAULT '', sent REAL, UNIQUE (channel, key))""",
    "CREATE INDEX outbox_due ON outbox (due) WHERE sent IS NULL",
    "CREATE TABLE refusal (credential TEXT PRIMARY KEY, count INTEGER NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID",
)


_SECOND = (
    # Which of `provenance.Reason` hold, as its bits; 0 as long as nobody has asked.
    "ALTER TABLE sighting ADD COLUMN reasons INTEGER NOT NULL DEFAULT 0",
    # What bounces show of the messages that they return, until it is settled who sent those.
    """CREATE TABLE clue (
        fingerprint BLOB PRIMARY KEY, noted INTEGER NOT NULL, due INTEGER NOT NULL, clues TEXT NOT NULL,
        header BLOB) WITHOUT ROWID""",
    "CREATE INDEX clue_due ON clue (due)",
    "CREATE INDEX clue_header ON clue (fingerprint) WHERE header IS NOT NULL",
    """CREATE TABLE failure (
        fingerprint BLOB NOT NULL, address TEXT NOT NULL, received_at INTEGER NOT NULL, cause INTEGER NOT NULL,
        permanent INTEGER NOT NULL, PRIMARY KEY (fingerprint, address)) WITHOUT ROWID""",
    "CREATE INDEX failure_address ON failure (address, received_at)",
    # What was told of an incident, and when.
    """CREATE TABLE told (
        incident INTEGER NOT NULL, at REAL NOT NULL, notice TEXT NOT NULL,
        diagnosis TEXT NOT NULL, count INTEGER NOT NULL, total INTEGER NOT NULL,
        PRIMARY KEY (incident, at, notice)) WITHOUT ROWID""",
    # Of sent mail: eight octets of the SHA-256 of the Message-ID, and of each address written to.
    """CREATE TABLE sent (
        id BLOB PRIMARY KEY, sent_at INTEGER NOT NULL, recipients INTEGER NOT NULL, mailing INTEGER NOT NULL
        ) WITHOUT ROWID""",
    "CREATE INDEX sent_sent_at ON sent (sent_at, recipients)",
    "CREATE TABLE contact (address BLOB PRIMARY KEY, first INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE INDEX contact_first ON contact (first)",
    # Read are the UIDs from `low` up to `high`: the newest mail is read first. See sent.SentMark.
    """CREATE TABLE sent_folder (
        name TEXT PRIMARY KEY, uidvalidity INTEGER NOT NULL, low INTEGER NOT NULL, high INTEGER NOT NULL,
        since INTEGER, asked INTEGER) WITHOUT ROWID""",
    # What the user's own mail looks like: "from", "id-domain", "id-shape", "relay", "selector", each value with its
    # count. And of how many returned messages the relays are: "chain", "all" of them and those that were "tagged".
    """CREATE TABLE habit (
        what TEXT NOT NULL, value TEXT NOT NULL, count INTEGER NOT NULL, last INTEGER NOT NULL,
        PRIMARY KEY (what, value)) WITHOUT ROWID""",
    # When an alert was given up, or replaced by a later one: it stays, so that it is not put there again.
    "ALTER TABLE outbox ADD COLUMN moot REAL",
)

_THIRD = (
    # The move that this one takes back. That one may be forgotten first, so it is no foreign key.
    "ALTER TABLE move ADD COLUMN undoes INTEGER",
    "CREATE INDEX move_undoes ON move (undoes) WHERE undoes IS NOT NULL",
    "CREATE INDEX move_fingerprint ON move (fingerprint)",
)

_FOURTH = (
    # Returned header blocks, apart from the other clues: they are large, and those are gone through again and again.
    "CREATE TABLE returned (fingerprint BLOB PRIMARY KEY, header BLOB NOT NULL)",
    "INSERT INTO returned SELECT fingerprint, header FROM clue WHERE header IS NOT NULL",
    """CREATE TABLE small_clue (
        fingerprint BLOB PRIMARY KEY, noted INTEGER NOT NULL, due INTEGER NOT NULL, clues TEXT NOT NULL
        ) WITHOUT ROWID""",
    "INSERT INTO small_clue SELECT fingerprint, noted, due, clues FROM clue",
    "DROP TABLE clue",
    "ALTER TABLE small_clue RENAME TO clue",
    "CREATE INDEX clue_due ON clue (due)",
    # What every look at the account asks must not go through all rows of a table that grows.
    "CREATE INDEX clue_noted ON clue (noted)",
    "CREATE INDEX failure_received_at ON failure (received_at)",
    "DROP INDEX sighting_received_at",
    "CREATE INDEX sighting_received_at ON sighting (received_at, kind, provenance, reasons, cause)",
    "DROP INDEX sent_sent_at",
    "CREATE INDEX sent_sent_at ON sent (sent_at, recipients, mailing)",
)

_FIFTH = (
    # What status and report ask of a year must not look up a million bounces one by one: indexes hold all of it, and a
    # failure has the provenance of its sighting.
    "ALTER TABLE failure ADD COLUMN provenance INTEGER NOT NULL DEFAULT 0",
    """UPDATE failure SET provenance = (SELECT provenance FROM sighting WHERE fingerprint = failure.fingerprint)
        WHERE fingerprint IN (SELECT fingerprint FROM sighting WHERE provenance <> 0)""",
    "DROP INDEX failure_address",
    "CREATE INDEX failure_address ON failure (address, received_at, permanent, cause, provenance)",
    "CREATE INDEX move_filed ON move (batch, state, undoes) WHERE state = 1 AND undoes IS NULL",
    # How bounces came on a day, as volume.Day has it, counted once it is over; `whose` are the provenances, as bits. It
    # is counted again when there is a bounce more, or one turns out to be of other mail.
    """CREATE TABLE pace (
        day INTEGER NOT NULL, whose INTEGER NOT NULL, bounces INTEGER NOT NULL, night INTEGER NOT NULL,
        morning INTEGER NOT NULL, afternoon INTEGER NOT NULL, evening INTEGER NOT NULL,
        PRIMARY KEY (day, whose)) WITHOUT ROWID""",
    """CREATE TRIGGER sighting_counted AFTER INSERT ON sighting BEGIN
        DELETE FROM pace WHERE day = new.received_at / 86400; END""",
    """CREATE TRIGGER sighting_judged AFTER UPDATE OF provenance ON sighting WHEN new.provenance <> old.provenance BEGIN
        UPDATE failure SET provenance = new.provenance WHERE fingerprint = new.fingerprint;
        DELETE FROM pace WHERE day = new.received_at / 86400; END""",
)

MIGRATIONS: Migrations = (_FIRST, _SECOND, _THIRD, _FOURTH, _FIFTH)
"""Statements that make version n + 1 of the schema out of version n. What was released is never edited."""
