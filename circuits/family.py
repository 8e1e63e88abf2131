"""The forty-four models as forty-six rows: operations, digits, layers, heads, and what they start from.

Quirke et al. (2402.02619) tabulate 16 additions, 7 subtractions, 9 mixtures of both from scratch, and 14 mixtures that
start from an addition model of two layers and three heads: 46 rows, of which the paper counts 44. A shape that occurs
several times ends in ``_s1``, ``_s2``, ...; the bare name means the first, and replicate k starts from replicate k.
A name of the same form that is not in the table is a model of another shape, and nothing was published of it.

>>> len(FAMILY), row("add_d5_l2_h3").name, row("ins_d6_l3_h4_s2").source, row("mix_d7_l3_h4").published
(46, 'add_d5_l2_h3_s1', 'add_d6_l2_h3_s2', (2, 6))
>>> row("mix_d3_l2_h3").operations, row("add_d5_l2_h3_s3").replicate, row("add_d4_l2_h3").published
(('add', 'sub'), 3, ())
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from carryproof.benchmarks.configuration import Recipe
from carryproof.circuits.mixture import Mixture
from carryproof.circuits.screening import Screening
from carryproof.circuits.texts import VOCABULARY, context, require_digits
from carryproof.models.config import DecoderConfig
from carryproof.theory.errors import require_integer, unknown

OPERATIONS_OF = {"add": ("add",), "sub": ("sub",), "mix": ("add", "sub"), "ins": ("add", "sub")}
SUBTRACTIONS = {"add": 0.0, "sub": 1.0, "mix": 0.6, "ins": 0.6}  # share of the problems of a training


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One model. ``published`` is how many problems in a million the paper's model fails, for each operation; empty
    where the paper has no such model.
    """

    name: str
    operations: tuple[str, ...]
    digits: int
    layers: int
    heads: int
    published: tuple[int, ...]
    replicate: int = 1
    source: str | None = None
    insert_mode: int | None = None

    @property
    def family(self) -> str:
        """``add``, ``sub``, ``mix`` or ``ins``."""
        return self.name[:3]

    @property
    def mixture(self) -> Mixture:
        """What it is trained on."""
        return Mixture(subtract=SUBTRACTIONS[self.family])


# Digits, layers, heads, then failures per million of each operation.
ADDITION = (
    (5, 1, 3, 12_621),
    (5, 2, 3, 0),
    (5, 2, 3, 0),
    (6, 2, 3, 2),
    (6, 2, 3, 0),
    (6, 2, 3, 0),
    (6, 2, 3, 0),
    (7, 2, 3, 0),
    (8, 2, 3, 0),
    (9, 2, 3, 0),
    (10, 2, 3, 0),
    (11, 2, 3, 2),
    (12, 2, 3, 3),
    (13, 2, 3, 1),
    (14, 2, 3, 199),
    (15, 2, 3, 10),
)
SUBTRACTION = (
    (5, 2, 3, 3_689),
    (6, 2, 3, 2),
    (6, 2, 3, 3_889),
    (8, 2, 3, 1),
    (8, 2, 3, 487),
    (10, 2, 3, 6_672),
    (12, 2, 3, 2_175),
)
MIXED = (
    (5, 3, 4, 0, 0),
    (6, 3, 4, 1, 0),
    (7, 3, 4, 2, 6),
    (8, 3, 4, 0, 7),
    (9, 3, 4, 1, 33),
    (10, 3, 4, 2, 295),
    (11, 3, 4, 0, 13),
    (12, 3, 4, 2, 10),
    (13, 3, 4, 399, 4_164),
)
INSERTED = (
    (5, 2, 3, 1, 52),
    (6, 2, 3, 0, 5),
    (6, 3, 3, 0, 3),
    (6, 3, 3, 0, 3),
    (6, 3, 4, 0, 0),
    (6, 3, 4, 3, 2),
    (6, 3, 4, 0, 4),
    (7, 3, 4, 4, 1),
    (8, 3, 4, 50, 1_196),
    (9, 3, 4, 1, 4),
    (10, 3, 3, 6, 7),
    (11, 3, 4, 11_066, 1_120),
    (6, 4, 4, 3, 8),
    (6, 4, 3, 17, 3_120),
)
_NAME = re.compile(r"(add|sub|mix)_d(\d+)_l(\d+)_h(\d+)(?:_s(\d+))?")
INSERT_MODES = {"ins_d6_l4_h4": 2, "ins_d6_l4_h3": 3}  # 1 for all others

SIZE_AT_MOST = 8  # layers and heads of shapes that are not in the table

PUBLISHED_SHAPE = Recipe(
    d_model=510,
    d_head=170,
    d_mlp=2040,
    activation="relu",
    steps=40_000,
    batch=64,
    learning_rate=8e-5,
    final_share=0.0,
    warmup_steps=8_000,
    weight_decay=0.1,
    beta1=0.9,
    beta2=0.98,
)
SMALL = Recipe(
    d_model=64,
    d_head=24,
    d_mlp=256,
    activation="relu",
    batch=256,
    learning_rate=2e-3,
    muon_rate=0.02,
)
LONG = 8  # digits from which on a carry comes from so far that attention has to be sharper than the usual decay lets it
LONG_DECAY = 0.1
SCREENING = Screening()  # with SMALL


def recipe_of(row: Row) -> Recipe:
    """How a row is trained on two cores: a twentieth of the published weights, and more steps for more to learn."""
    steps = 500 * max(6, row.digits)
    if row.layers == 1:
        steps *= 2
    decay = SMALL.muon_decay if row.digits < LONG else LONG_DECAY
    return replace(SMALL, n_layers=row.layers, n_heads=row.heads, steps=steps, muon_decay=decay)


def published_recipe_of(row: Row) -> Recipe:
    """The published shape and schedule; their batches were 64 problems, and 40,000 steps are our choice."""
    return replace(PUBLISHED_SHAPE, n_layers=row.layers, n_heads=row.heads)


def decoder_config(row: Row, recipe: Recipe) -> DecoderConfig:
    """The model of a row, in the sizes of a recipe."""
    return DecoderConfig(
        d_vocab=VOCABULARY,
        n_ctx=context(row.digits),
        d_model=recipe.d_model,
        n_heads=recipe.n_heads,
        n_layers=recipe.n_layers,
        d_head=recipe.d_head,
        d_mlp=recipe.d_mlp,
        normalization=recipe.normalization,
        activation=recipe.activation,
        encoding="absolute",
    )


def row(name: str) -> Row:
    """The row of a name; the bare name of a repeated shape is its first. Names of models that start from nothing may
    have any shape: 1 to 40 digits, 1 to 8 layers and heads, and replicates from 1 on.

    Raises ``ValueError`` for any other.
    """
    found = FAMILY.get(name, FAMILY.get(f"{name}_s1", FAMILY.get(name.removesuffix("_s1"))))
    if found is not None:
        return found
    read = _NAME.fullmatch(name)
    if read is None:
        raise unknown("row", name, FAMILY)
    family, *numbers = read.groups(default="1")
    digits, layers, heads, replicate = (int(number) for number in numbers)
    for what, number in (("layers", layers), ("heads", heads)):
        require_integer(f"row {what}", number, 1, SIZE_AT_MOST)
    bare = f"{family}_d{require_digits('row digits', digits)}_l{layers}_h{heads}"
    return Row(
        name=bare if require_integer("row replicate", replicate, 1) == 1 else f"{bare}_s{replicate}",
        operations=OPERATIONS_OF[family],
        digits=digits,
        layers=layers,
        heads=heads,
        published=(),
        replicate=replicate,
    )


def with_sources(rows: Iterable[Row]) -> list[Row]:
    """The rows and those that they start from, each once and after its source."""
    found: dict[str, Row] = {}
    for each in rows:
        for needed in (each.source, each.name):
            if needed is not None:
                found[needed] = row(needed)
    return list(found.values())


def _rows(family: str, table: Iterable[tuple[int, ...]]) -> Iterator[Row]:
    shapes = [(family, *line[:3]) for line in table]
    times, seen = Counter(shapes), Counter[tuple[object, ...]]()
    for shape, line in zip(shapes, table, strict=True):
        digits, layers, heads, *published = line
        seen[shape] += 1
        bare, replicate = f"{family}_d{digits}_l{layers}_h{heads}", seen[shape]
        yield Row(
            name=f"{bare}_s{replicate}" if times[shape] > 1 else bare,
            operations=OPERATIONS_OF[family],
            digits=digits,
            layers=layers,
            heads=heads,
            published=tuple(published),
            replicate=replicate,
        )


def _transferred(rows: Iterable[Row], additions: dict[str, Row]) -> Iterator[Row]:
    """Rows with what they start from: the addition model of their digits, two layers, three heads and replicate."""
    for each in rows:
        bare = f"add_d{each.digits}_l2_h3"
        source = bare if bare in additions else f"{bare}_s{each.replicate}"
        yield replace(each, source=additions[source].name, insert_mode=INSERT_MODES.get(each.name, 1))


_ADDITIONS = {each.name: each for each in _rows("add", ADDITION)}
FAMILY: dict[str, Row] = _ADDITIONS | {
    each.name: each
    for each in (
        *_rows("sub", SUBTRACTION),
        *_rows("mix", MIXED),
        *_transferred(_rows("ins", INSERTED), _ADDITIONS),
    )
}
