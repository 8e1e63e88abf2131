"""Theories side by side: how often the registered claims of each held, over the cells and seeds of a finished study.

The seed is the unit. A claim of a cell is tested on every seed that is right in range: "generalizes" holds if its exact
match is at least 99 %, "fails" if it is below. A cell is right if every such seed agrees; problems of different seeds
are never pooled. Silence is counted, not scored, and only forecasts that were registered before training count.

>>> holds("fails", 0.42), holds("generalizes", 0.42), holds("silent", 0.42)
(True, False, None)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import fmean

from carryproof.benchmarks.compare import SUCCESS, Comparison, StudyResult
from carryproof.theory.prediction import read_fraction
from carryproof.theory.rivals import THEORIES


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredForecast:
    """One registered forecast beside the accuracies of the seeds that are right in range, in the order of the seeds."""

    theory: str
    comparison: Comparison
    claim: str
    named: Fraction | None
    why: str

    @property
    def accuracies(self) -> tuple[float, ...]:
        """The exact match of every seed that is right in range."""
        return tuple(seed.accuracy for seed in self.comparison.seeds if seed.eligible)

    @property
    def agreeing(self) -> int | None:
        """How many of those seeds did what was claimed; None if nothing was claimed."""
        return None if self.claim == "silent" else sum(bool(holds(self.claim, share)) for share in self.accuracies)

    @property
    def right(self) -> bool | None:
        """Whether every one of them did; None if nothing was claimed or no seed is right in range."""
        if not self.accuracies or self.claim == "silent":
            return None
        return self.agreeing == len(self.accuracies)

    @property
    def error(self) -> float | None:
        """How far from the named accuracy a seed is on average; None if there is no number or no such seed."""
        if self.named is None or not self.accuracies:
            return None
        return fmean(abs(share - float(self.named)) for share in self.accuracies)


@dataclass(frozen=True, kw_only=True, slots=True)
class TheoryScore:
    """What became of the forecasts of one theory.

    ``cells`` were forecast and have a seed that is right in range, ``untested`` have none. Of the cells ``decided``
    carry a claim, and in ``right`` of these every seed agrees; ``seed_share`` is the mean, over decided cells, of the
    share of seeds that agree, and ``error`` the mean distance to the accuracy where one is named (``numbers`` cells).
    """

    name: str
    title: str
    source: str
    cells: int
    untested: int
    generalizes: int
    fails: int
    silent: int
    right: int
    seed_share: float | None
    numbers: int
    error: float | None

    @property
    def decided(self) -> int:
        """In how many tested cells the theory makes a claim."""
        return self.generalizes + self.fails


def holds(claim: str, accuracy: float) -> bool | None:
    """Whether a claim holds of one seed's accuracy; None for silence."""
    return None if claim == "silent" else (claim == "generalizes") == (accuracy >= SUCCESS)


def scored_forecasts(result: StudyResult) -> list[ScoredForecast]:
    """Every registered forecast with its cell, in the registry's order; none if the study registered none."""
    cells = {(each.prediction_id, each.cell["test_digits"], each.cell["law"]): each for each in result.comparisons}
    return [
        ScoredForecast(
            theory=forecast["theory"],
            comparison=cells[registered["prediction_id"], forecast["test_digits"], forecast["law"]],
            claim=forecast["claim"],
            named=None if forecast["accuracy"] is None else read_fraction(forecast["accuracy"]),
            why=forecast["why"],
        )
        for registered in result.registry.get("forecasts", ())
        for forecast in registered["forecasts"]
    ]


def score_theories(forecasts: Sequence[ScoredForecast]) -> list[TheoryScore]:
    """One score a theory, in the order in which the registry names them."""
    return [
        _score(name, [each for each in forecasts if each.theory == name])
        for name in dict.fromkeys(each.theory for each in forecasts)
    ]


def _score(name: str, own: Sequence[ScoredForecast]) -> TheoryScore:
    tested = [each for each in own if each.accuracies]
    decided = [each for each in tested if each.claim != "silent"]
    errors = [each.error for each in tested if each.error is not None]
    theory = THEORIES.get(name)  # a registry may name one that this version does not know
    return TheoryScore(
        name=name,
        title=name if theory is None else theory.title,
        source="" if theory is None else theory.source,
        cells=len(tested),
        untested=len(own) - len(tested),
        generalizes=sum(each.claim == "generalizes" for each in tested),
        fails=sum(each.claim == "fails" for each in tested),
        silent=len(tested) - len(decided),
        right=sum(each.right is True for each in decided),
        seed_share=fmean((each.agreeing or 0) / len(each.accuracies) for each in decided) if decided else None,
        numbers=len(errors),
        error=fmean(errors) if errors else None,
    )


def by_question(forecasts: Sequence[ScoredForecast]) -> Mapping[tuple[str, str], list[ScoredForecast]]:
    """The forecasts of each (prediction, theory)."""
    groups: dict[tuple[str, str], list[ScoredForecast]] = {}
    for each in forecasts:
        groups.setdefault((each.comparison.prediction_id, each.theory), []).append(each)
    return groups


def claim_words(forecasts: Sequence[ScoredForecast]) -> tuple[str, str]:
    """What a theory claims of several cells, and in how many of the tested ones it is right; a dash for silence."""
    claims = " / ".join(dict.fromkeys(each.claim for each in forecasts if each.claim != "silent"))
    if not claims:
        return "–", ""
    tested = [each.right for each in forecasts if each.right is not None]
    return claims, f"{sum(tested)} of {len(tested)}" if tested else "untested"
