"""The commands on the forty-four models, ``carryproof circuits ...``: train and test them, with progress and time left.

Every command imports what it needs when it runs, so that ``--help`` does not wait for torch.
"""

import argparse
from dataclasses import replace
from pathlib import Path

OUT = Path("runs/circuits")


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Give ``carryproof circuits`` its own subcommands."""
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    summary = "train and test a model of the family, or all that are not done yet"
    train = commands.add_parser("train", help=summary, description=summary)
    train.set_defaults(command=_train)
    train.add_argument("name", nargs="?", metavar="NAME", help="such as add_d5_l2_h3 or mix_d6_l3_h4; or --all")
    train.add_argument("--all", action="store_true", help="all forty-six rows")
    train.add_argument(
        "--out", type=Path, default=OUT, metavar="DIR", help="folder of results (default: runs/circuits)"
    )
    train.add_argument("--jobs", type=int, metavar="N", help="processes, one thread each (default: one a core)")
    train.add_argument("--seed", type=int, default=0, metavar="S", help="replicate k has seed S + k - 1 (default 0)")
    train.add_argument("--steps", type=int, metavar="N", help="training steps (default: the recipe's)")
    train.add_argument(
        "--problems", type=int, default=1_000_000, metavar="N", help="of each test set (default a million; 0: no test)"
    )
    train.add_argument("--published-shape", action="store_true", help="510 wide, as published: for a GPU")
    train.add_argument("--device", default="cpu", metavar="NAME", help="cpu (default), cuda, cuda:1, ...")
    train.add_argument("--dtype", metavar="NAME", help="float32 or bfloat16 (default: the quicker one, measured)")


def _train(options: argparse.Namespace) -> int:
    from carryproof.benchmarks.runner import settled_engine
    from carryproof.circuits import family
    from carryproof.circuits.running import train_family
    from carryproof.circuits.training import CircuitRun
    from carryproof.console import FamilyDisplay

    if options.all == (options.name is not None):
        raise ValueError("name: give the name of one row, or --all")
    rows = family.with_sources(family.FAMILY.values() if options.all else [family.row(options.name)])
    recipe_of = family.published_recipe_of if options.published_shape else family.recipe_of
    engine = settled_engine(options.out, device=options.device, dtype=options.dtype)
    runs = []
    for row in rows:
        recipe = recipe_of(row)
        if options.steps is not None:
            recipe = replace(recipe, steps=options.steps)
        runs.append(CircuitRun(name=row.name, recipe=recipe, seed=options.seed + row.replicate - 1, engine=engine))
    with FamilyDisplay(options.out) as display:
        train_family(
            runs,
            options.out,
            problems=options.problems,
            jobs=options.jobs,
            on_start=display.start,
            on_event=display.event,
        )
    return 0
