"""A positional encoding is three functions that the decoder calls: `embed`, `rotate` and `bias`.

`embed` changes the residual stream once, `rotate` changes queries and keys in every layer, and `bias` is added to the
attention scores after their division by sqrt(d_head); each is the identity (or nothing) unless an encoding fills it
in. Position ids are plain integers chosen by the caller, so two tokens may share an id, and query and key ids are
separate arguments; the window encoding takes vectors of integers.

>>> import torch
>>> class Nearest(Encoding):
...     def bias(self, query, query_ids, key_ids):
...         distance = (query_ids[:, None, :, None] - key_ids[:, None, None, :]).abs()
...         return 0 - distance.to(query.dtype)
>>> ids = torch.arange(3)[None]
>>> Nearest().bias(torch.zeros(1, 1, 3, 2), ids, ids)[0, 0].tolist()
[[0.0, -1.0, -2.0], [-1.0, 0.0, -1.0], [-2.0, -1.0, 0.0]]
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


@dataclass(frozen=True, kw_only=True, slots=True)
class EncodingShape:
    """The sizes an encoding may depend on; `n_ctx` is the number of ids a learned table has rows for."""

    d_model: int
    n_heads: int
    d_head: int
    n_ctx: int

    def __post_init__(self) -> None:
        for size in fields(self):
            value = getattr(self, size.name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise ValueError(f"{size.name}: got {value!r}; allowed: an integer of at least 1")


class Encoding(nn.Module):
    """The interface, and the identity for whatever an encoding leaves alone.

    One instance serves every layer of a model. Parameters start at zero, so that building a module draws no random
    numbers; `initialize` fills them from an explicit generator.
    """

    def initialize(self, generator: torch.Generator) -> None:
        """Draw the initial parameters, in place. Encodings without parameters have nothing to draw."""

    def embed(
        self, residual: Float[Tensor, "batch token d_model"], ids: Int[Tensor, "#batch token *id"]
    ) -> Float[Tensor, "batch token d_model"]:
        """The residual stream before the first layer, given the token embeddings."""
        return residual

    def rotate(
        self, heads: Float[Tensor, "batch head token d_head"], ids: Int[Tensor, "#batch token *id"]
    ) -> Float[Tensor, "batch head token d_head"]:
        """The queries, or the keys, that attention compares."""
        return heads

    def bias(
        self,
        query: Float[Tensor, "batch head query d_head"],
        query_ids: Int[Tensor, "#batch query *id"],
        key_ids: Int[Tensor, "#batch key *id"],
    ) -> Float[Tensor, "#batch #head query key"] | None:
        """What is added to the scaled scores; `query` comes after `rotate`. None adds nothing."""
        return None


def offsets(
    query_ids: Int[Tensor, "#batch query"], key_ids: Int[Tensor, "#batch key"]
) -> Int[Tensor, "#batch query key"]:
    """Query id minus key id, for every pair: positive for keys with a smaller id.

    >>> offsets(torch.tensor([[5, 6]]), torch.tensor([[3, 9]])).tolist()
    [[[2, -4], [3, -3]]]
    """
    return query_ids[:, :, None] - key_ids[:, None, :]


def wide(parameter: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """A parameter in at least single precision: functions of ids lose their neighbours in half precision.

    >>> wide(torch.ones(2, dtype=torch.bfloat16)).dtype
    torch.float32
    """
    return parameter.to(torch.promote_types(parameter.dtype, torch.float32))


def angles(ids: Int[Tensor, "#batch token"], frequencies: tuple[float, ...]) -> Float[Tensor, "#batch token pair"]:
    """Id times frequency, in double precision where the device has it, so that ids in the millions keep their phase."""
    dtype = torch.float32 if ids.device.type == "mps" else torch.float64
    return ids.to(dtype)[..., None] * torch.tensor(frequencies, dtype=dtype, device=ids.device)


def geometric_frequencies(channels: int) -> tuple[float, ...]:
    """One angular frequency 10000^(-2c/channels) for each pair c of channels (Vaswani 1706.03762; Su 2104.09864).

    >>> geometric_frequencies(4)
    (1.0, 0.01)
    """
    return tuple(10000.0 ** (-2 * pair / channels) for pair in range((channels + 1) // 2))
