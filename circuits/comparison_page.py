"""The page across models: which variables sit where in all of them, and which claims hold of how many.

One HTML file without outside resources, beside its figures, from the search of each model and, where there is one, its
test. Models may differ in digits, layers, heads and operations; a variable or claim counts among those that have it.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from carryproof.benchmarks.pages import PAGE, in_place_of, page_environment
from carryproof.circuits.comparison import common_places, statements
from carryproof.circuits.comparison_figure import draw_matrix, draw_overlay
from carryproof.circuits.page import mark, share
from carryproof.theory.errors import bad


def write_comparison(models: Sequence[tuple[Mapping[str, Any], Mapping[str, Any] | None]], out: Path) -> Path:
    """Write the page of some models into the folder ``out``, in place of an older one there; return the page's path.

    Each model is the contents of its ``search.json`` and, or None, its ``test.json``. Raises ``ValueError`` for no
    models, two of one name, and if ``out`` cannot be written or holds something else.
    """
    if not models:
        raise bad("models", "none", "one or more")
    searches = [search for search, _ in models]
    names = [search["model"]["name"] for search in searches]
    if len(set(names)) < len(names):
        raise bad("models", next(name for name in names if names.count(name) > 1), "each model once")
    places = common_places(searches)
    with in_place_of(out) as fresh:
        figures = fresh / "figures"
        figures.mkdir()
        environment = page_environment(figures)
        environment.filters |= {"mark": mark, "share": share}
        page = environment.get_template("circuits/comparison.html.j2").render(
            models=[(search, test, _least(test)) for search, test in models],
            statements=statements([test for _, test in models if test is not None]),
            places=places,
            shared=[place for place in places if place.models > 1 or place.models == len(models)],
            everywhere=[place for place in places if place.models == place.of_models > 1],
            matrix=draw_matrix(searches, figures),
            overlay=draw_overlay(searches, figures),
        )
        (fresh / PAGE).write_text(page, encoding="utf-8")
    return out / PAGE


def _least(test: Mapping[str, Any] | None) -> Mapping[str, float] | None:
    """The interchange accuracy of the whole graph on the kind of problem where it is least; None if not tested."""
    found = [each["result"]["accuracy"] for each in test["whole"].values()] if test else []
    return min(found, key=lambda each: float(each["value"]), default=None)
