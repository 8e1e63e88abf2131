"""What a node's output says and what a head looks at: linear probes, principal components, attention facts.

A probe is a linear map by ridge regression from a node's outputs to the values of a variable, tested on problems that
it was not fitted to; the same with permuted values says what to expect of nothing. A probe shows that a value can be
read from a node, not that the model reads it: that is what interchange is for. Attention facts are the shares that a
head gives to keys, over problems. Sources: Alain and Bengio 1610.01644; Ojala and Garriga 2010 for the test.

>>> generator = torch.Generator().manual_seed(0)
>>> values = torch.randint(3, (400,), generator=generator)
>>> outputs = torch.eye(3)[values] @ torch.randn(3, 8, generator=generator)
>>> probe(outputs, values, generator).accuracy, probe(torch.zeros(400, 8), values, generator).p_value > 0.05
(1.0, True)
>>> cloud = principal(outputs, values)
>>> round(sum(cloud.explained), 3), round(cloud.separation, 3)           # three points span a plane
(1.0, 1.0)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from carryproof.circuits.nodes import HEAD, Node, require_nodes
from carryproof.circuits.recording import Recording
from carryproof.theory.errors import bad

PERMUTATIONS = 99
RIDGE = 1e-3  # of the mean variance of the outputs
SHOWN = 0.05  # the least share of attention that is a fact


@dataclass(frozen=True, kw_only=True, slots=True)
class Probe:
    """Accuracy on the problems left out, the best constant answer's, those with permuted values, and the share of the
    latter that do as well, itself counted.
    """

    accuracy: float
    constant: float
    null: tuple[float, ...]
    p_value: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Cloud:
    """Outputs on their first two principal axes [problem axis], the shares of variance that these explain, and the
    share of the variance in their plane that lies between the values of the variable.
    """

    points: Float[Tensor, "problem 2"]
    explained: tuple[float, float]
    separation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Attention:
    """The share of its attention that a head gives to a key: the mean over problems, and the least and the most."""

    key: int
    mean: float
    low: float
    high: float


@torch.no_grad()
def probe(
    outputs: Float[Tensor, "problem width"],
    values: Int[Tensor, " problem"],
    generator: torch.Generator,
    permutations: int = PERMUTATIONS,
) -> Probe:
    """Fit on one half of the problems, drawn at random, and test on the other.

    Raises ``ValueError`` for fewer than four problems and for a variable of one value.
    """
    problems = len(outputs)
    found, classes = values.cpu().unique(return_inverse=True)
    if problems < 4 or len(found) < 2:
        raise bad("values", f"{len(found)} of {problems} problems", "two or more values, of at least 4 problems")
    order = torch.randperm(problems, generator=generator)
    x = torch.cat([outputs.cpu().double(), torch.ones(problems, 1, dtype=torch.float64)], dim=1)[order]
    fitted, tested = x.tensor_split([problems // 2])
    strength = RIDGE * fitted[:, :-1].square().sum() / max(1, outputs.shape[1]) + 1e-9
    solve = torch.linalg.solve(fitted.T @ fitted + strength * torch.eye(x.shape[1], dtype=x.dtype), fitted.T)
    read = tested @ solve  # [tested fitted]: from values that were seen to predictions

    def accuracy(labels: Tensor) -> float:
        seen, hidden = labels.tensor_split([problems // 2])
        targets = torch.nn.functional.one_hot(seen, len(found)).double()
        return float(((read @ targets).argmax(dim=1) == hidden).double().mean())

    labels = classes[order]
    real = accuracy(labels)
    null = tuple(accuracy(labels[torch.randperm(problems, generator=generator)]) for _ in range(permutations))
    seen, hidden = labels.tensor_split([problems // 2])
    return Probe(
        accuracy=real,
        constant=float((hidden == seen.mode().values).double().mean()),
        null=null,
        p_value=(1 + sum(each >= real for each in null)) / (1 + permutations),
    )


@torch.no_grad()
def principal(outputs: Float[Tensor, "problem width"], values: Int[Tensor, " problem"]) -> Cloud:
    """The plane in which the outputs of a node vary most, and how far a variable divides it.

    Raises ``ValueError`` for outputs of one channel, and for those that do not vary.
    """
    centred = outputs.cpu().double() - outputs.cpu().double().mean(dim=0)
    if centred.shape[1] < 2 or not (variance := centred.square().sum()):
        raise bad("outputs", list(outputs.shape), "two or more channels that vary over problems")
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    points = centred @ axes[:2].T
    of_value = {each: points[values.cpu() == each].mean(dim=0) for each in values.unique().tolist()}
    inside = torch.stack([of_value[each] for each in values.tolist()])  # [problem axis]
    first, second = (points.square().sum(dim=0) / variance).tolist()
    separation = float(inside.square().sum() / points.square().sum())
    return Cloud(points=points.float(), explained=(first, second), separation=separation)


@torch.no_grad()
def attention(recording: Recording, head: Node, at_least: float = SHOWN) -> tuple[Attention, ...]:
    """The keys that a head gives at least some share to, for some problem, most attended first.

    Raises ``ValueError`` for a node that is no head of the model.
    """
    require_nodes(recording.model.config, (head,))
    if head.kind != HEAD:
        raise bad("head", str(head), "a head, such as P18L0H1")
    name = f"blocks.{head.layer}.attn.hook_pattern"
    _, cache = recording.model.run_with_cache(recording.tokens, names=[name])
    shares = cache[name][:, head.index, head.position, : head.position + 1]  # [problem key]
    rows = zip(shares.mean(0).tolist(), shares.amin(0).tolist(), shares.amax(0).tolist(), strict=True)
    found = [Attention(key=key, mean=mean, low=low, high=high) for key, (mean, low, high) in enumerate(rows)]
    return tuple(sorted((each for each in found if each.high >= at_least), key=lambda each: (-each.mean, each.key)))
