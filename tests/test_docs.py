"""The pages in docs/ are true: their code runs and prints what they say, their files are there."""

from __future__ import annotations

import pathlib
import re

import pytest

from tests import markdown

DOCS = pathlib.Path(__file__).parent.parent / "docs"
RUN_ELSEWHERE = {"migrating.md", "optax-names.md"}  # by test_dropin.py
NEEDS = {"equinox.md": "equinox"}  # which jax's newest release may leave behind
MADE = ("optimizers/", "reference/")  # by docs/generator; test_site.py follows these
PAGES = sorted(file.name for file in DOCS.glob("*.md"))


@pytest.mark.parametrize("page", [p for p in PAGES if p not in RUN_ELSEWHERE])
def test_the_python_blocks_run_in_order_and_print_what_the_text_blocks_say(page: str) -> None:
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    markdown.run(markdown.blocks((DOCS / page).read_text()), {}, page)


@pytest.mark.parametrize("page", PAGES)
def test_pictures_and_pages_that_it_names_are_there(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", (DOCS / page).read_text()):
        assert target.startswith(MADE) or (DOCS / target).is_file(), f"{page} points to {target}"
