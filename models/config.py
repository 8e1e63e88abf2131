"""The sizes and choices of a decoder, as one frozen value that is checked when it is made.

Two head sizes exist on purpose: by default d_head = d_model / n_heads, but it may be given (the published addition
models have d_model 510, 4 heads and d_head 170). A configuration travels as a plain dictionary, in checkpoints and in
results.

>>> config = DecoderConfig(d_vocab=14, n_ctx=24, d_model=64, n_heads=2, n_layers=2, encoding="rope")
>>> config.d_head, config.d_mlp
(32, 256)
>>> DecoderConfig.from_dict(config.to_dict()) == config
True
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from carryproof.positional import EncodingShape, build

NORMALIZATIONS = ("LN", "RMS")
ACTIVATIONS = ("relu", "gelu")


@dataclass(frozen=True, kw_only=True, slots=True)
class DecoderConfig:
    """A decoder's shape. `d_head=None` stands for d_model / n_heads, `d_mlp=None` for 4 d_model; afterwards both are
    integers.
    """

    d_vocab: int
    n_ctx: int
    d_model: int
    n_heads: int
    n_layers: int
    encoding: str
    d_head: int | None = None
    d_mlp: int | None = None
    normalization: str = "LN"
    activation: str = "relu"

    def __post_init__(self) -> None:
        if self.d_head is None:
            require_size("d_model", self.d_model)
            require_size("n_heads", self.n_heads)
            if self.d_model % self.n_heads:
                allowed = f"a multiple of n_heads = {self.n_heads}, or any size with d_head given"
                raise ValueError(f"d_model: got {self.d_model}; allowed: {allowed}")
            object.__setattr__(self, "d_head", self.d_model // self.n_heads)
        if self.d_mlp is None:
            object.__setattr__(self, "d_mlp", 4 * self.d_model)
        for size in ("d_vocab", "n_ctx", "d_model", "n_heads", "n_layers", "d_head", "d_mlp"):
            require_size(size, getattr(self, size))
        require_choice("normalization", self.normalization, NORMALIZATIONS)
        require_choice("activation", self.activation, ACTIVATIONS)
        build(self.encoding, self.encoding_shape)  # an encoding refuses names and sizes it cannot take

    @property
    def head_size(self) -> int:
        """`d_head`, which the type checker cannot know to be an integer by now."""
        assert self.d_head is not None
        return self.d_head

    @property
    def mlp_size(self) -> int:
        """`d_mlp`, likewise."""
        assert self.d_mlp is not None
        return self.d_mlp

    @property
    def encoding_shape(self) -> EncodingShape:
        """What the positional encoding is told about the model."""
        return EncodingShape(d_model=self.d_model, n_heads=self.n_heads, d_head=self.head_size, n_ctx=self.n_ctx)

    def to_dict(self) -> dict[str, int | str]:
        """Integers and strings only."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "DecoderConfig":
        """The inverse of `to_dict`. Unknown and missing keys are errors."""
        known = {field.name for field in fields(cls)}
        required = known - {"d_head", "d_mlp", "normalization", "activation"}
        for problem, names in (("unknown", set(values) - known), ("missing", required - set(values))):
            if names:
                allowed = ", ".join(sorted(known))
                raise ValueError(f"configuration: {problem} {', '.join(sorted(names))}; allowed: {allowed}")
        return cls(**values)


def require_size(argument: str, value: object) -> None:
    """A one-line error unless the value is a positive integer."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{argument}: got {value!r}; allowed: an integer of at least 1")


def require_choice(argument: str, value: object, allowed: tuple[str, ...]) -> None:
    """A one-line error unless the value is one of those."""
    if value not in allowed:
        raise ValueError(f"{argument}: got {value!r}; allowed: {', '.join(allowed)}")
