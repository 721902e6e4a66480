"""Each mail of tests/mail gets the verdict that stands beside it, and every row is there for one of them."""

import pytest

from bouncefiler.recognition.case import Case
from bouncefiler.recognition.lean import suspect
from bouncefiler.recognition.message import read
from bouncefiler.recognition.rulebook import load
from bouncefiler.recognition.tables import Tables
from tests.recognition.samples import NO_LAYOUT, Sample, all_samples, row_names, verdict_of

SAMPLES = all_samples()
BOUNCES = tuple(sample for sample in SAMPLES if sample.expected["kind"] in {"failed", "delayed"})
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)
each_bounce = pytest.mark.parametrize("sample", BOUNCES, ids=lambda sample: sample.name)


@each_sample
def test_verdict_is_the_expected_one(sample: Sample) -> None:
    """Kind, cause, format and recipients are those of the .toml beside the mail."""
    verdict = verdict_of(sample.raw)

    said = {
        "kind": verdict.kind.value,
        "cause": verdict.cause.value if verdict.cause else None,
        "format": verdict.format,
        "recipients": [recipient.final_recipient for recipient in verdict.recipients],
        "causes": [recipient.cause.value for recipient in verdict.recipients],
    }
    wanted = {"cause": None, "format": None} | sample.expected
    assert {key: said[key] for key in wanted} == wanted


@each_bounce
def test_layout_is_that_of_the_folder(sample: Sample) -> None:
    """A mail is claimed by the format of its folder and by no other, whichever is asked first."""
    rulebook = load()
    case = Case(read(sample.raw), rulebook)
    fitting = Tables(rulebook.outer_layouts, rulebook.text_layouts).fitting(case)
    claimed = {rulebook.layouts[rule.name].format for rule, _ in fitting}

    assert sample.folder in NO_LAYOUT or claimed == {sample.folder}


@each_bounce
def test_bounce_is_suspected_by_its_header_fields(sample: Sample) -> None:
    """No bounce is passed over by the scan that reads four header fields."""
    message = read(sample.raw)
    names = ("From", "Subject", "Content-Type", "Message-ID")
    fields = b"".join(
        f"{name}: ".encode() + message.headers.raw(name.lower()) + b"\r\n"
        for name in names
        if name.lower() in message.headers
    )

    assert suspect(fields + b"\r\n")


def test_every_row_is_earned_by_a_mail() -> None:
    """A row that no mail of tests/mail needs is a row that nobody has seen work."""
    rulebook = load()
    spoke = {fact.rule for sample in SAMPLES for fact in verdict_of(sample.raw, rulebook=rulebook).evidence}

    assert sorted(set(row_names(rulebook)) - spoke) == []


def test_evidence_tells_how_the_cause_was_found() -> None:
    """A reader finds the table, the row, the place and the words."""
    sample = next(sample for sample in SAMPLES if sample.name == "exim/failed")
    verdict = verdict_of(sample.raw)

    assert [fact.rule for fact in verdict.evidence][-1] == "en.user-unknown"
    assert verdict.evidence[-1].where == "diagnostic_code"
    assert verdict.evidence[-1].excerpt == "user unknown"
