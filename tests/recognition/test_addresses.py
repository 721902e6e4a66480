"""Where no layout says so, the failed address is told by where it stands."""

from __future__ import annotations

import pytest

from bouncefiler.recognition.addresses import addresses_near_failure


@pytest.mark.parametrize(
    "text",
    [
        "Recipient: other@b.example\n<failed@b.example>: no",
        "RCPT TO:<other@b.example>\nRECIPIENT ADDRESS: failed@b.example",
        "other@b.example: write there\n>>> RCPT TO:<failed@b.example>",
        "other@b.example\nfailed@b.example: no such user",
        "550 5.7.1 see <other@b.example>\n  • failed@b.example  ",
        "Write to <other@b.example>.\nSaid: 550 5.1.1 no such user <failed@b.example> here",
        "Ask other@b.example why <failed@b.example> gets no mail",
        "We know no failed@b.example here, says other@b.example",
    ],
)
def test_the_surest_shape_that_occurs_names_the_failed_address(text: str) -> None:
    """Each text has one shape, and another address in the next vaguer one, or one as vague behind it."""
    assert addresses_near_failure(text, frozenset(), frozenset()) == ("failed@b.example",)
