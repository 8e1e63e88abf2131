"""Attribution patching: the effect of replacing every node, estimated from one gradient, and its error.

To first order, giving a node another output moves the model's margin by the gradient of the margin times the change;
one run forward and one back estimate it for every node at once. The margin is that of the true token over the likeliest
other, summed over the answer. How far the estimates are from the exact effects is part of the result, because nothing
bounds it: a softmax or a ReLU that changes sides is not linear. Source: Nanda 2023; Syed et al. 2310.10348.

>>> from carryproof.circuits.mixture import Mixture, draw
>>> from carryproof.circuits.nodes import every_node
>>> from carryproof.circuits.recording import record
>>> from carryproof.circuits.replacing import means
>>> from carryproof.models import Decoder, DecoderConfig
>>> config = DecoderConfig(d_vocab=15, n_ctx=10, d_model=8, n_heads=2, n_layers=1, encoding="absolute")
>>> model = Decoder.init(config, torch.Generator().manual_seed(0))
>>> recording = record(model, draw(Mixture(), digits=2, seed=0, first=0, count=50))
>>> towards, output = means(recording), recording.output
>>> nudge = lambda node: output(node).lerp(towards(node), 0.01)
>>> round(attribution(recording, every_node(config), nudge).correlation, 2)          # exact for small changes,
1.0
>>> round(attribution(recording, every_node(config), towards).correlation, 2)        # and not for large ones
0.75
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from carryproof.circuits.nodes import HEAD, MLP, NEURON, RESIDUAL, Node, require_nodes
from carryproof.circuits.patching import patched_logits
from carryproof.circuits.recording import Recording
from carryproof.circuits.replacing import Alternative
from carryproof.models.decoder import HookPoint
from carryproof.theory.errors import bad

NODES_AT_ONCE = 128
_HOOKS = {HEAD: "attn.hook_z", MLP: "hook_mlp_out", NEURON: "mlp.hook_post"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """For each node the mean effect on the margin, estimated and exact, and how well they agree over nodes."""

    estimated: Mapping[Node, float]
    exact: Mapping[Node, float]
    correlation: float
    mean_error: float
    worst_error: float

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        nodes = {str(node): {"estimated": self.estimated[node], "exact": self.exact[node]} for node in self.exact}
        names = ("correlation", "mean_error", "worst_error")
        return {"nodes": nodes} | {name: getattr(self, name) for name in names}


def attribution(recording: Recording, nodes: Iterable[Node], alternative: Alternative) -> Attribution:
    """Estimates for some nodes, the exact values, and the error of the former, absolute and in units of the margin."""
    asked = sorted(set(nodes))
    estimated = estimate(recording, asked, alternative)
    base = _margin(recording.logits, recording).mean()
    exact: dict[Node, float] = {}
    for low in range(0, len(asked), NODES_AT_ONCE):
        part = asked[low : low + NODES_AT_ONCE]
        logits = patched_logits(recording, [{node: alternative(node)} for node in part])
        exact |= {node: float(_margin(each, recording).mean() - base) for node, each in zip(part, logits, strict=True)}
    pair = torch.tensor([list(estimated.values()), list(exact.values())], dtype=torch.float64)
    errors = (pair[0] - pair[1]).abs()
    still = bool((pair.std(dim=1, correction=0) == 0).any())
    return Attribution(
        estimated=estimated,
        exact=exact,
        correlation=0.0 if still else float(torch.corrcoef(pair)[0, 1]),
        mean_error=float(errors.mean()),
        worst_error=float(errors.max()),
    )


def estimate(recording: Recording, nodes: Sequence[Node], alternative: Alternative) -> dict[Node, float]:
    """The estimated mean effect of each node, by one run forward and one back."""
    require_nodes(recording.model.config, nodes)
    if not nodes or any(node.kind == RESIDUAL for node in nodes):
        raise bad("nodes", ", ".join(map(str, nodes)), "one or more heads, MLPs and neurons")
    slopes = _slopes(recording)
    found = {}
    for node in nodes:
        here = slopes[f"blocks.{node.layer}.{_HOOKS[node.kind]}"][:, node.position]
        if node.kind != MLP:
            here = here[:, node.index].reshape(len(recording), -1)
        found[node] = float(((alternative(node) - recording.output(node)) * here).sum(dim=1).mean())
    return found


def _slopes(recording: Recording) -> dict[str, Float[Tensor, "problem token ..."]]:
    """The gradient of each problem's margin by everything that nodes write, by the name of the hook."""
    model, kept = recording.model, dict[str, Tensor]()

    def keep(activation: Tensor, hook: HookPoint) -> None:
        kept[hook.name] = activation

    names = [f"blocks.{layer}.{hook}" for layer in range(model.config.n_layers) for hook in _HOOKS.values()]
    with torch.enable_grad():
        logits = model.run_with_hooks(recording.tokens, fwd_hooks=[(name, keep) for name in names])
        total = _margin(logits[:, recording.start :], recording).sum()
        slopes = torch.autograd.grad(total, [kept[name] for name in names])
    return dict(zip(names, slopes, strict=True))


def _margin(logits: Float[Tensor, "problem row d_vocab"], recording: Recording) -> Float[Tensor, " problem"]:
    """By how much the true tokens lead the likeliest others, summed over the answer."""
    answers = recording.answers[..., None]
    true = logits.gather(2, answers)[..., 0]
    return (true - logits.scatter(2, answers, -torch.inf).amax(-1)).sum(dim=1)
