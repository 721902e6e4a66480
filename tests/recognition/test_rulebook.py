"""Rule tables, ours and the user's."""

import re
from collections.abc import Mapping

import pytest

from bouncefiler.errors import ConfigError
from bouncefiler.recognition.rulebook import load, user_rules
from bouncefiler.recognition.verdict import Cause, Kind
from tests.recognition.samples import all_samples, verdict_of

EXIM = next(sample for sample in all_samples() if sample.name == "exim/failed")
WHEN = {"diagnostic_code": {"contains": ["user UNKNOWN"]}}


@pytest.mark.parametrize(
    ("table", "error"),
    [
        (
            {"name": "r", "when": {"diagnostic": {"contains": ["x"]}}},
            'rule 1 "r": when.diagnostic: unknown field (did you mean diagnostic_code?)',
        ),
        (
            {"name": "r", "when": {"subject": {"contain": ["x"]}}},
            'rule 1 "r": when.subject.contain: unknown comparison (did you mean contains?)',
        ),
        ({"name": "r", "when": {}}, 'rule 1 "r": when: name at least one field'),
        ({"when": WHEN}, "rule 1: name: give the rule a name"),
        (
            {"name": "r", "when": WHEN, "then": {"cause": "polcy"}},
            "rule 1 \"r\": then.cause: 'polcy' is none of them (did you mean policy?)",
        ),
        (
            {"name": "r", "when": {"subject": {"matches": ["("]}}},
            'rule 1 "r": when.subject.matches: not a regular expression',
        ),
        (
            {"name": "r", "when": {"subject": {"present": "yes"}}},
            'rule 1 "r": when.subject.present: expected true or false',
        ),
        ({"name": "r", "wehn": WHEN}, 'rule 1 "r": wehn: unknown key (did you mean when?)'),
        (
            {"name": "r", "when": {"subject": {"contains": []}}},
            'rule 1 "r": when.subject.contains: expected a list of texts',
        ),
    ],
)
def test_error_names_the_rule_the_key_and_the_next_step(table: Mapping[str, object], error: str) -> None:
    """So that nobody has to guess what is wrong with the file."""
    with pytest.raises(ConfigError, match=re.escape(f"config.toml: {error}")):
        user_rules([table], "config.toml")


def test_user_rule_comes_before_all_tables() -> None:
    """It changes the cause, and the verdict names it."""
    rules = user_rules(
        [{"name": "mine", "when": WHEN, "then": {"cause": "policy", "file_to": "Bounces/Mine"}}], "config.toml"
    )
    verdict = verdict_of(EXIM.raw, rulebook=load(rules))

    assert verdict.cause is Cause.POLICY
    assert verdict.rules == ("mine",)
    assert verdict.evidence[0].rule == "mine"


def test_user_rule_can_change_the_kind() -> None:
    """What the user says is no bounce is none."""
    rules = user_rules(
        [{"name": "never", "when": {"from": {"contains": ["mx.example.net"]}}, "then": {"kind": "other"}}],
        "config.toml",
    )
    verdict = verdict_of(EXIM.raw, rulebook=load(rules))

    assert verdict.kind is Kind.OTHER
    assert verdict.cause is None


def test_patterns_are_compiled_by_the_engine_that_the_caller_names() -> None:
    """So that a linear-time engine can be used for patterns that others write."""
    seen: list[str] = []

    def compile_pattern(source: str) -> re.Pattern[str]:
        seen.append(source)
        return re.compile(source)

    user_rules([{"name": "r", "when": {"subject": {"matches": ["^x"]}}}], "config.toml", compile_pattern)

    assert seen == ["(?im)^x"]


@pytest.mark.parametrize("cause", list(Cause))
@pytest.mark.parametrize("language", ["en", "pt", "pt_BR"])
def test_each_cause_has_a_word_and_an_advice(cause: Cause, language: str) -> None:
    """In English and Portuguese."""
    rulebook = load()

    assert rulebook.label(cause, language)
    assert rulebook.advice(cause, language).endswith(".")
    assert (rulebook.advice(cause, "pt") == rulebook.advice(cause, "en")) is False


def test_unknown_language_gets_english() -> None:
    """Rather than nothing."""
    assert load().label(Cause.LOOP, "tlh") == load().label(Cause.LOOP, "en")
