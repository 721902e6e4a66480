"""Whatever the octets, there is a verdict; and the same one for the same mail in another dress."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bouncefiler.recognition.classify import examine
from bouncefiler.recognition.lean import suspect
from bouncefiler.recognition.rulebook import load
from bouncefiler.recognition.verdict import Verdict
from tests.recognition.samples import Sample, all_samples, verdict_of

SAMPLES = all_samples()
each_sample = pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.name)

PIECES = st.sampled_from(
    [
        b"\r\n", b"\n", b"\r", b"\n\n", b"--", b"--b", b"From: ", b"From ", b"Subject: ", b"=?utf-8?B?", b"?=",
        b"Content-Type: multipart/report; boundary=b", b"Content-Type: message/delivery-status\n\n",
        b"Content-Transfer-Encoding: base64\n", b"Final-Recipient: rfc822;", b"Action: failed\n", b"Status: 5.1.1\n",
        b"MAILER-DAEMON@example.net", b"could not be delivered", b"<a@example.com>", b"<", b">", b"<a href=",
        b"&#x110000;", b"\\x{110000}", b"\x1b$B", b"\xff\xfe", b"charset=utf-7\n", b"charset=iso-2022-kr\n", b"\x00",
    ]
)  # fmt: skip


def essence(verdict: Verdict) -> object:
    """What must not depend on how a mail was stored."""
    return verdict.kind, verdict.cause, verdict.recipients, verdict.format


@given(
    st.one_of(
        st.binary(max_size=2_000), st.lists(st.one_of(PIECES, st.binary(max_size=20)), max_size=60).map(b"".join)
    ),
    st.booleans(),
)
def test_any_octets_get_a_verdict(raw: bytes, cut: bool) -> None:
    """Nothing raises."""
    verdict, subject = examine(raw, cut, load())

    assert isinstance(verdict, Verdict)
    assert isinstance(subject, str)
    assert suspect(raw) in {True, False}


@each_sample
def test_line_ends_do_not_count(sample: Sample) -> None:
    """LF, CRLF and CR give the same verdict, with or without an mbox line before."""
    wanted = essence(verdict_of(sample.raw))
    dressed = (
        sample.raw.replace(b"\n", b"\r\n"),
        sample.raw.replace(b"\n", b"\r"),
        b"From x@example.com Sun Mar  1 10:00:00 2026\n" + sample.raw,
    )

    assert [essence(verdict_of(raw)) for raw in dressed] == [wanted] * 3


@each_sample
def test_cut_mail_gets_the_same_verdict_or_an_honest_one(sample: Sample) -> None:
    """Wherever it is cut, the verdict is that of the whole, or a weaker one that says so; never a bounce of none."""
    whole = verdict_of(sample.raw)

    for end in range(0, len(sample.raw), 23):
        verdict = verdict_of(sample.raw[:end], cut=True)
        left_alone = not verdict.kind.is_bounce and not whole.kind.is_bounce
        assert verdict.incomplete or left_alone or essence(verdict) == essence(whole), f"cut after {end} octets"
