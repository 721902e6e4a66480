"""What recognition remembers of one message never speaks in the verdict on another."""

from collections.abc import Iterable
from importlib import resources

from bouncefiler.recognition.classify import examine
from bouncefiler.recognition.rulebook import Rulebook, read_folder
from bouncefiler.recognition.verdict import Verdict
from tests.recognition.samples import all_samples

SAMPLES = {sample.name: sample.raw for sample in all_samples()}


def fresh() -> Rulebook:
    """Return the rules, remembering nothing."""
    return read_folder(resources.files("bouncefiler.recognition") / "rules")


def judged(names: Iterable[str], rulebook: Rulebook) -> dict[str, tuple[Verdict, str]]:
    """Return the verdicts, by name."""
    return {name: examine(SAMPLES[name], False, rulebook) for name in names}  # noqa: FBT003 - mirrors how mail is read


def test_the_order_in_which_mail_is_judged_does_not_count() -> None:
    """Each mail gets the same verdict and evidence, whichever came before, and once more when all is remembered."""
    one, other = fresh(), fresh()

    forth = judged(SAMPLES, one)

    assert judged(reversed(SAMPLES), other) == forth
    assert judged(SAMPLES, other) == forth
