"""What MkDocs calls while it builds: pages from docstrings, the navigation, formulas as MathML."""

from __future__ import annotations

import os
import pathlib
import sys

os.environ.setdefault("JAX_PLATFORMS", "cpu")
sys.path.insert(0, str(pathlib.Path(__file__).parent))

import formulas
import optimizers
import reference
from mkdocs.structure.files import File

DOCS = pathlib.Path(__file__).parents[1]
# Pages in their order; one that is not there is left out, and one that nobody names is a guide.
SECTIONS = {
    "Tutorials": ["first-optimizer", "compose", "flax", "equinox", "mixed-precision", "sweeps"],
    "Guides": ["schedules", "explaining"],
    "Coming from": ["migrating", "optax-names", "optax-suite", "from-pytorch"],
    "Why and how": ["design", "proof", "performance", "article"],
}
HOME = "index"


def on_config(config):
    """The navigation."""
    there = {file.relative_to(DOCS).with_suffix("").as_posix() for file in DOCS.rglob("*.md")} - {HOME}
    unnamed = sorted(there - {page for pages in SECTIONS.values() for page in pages})
    sections = SECTIONS | {"Guides": SECTIONS["Guides"] + unnamed}
    written = [
        {title: [f"{page}.md" for page in pages if page in there]}
        for title, pages in sections.items()
        if there.intersection(pages)
    ]
    made = [
        {"Optimizers": ["optimizers/index.md", *(f"optimizers/{name}.md" for name in optimizers.exported())]},
        {"Reference": [f"reference/{page}.md" for page in reference.PAGES]},
    ]
    config.nav = [{"gradtx": f"{HOME}.md"}, *written[:2], *made, *written[2:]]
    return config


def on_files(files, config):
    """The pages that are made here."""
    texts = {"optimizers/index.md": optimizers.index()}
    texts |= {f"optimizers/{name}.md": optimizers.page(name) for name in optimizers.exported()}
    listed = reference.names(skip=set(optimizers.exported()))
    texts |= {f"reference/{page}.md": reference.page(page, modules) for page, modules in listed.items()}
    for path, text in texts.items():
        files.append(File.generated(config, path, content=text))
    return files


def on_page_content(html, page, config, files):
    """LaTeX, and the formulas of docstrings, as MathML."""
    return formulas.in_html(html, of_docstrings=page.file.src_uri.startswith("reference/"))
