"""Words that stand near each other say the same in whatever order, and names say nothing."""

import pytest

from bouncefiler.errors import ConfigError
from bouncefiler.recognition.near import MAX_CHARS, Near
from bouncefiler.recognition.rulebook import load, user_rules
from bouncefiler.recognition.text import fold
from bouncefiler.recognition.verdict import Cause
from tests.recognition.samples import all_samples, verdict_of

FULL = Near([("full_", "exceed", "满"), ("mailbox", "inbox", "邮箱")])


@pytest.mark.parametrize(
    "said",
    [
        "The mailbox of this person is full",
        "Full inbox",
        "Mailboxes have exceeded what they may hold",
        "the mailbox of <sales@full-of-stars.example> is, as we see, full",
        f"the mailbox of <{'a' * MAX_CHARS}@example.com> is full",
        "收件人邮箱已满",
    ],
)
def test_one_of_each_list_in_one_sentence_fits(said: str) -> None:
    """In either order, with endings; addresses between them do not count."""
    assert FULL.find(fold(said))


@pytest.mark.parametrize(
    "said",
    [
        "The mailbox is closed. Our hands are full",
        "The mailbox is fuller than yours",
        "We are full of joy" + " and" * (MAX_CHARS // 4) + " of mailbox stories",
        "full.example refused what mailbox.example sent",
        "The mailbox of full@example.com",
        "A birdmailbox is full",
        "",
    ],
)
def test_other_words_do_not(said: str) -> None:
    """Not in two sentences, not far apart, not longer words, not parts of words, hosts or addresses."""
    assert FULL.find(fold(said)) is None


def test_three_lists_all_have_to_be_met() -> None:
    """Two of them are not enough."""
    near = Near([("nao_",), ("dominio",), ("existe",)])

    assert near.find("o dominio do destinatario nao existe") == "dominio do destinatario nao existe"
    assert near.find("o dominio existe") is None


def test_rules_of_the_user_may_say_it() -> None:
    """They are found by the words of the first list, and the verdict shows what was found."""
    exim = next(sample for sample in all_samples() if sample.name == "exim/failed")
    when = {"diagnostic_code": {"near": [["Unknown"], ["USER"]]}}
    rules = user_rules([{"name": "mine", "when": when, "then": {"cause": "policy"}}], "config.toml")
    verdict = verdict_of(exim.raw, rulebook=load(rules))

    assert verdict.cause is Cause.POLICY
    assert rules[0].needles == ("diagnostic_code", ("unknown",))
    assert ("mine", "user unknown") in [(fact.rule, fact.excerpt) for fact in verdict.evidence]


@pytest.mark.parametrize("wanted", ["full", ["full"], [["full"]], [["full"], []], [["full"], ["_"]], [["full"], [1]]])
def test_what_is_no_list_of_lists_is_refused(wanted: object) -> None:
    """With an example of one that is."""
    with pytest.raises(ConfigError, match=r"when\.subject\.near: expected two lists of texts or more, such as"):
        user_rules([{"name": "r", "when": {"subject": {"near": wanted}}}], "config.toml")
