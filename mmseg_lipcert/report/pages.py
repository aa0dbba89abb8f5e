"""From a template to a page: one file that needs no other, prints, and works without script."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ..utils.rounding import confidence, gray_levels, mean_count, percent, significant
from ..utils.whole_file import whole_file
from ..version import __version__

_HERE = Path(__file__).parent
#: The only script of a page: readers sort tables with it.
_SCRIPT = (_HERE / "sort_tables.js").read_text(encoding="utf-8")


def write_page(path: Path, template: str, **values: Any) -> None:
    """Fill a template of this folder; every text from outside is escaped.

    The browser runs no script but the page's own, whose digest the page declares.

    Args:
        path: Page to write, as a whole or not at all.
        template: Name of the template.
        values: What it shows.

    Raises:
        jinja2.UndefinedError: If a value that the template needs is missing.
    """
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= dict(
        percent=percent,
        significant=significant,
        mean_count=mean_count,
        gray_levels=gray_levels,
        at_eps="ε\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{}".format,
    )
    environment.globals |= dict(confidence=confidence, significant=significant)
    digest = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
    text = environment.get_template(template).render(
        script=_SCRIPT, script_digest=f"sha256-{digest}", version=__version__, **values
    )
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
