"""What holds for every test: shapes and types are checked, examples are the same everywhere, no window opens."""

import os

# Before torch is imported: its threads and the test runner's processes would fight for the same cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import hypothesis
from jaxtyping import install_import_hook

# Before anything of carryproof is imported. The numeric tower lets an int stand for a float, as mypy does.
install_import_hook("carryproof", "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# The same examples on every machine, and no failure because a machine was busy.
# To look for new counterexamples: pytest --hypothesis-profile=explore
hypothesis.settings.register_profile("repeatable", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None, max_examples=1000)
hypothesis.settings.load_profile("repeatable")

os.environ.setdefault("MPLBACKEND", "Agg")
