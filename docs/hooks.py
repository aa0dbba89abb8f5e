"""What MkDocs does for the site beyond its plugins: pages of the whole repository, formulas."""

import re
from html import unescape
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
#: Pages, and the files that they link to.
PUBLISHED = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md"),
    *("docs/*.md", "docs/images/*", "docs/notebooks/*.ipynb"),
    *("configs/*/README.md", "configs/*/metafile.yml", "demo/checkpoints/README.md"),
)
FORMULA = re.compile(r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL)
#: References of docstrings, as Sphinx and editors know them.
FORMULA_ROLE = re.compile(r":math:<code>(.*?)</code>", re.DOTALL)
ROLE = re.compile(r":(?:attr|class|func|meth|mod):<code>[~.]*")


@event_priority(100)  # before plugins wrap the files
def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Name pages by their path in the repository: links lead where they lead on GitHub.

    A page ``reference/NAME.md`` of the navigation holds the docstrings of ``mmseg_lipcert.NAME``.
    """
    pages = [
        File(str(path.relative_to(ROOT)), str(ROOT), config.site_dir, config.use_directory_urls)
        for pattern in PUBLISHED
        for path in sorted(ROOT.glob(pattern))
    ]
    for name in re.findall(r"reference/([\w.]+)\.md", str(config.nav)):
        text = f"# {name}\n\n::: mmseg_lipcert.{name}\n"
        pages.append(File.generated(config, f"reference/{name}.md", content=text))
    return Files([*(file for file in files if file.src_dir != config.docs_dir), *pages])


def on_page_content(html: str, **_) -> str:
    """Write formulas in MathML, which browsers show without a script; a wrong one is an error."""
    html = FORMULA.sub(lambda found: _formula(found[2], block=found[1] == "div"), html)
    html = FORMULA_ROLE.sub(lambda found: _formula(found[1], block=False), html)
    return ROLE.sub("<code>", html)


def _formula(latex: str, block: bool) -> str:
    mathml = convert(unescape(latex), display="block" if block else "inline")
    if "\\" in mathml or "&amp;" in mathml:  # commands that latex2mathml does not know
        raise PluginError(f"this formula cannot be written in MathML: {unescape(latex)}")
    return mathml
