"""Self-contained pages: one HTML file without outside resources, beside its figures in every format.

Templates lie in the rooms, as ``benchmarks/report.html.j2``, and share one style sheet and one way to show a figure;
figures come in as data URIs. A page's folder is made beside the old one and takes its place when all is written, so
that an interrupt leaves either the old page or the new one.

>>> from pathlib import Path
>>> page_environment(Path()).from_string("{{ name }}, {{ 0.25|percent }}").render(name="<A2.ST>")
'&lt;A2.ST&gt;, 25%'
"""

import os
import tempfile
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from carryproof.benchmarks.drawing import Drawn
from carryproof.benchmarks.sections import percent
from carryproof.benchmarks.store import require_folder
from carryproof.theory.errors import bad

PAGE = "index.html"
_INCH = 9.2  # rem per inch of a figure: its small print becomes as large as the page's


@contextmanager
def in_place_of(folder: Path) -> Iterator[Path]:
    """A new folder that takes the place of an older report when the block ends well, and vanishes when it does not.

    Raises ``ValueError`` if ``folder`` cannot be written, or holds something else than a report.
    """
    if folder.exists() and not folder.is_dir():
        raise bad("report", str(folder), "a folder; this is a file")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / PAGE).is_file():
        raise bad("report", str(folder), f"an older report (with {PAGE}) or an empty folder, since it is replaced")
    parent = require_folder(folder.parent, "report")
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{folder.name}.") as temporary:
        fresh, old = Path(temporary) / "new", Path(temporary) / "old"
        fresh.mkdir()
        yield fresh
        try:
            if folder.exists():
                os.rename(folder, old)
            os.rename(fresh, folder)
        except BaseException:
            if old.exists():
                os.rename(old, folder)
            raise


def page_environment(figures: Path) -> Environment:
    """Templates by room and name; everything is escaped, and what is drawn in the folder ``figures`` can be shown."""

    def source(drawn: Drawn) -> str:
        data = (figures / f"{drawn.name}.svg").read_bytes()
        return f"data:image/svg+xml;base64,{b64encode(data).decode('ascii')}"

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, loader=FunctionLoader(_read)
    )
    environment.filters |= {
        "source": source,
        "rem": lambda drawn: f"{_INCH * drawn.width_inches:.1f}rem",
        "percent": percent,
    }
    return environment


def _read(name: str) -> str:
    room, file = name.split("/")
    return files(f"carryproof.{room}").joinpath(file).read_text(encoding="utf-8")
