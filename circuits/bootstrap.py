"""Percentile intervals by bootstrap over problems: how far a share would move had other problems been drawn.

Problems are drawn again with replacement, as many as there are, and the share is taken anew; the middle 95 % of those
shares is the interval. No draw can show what was never seen: where a share is 0 or 1, the interval is that of Clopper
and Pearson for as many problems. Sources: Efron 1979; Clopper and Pearson 1934.

>>> import torch
>>> hits = torch.zeros(400, 1).index_fill(0, torch.arange(100), 1.0)
>>> (estimate,) = estimates(hits, torch.ones(400, 1), torch.Generator().manual_seed(0))
>>> estimate.value, 0.20 < estimate.low < 0.22, 0.28 < estimate.high < 0.30
(0.25, True, True)
>>> round(unseen(100).high, 4)                                      # nothing in 100 problems
0.0362
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

DRAWS = 1_000
CASES_AT_ONCE = 4_096
TAIL = 0.025  # on each side


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A share or a mean with the ends of its interval; of nothing, the value is 0 and the interval that of a share."""

    value: float
    low: float
    high: float

    def to_dict(self) -> dict[str, float]:
        """As plain data, to four places."""
        return {"value": round(self.value, 4), "low": round(self.low, 4), "high": round(self.high, 4)}


def unseen(problems: int) -> Estimate:
    """A share of 0 in so many problems, at least one."""
    return Estimate(value=0.0, low=0.0, high=1 - TAIL ** (1 / problems))


def estimates(
    amounts: Float[Tensor, "problem case"],
    weights: Float[Tensor, "problem case"],
    generator: torch.Generator,
    draws: int = DRAWS,
) -> list[Estimate]:
    """The weighted mean sum(amounts * weights) / sum(weights) over problems, for every case, with its interval.

    All cases share the draws, so that differences between them are not blurred.
    """
    problems = len(amounts)
    drawn = torch.randint(problems, (draws, problems), generator=generator)
    times = torch.zeros(draws, problems).scatter_add_(1, drawn, torch.ones(draws, problems))  # each problem in a draw
    found = []
    for part, weight in zip(amounts.split(CASES_AT_ONCE, dim=1), weights.split(CASES_AT_ONCE, dim=1), strict=True):
        part, weight = part.cpu().float() * weight.cpu().float(), weight.cpu().float()
        ratios = (times @ part) / (times @ weight)  # [draw case]; not a number where nothing was drawn
        ends = ratios.nanquantile(torch.tensor([TAIL, 1 - TAIL]), dim=0)
        sums = (part.sum(0).tolist(), weight.sum(0).tolist(), (weight > 0).sum(0).tolist())
        for value, size, counted, (low, high) in zip(*sums, ends.T.tolist(), strict=True):
            if not size:
                found.append(Estimate(value=0.0, low=0.0, high=1.0))
            elif value in (0, size):
                none = unseen(counted)
                found.append(Estimate(value=1.0, low=1 - none.high, high=1.0) if value else none)
            else:
                found.append(Estimate(value=value / size, low=low, high=high))
    return found
