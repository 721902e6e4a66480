"""The same values as JSON, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from bouncefiler.backscatter.advice import Alert
from bouncefiler.backscatter.volume import Wave
from bouncefiler.filing.plan import Judged, Plan
from bouncefiler.filing.undo import FiledMessage, PastRun, Undo
from bouncefiler.recognition.verdict import Recipient, Verdict
from bouncefiler.render.filing import Overview
from bouncefiler.render.words import Words
from bouncefiler.sweep import Report

if TYPE_CHECKING:  # no other command than `posture` needs it
    from bouncefiler.backscatter.posture import Posture

Json = dict[str, object]


def to_json(record: Json) -> str:
    """Write the record as one line of printable ASCII, without lone surrogates, over which strict readers stumble."""
    return json.dumps(_sound(record), ensure_ascii=True, allow_nan=False)


def _sound(value: object) -> object:
    match value:
        case str():
            return value.encode("utf-8", "replace").decode("utf-8")
        case dict():
            return {key: _sound(item) for key, item in value.items()}
        case list() | tuple():
            return [_sound(item) for item in value]
        case _:
            return value


def explain_json(id: str, verdict: Verdict, words: Words) -> Json:  # noqa: A002 - the field's name
    """Say all that the verdict holds; the first five fields are those that others score and count by."""
    original = verdict.original
    return {
        "id": id,
        "is_bounce": verdict.kind.is_bounce,
        "kind": verdict.kind.value,
        "cause": verdict.cause and verdict.cause.value,
        "recipients": [recipient.final_recipient for recipient in verdict.recipients],
        "recipient_details": [_recipient_json(recipient) for recipient in verdict.recipients],
        "status": next((str(r.status) for r in verdict.recipients if r.status), None),
        "reporting_mta": verdict.reporting_mta,
        "original": original
        and {
            "message_id": original.message_id,
            "from": original.from_,
            "to": original.to,
            "subject": original.subject,
            "date": original.date,
            "received": list(original.received),
        },
        "format": verdict.format,
        "rules": list(verdict.rules),
        "evidence": [{"rule": fact.rule, "where": fact.where, "excerpt": fact.excerpt} for fact in verdict.evidence],
        "null_reverse_path": verdict.null_reverse_path,
        "incomplete": verdict.incomplete,
        "advice": words.advice(verdict.cause) if verdict.cause else None,
    }


def _recipient_json(recipient: Recipient) -> Json:
    return {
        "final_recipient": recipient.final_recipient,
        "original_recipient": recipient.original_recipient,
        "action": recipient.action,
        "status": str(recipient.status) if recipient.status else None,
        "reply_code": recipient.reply_code,
        "diagnostic_code": recipient.diagnostic_code,
        "remote_mta": recipient.remote_mta,
        "cause": recipient.cause.value,
    }


def plan_json(account: str, plan: Plan) -> Iterator[Json]:
    """Yield one object for each thing that the plan says: a settlement, a move, or a message that is left."""
    for settlement in plan.settlements:
        entry = settlement.entry
        yield {
            "what": "settlement",
            "account": account,
            "folder": entry.ref.folder,
            "uidvalidity": entry.ref.uidvalidity,
            "uid": entry.ref.uid,
            "fingerprint": entry.fingerprint,
            "to": entry.to,
            "outcome": settlement.outcome.value,
        }
    for batch in plan.batches:
        for move in batch.moves:
            yield {
                "what": "move",
                **_judged_json(account, move.judged),
                "to": batch.to,
                "because": move.because,
                "by_rule": move.by_rule,
            }
    for left in plan.left:
        yield {"what": "left", **_judged_json(account, left.judged), "why": left.why}


def _judged_json(account: str, judged: Judged) -> Json:
    arrival, verdict = judged.arrival, judged.verdict
    return {
        "account": account,
        "folder": arrival.ref.folder,
        "uidvalidity": arrival.ref.uidvalidity,
        "uid": arrival.ref.uid,
        "fingerprint": arrival.fingerprint,
        "received_at": arrival.received_at.isoformat(),
        "size": arrival.size,
        "subject": judged.subject,
        "original_subject": verdict.original.subject if verdict.original else None,
        "kind": verdict.kind.value,
        "cause": verdict.cause and verdict.cause.value,
        "recipients": [recipient.final_recipient for recipient in verdict.recipients],
        "rules": list(verdict.rules),
    }


def preview_json(account: str, overview: Overview) -> Json:
    """Sum a preview up."""
    return {
        "what": "summary",
        "account": account,
        "scanned": overview.scanned,
        "moves": overview.moves.count,
        "to": dict(overview.targets),
        "left": dict(overview.left),
        "settlements": {outcome.value: count for outcome, count in overview.settled.items()},
    }


def report_json(account: str, report: Report) -> Json:
    """Sum up what `clean` has done."""
    return {
        "what": "report",
        "account": account,
        "scanned": report.scanned,
        "moved": report.moved,
        "left": report.left,
        "gone": report.gone,
        "unsettled": report.unsettled,
        "settled": report.settled,
    }


def waves_json(account: str, found: Sequence[Wave]) -> Json:
    """Tell of waves of bounces that are over."""
    return {
        "what": "past-waves",
        "account": account,
        "waves": [
            {
                "first": wave.first.isoformat(),
                "last": wave.last.isoformat(),
                "bounces": wave.bounces,
                "peak_day": wave.peak_day.isoformat(),
                "peak": wave.peak,
            }
            for wave in found
        ],
    }


def runs_json(account: str, runs: Iterable[PastRun]) -> Iterator[Json]:
    """Yield one object for each run."""
    for run in runs:
        yield {
            "what": "run",
            "account": account,
            "run": run.id,
            "command": run.command,
            "began": run.began.isoformat(),
            "moved": run.moved,
            "undone": run.undone,
        }


def run_json(account: str, messages: Iterable[FiledMessage]) -> Iterator[Json]:
    """Yield one object for each message that a run moved."""
    for message in messages:
        yield {"what": "moved", **_filed_json(account, message)}


def _filed_json(account: str, message: FiledMessage) -> Json:
    to = message.to
    return {
        "account": account,
        "number": message.id,
        "run": message.run,
        "folder": message.ref.folder,
        "to": message.to_folder,
        "to_uidvalidity": to and to.uidvalidity,
        "to_uid": to and to.uid,
        "fingerprint": message.fingerprint,
        "received_at": message.received_at.isoformat(),
        "size": message.size,
        "subject": message.subject,
        "kind": message.kind.value,
        "cause": message.cause and message.cause.value,
        "recipients": list(message.recipients),
        "undone": message.undone,
    }


def undo_json(account: str, undo: Undo) -> Iterator[Json]:
    """Yield one object for each message that is to be put back, or is not."""
    for move, to in undo.moves:
        yield {"what": "undo", "number": move.undoes, **_judged_json(account, move.judged), "to": to}
    for stays in undo.stays:
        yield {"what": "stays", **_filed_json(account, stays.message), "why": stays.why}


def alert_json(alert: Alert) -> Json:
    """Say what an alert says."""
    return {
        "what": "alert",
        "key": alert.key,
        "level": alert.level.value,
        "subject": alert.subject,
        "body": alert.body,
    }


def posture_json(found: Posture) -> Json:
    """Say all that the posture holds."""
    return {
        "what": "posture",
        "domain": found.domain,
        "provider": found.provider,
        "worst": found.worst.value,
        "findings": [
            {
                "code": finding.code.value,
                "severity": finding.severity.value,
                "text": finding.text,
                "number": finding.number,
            }
            for finding in found.findings
        ],
        "suggestions": [
            {"step": proposed.step.value, "name": proposed.name, "type": "TXT", "record": proposed.record}
            for proposed in found.suggestions
        ],
        "published": [{"name": name, "record": record} for name, record in found.published],
    }
