"""Setting a decoder's weights by hand: features that are on or off, heads that look at places, tables of units.

Every feature has two channels of the residual stream, x and -x, so the mean of all channels is 0; one more feature is
a large constant, so their variance hardly depends on the others and layer normalization divides by a number that is
known. A head takes the features of one place; an MLP is a table of units, each of which is on where a feature of
every one of its groups is. Categorical tables are as in tracr (Lindner et al. 2301.05062).

>>> draft = Draft({"token": 2, "first": 2, "both": 1}, vocabulary=3, tokens=2, layers=1, heads=1, units=1)
>>> draft.embed_token(0, ("token", 0))
>>> draft.embed_token(1, ("token", 1))
>>> draft.set_head(0, 0, {1: {0: 0}}, rest=0, reads="token", writes="first")
>>> draft.set_table(0, [Unit(needs=((("first", 1),), (("token", 1),)), writes=(("both", 0),))])
>>> draft.unembed(2, ("both", 0))                                       # the token 2, after two tokens 1
>>> draft.model(torch.tensor([[0, 1], [1, 0], [1, 1]]))[:, 1, 2].round().abs().tolist()
[0.0, 0.0, 10.0]
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from jaxtyping import Float
from torch import Tensor

from carryproof.models.config import DecoderConfig
from carryproof.models.decoder import Decoder
from carryproof.theory.errors import require_integer, unknown

CONSTANT = 256.0  # beside features of about 1
SHARP = 30.0  # between one level of attention and the next: what is not looked at has a weight of e^-30
CLEAR = 10.0  # the logit of a token whose feature is on
Feature = tuple[str, int]  # a group, such as "token", and which of its features


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """A row of a table: where a feature of each group in ``needs`` is on, it sets those of ``writes``.

    Of the first group one feature may be on or two, or one twice; of every other at most one.
    """

    needs: tuple[tuple[Feature, ...], ...]
    writes: tuple[Feature, ...]


class Draft:
    """A decoder with zeros for weights, to be filled in: ``model``.

    ``groups`` gives the number of features of each group; the group ``position`` has one for each position besides,
    which is on there. ``units`` is the size of the largest table. Methods raise ``ValueError`` for a group or a feature
    that there is not, and for a table that is too large.
    """

    def __init__(
        self, groups: Mapping[str, int], *, vocabulary: int, tokens: int, layers: int, heads: int, units: int
    ) -> None:
        sizes = {"constant": 1, "position": tokens} | dict(groups)
        starts = (0, *accumulate(sizes.values()))
        self.groups = {name: range(low, low + size) for (name, size), low in zip(sizes.items(), starts, strict=False)}
        self.count, self.units = starts[-1], units
        config = DecoderConfig(
            d_vocab=vocabulary,
            n_ctx=tokens,
            d_model=2 * self.count,
            n_heads=heads,
            n_layers=layers,
            encoding="absolute",
            d_head=max(tokens + 1, *groups.values()),
            d_mlp=2 * units,
        )
        self.model = Decoder(config)
        for index in range(tokens):
            self.embed_position(index, ("constant", 0), CONSTANT)
            self.embed_position(index, ("position", index))

    def embed_token(self, token: int, feature: Feature) -> None:
        """The feature is on where this token is."""
        self._weight("embed.W_E")[token] += _twice(self._row(feature))

    def embed_position(self, index: int, feature: Feature, size: float = 1.0) -> None:
        """The feature is on, or of another size, at this position."""
        self._weight("pos_embed.W_pos")[index] += _twice(size * self._row(feature))

    def set_head(
        self,
        layer: int,
        head: int,
        looks: Mapping[int, Mapping[int, int]],
        *,
        rest: int,
        reads: str,
        writes: str,
        passes: Feature | None = None,
        size: float = 1.0,
    ) -> None:
        """Each query of ``looks`` takes the group ``reads`` from its key of the highest level, and writes it to the
        group ``writes``, times ``size``: the first feature to the first, as many as both have.

        Levels are from 0 up; a key where the feature ``passes`` is on has a level below 0. Other queries look at the
        key ``rest``, or at themselves where that is still to come.
        """
        tokens, width = self.model.config.n_ctx, self.model.config.head_size
        levels = torch.full((tokens, tokens), -1.0)
        for query in range(tokens):
            for key, level in looks.get(query, {min(query, rest): 0}).items():
                levels[query, key] = level
        queries, keys = torch.zeros(self.count, width), torch.zeros(self.count, width)
        values, outputs = torch.zeros(self.count, width), torch.zeros(width, self.count)
        sharp = SHARP * math.sqrt(width)  # because scores are divided by sqrt(d_head)
        queries[self.groups["position"], :tokens] = sharp * levels
        keys[self.groups["position"], :tokens] = torch.eye(tokens)
        for index, (source, target) in enumerate(zip(self._group(reads), self._group(writes), strict=False)):
            values[source, index], outputs[index, target] = 1.0, size
        attention = f"blocks.{layer}.attn"
        if passes is not None:
            keys[self._index(passes), tokens] = 1.0
            self._weight(f"{attention}.b_Q")[head, tokens] = -sharp * (levels.max() + 2.0)
        for name, matrix in (("W_Q", queries), ("W_K", keys), ("W_V", values)):
            self._weight(f"{attention}.{name}")[head] = self._reading(matrix)
        self._weight(f"{attention}.W_O")[head] = _twice(outputs)

    def set_table(self, layer: int, units: Sequence[Unit]) -> None:
        """The MLP is this table.

        A unit is two neurons, with weight 1 for its first group and 2 for the others. Their difference rises from 0 to
        1 in the middle half of the last step before the sum that suffices, so a feature that is nearly off is off.
        """
        require_integer("number of units", len(units), 0, self.units)
        reads, writes = torch.zeros(self.count, self.units), torch.zeros(self.units, self.count)
        enough = torch.ones(self.units)
        for index, unit in enumerate(units):
            for weight, group in zip((1.0, *[2.0] * (len(unit.needs) - 1)), unit.needs, strict=True):
                reads[[self._index(feature) for feature in group], index] = weight
            enough[index] = 2.0 * len(unit.needs) - 1.0
            writes[index, [self._index(feature) for feature in unit.writes]] = 1.0
        mlp = f"blocks.{layer}.mlp"
        self._weight(f"{mlp}.W_in").copy_(self._reading(2.0 * torch.cat((reads, reads), dim=1)))
        self._weight(f"{mlp}.b_in").copy_(2.0 * torch.cat((0.75 - enough, 0.25 - enough)))
        self._weight(f"{mlp}.W_out").copy_(_twice(torch.cat((writes, -writes))))

    def unembed(self, token: int, feature: Feature) -> None:
        """The logit of the token is ``CLEAR`` where the feature is on."""
        self._weight("unembed.W_U")[:, token] += self._reading(CLEAR * self._row(feature)[:, None])[:, 0]

    def unembed_always(self, token: int, logit: float) -> None:
        """The logit of the token is at least this, everywhere."""
        self._weight("unembed.b_U")[token] = logit

    def _weight(self, name: str) -> Tensor:
        return self.model.get_parameter(name).detach()  # shares its storage

    def _group(self, name: str) -> range:
        if name not in self.groups:
            raise unknown("group", name, self.groups)
        return self.groups[name]

    def _index(self, feature: Feature) -> int:
        name, which = feature
        return self._group(name)[require_integer(f"feature of {name}", which, 0, len(self._group(name)) - 1)]

    def _row(self, feature: Feature) -> Float[Tensor, "feature"]:
        row = torch.zeros(self.count)
        row[self._index(feature)] = 1.0
        return row

    def _reading(self, weights: Float[Tensor, "feature output"]) -> Float[Tensor, "channel output"]:
        """Weights on features as weights on the normalized channels: their scale is that of the constant alone."""
        return torch.cat((weights, -weights)) * (CONSTANT / math.sqrt(self.count) / 2)


def _twice(features: Float[Tensor, "*rows feature"]) -> Float[Tensor, "*rows channel"]:
    return torch.cat((features, -features), dim=-1)
