"""The pages in docs/ are true: their code runs and prints what they say, their files are there."""

from __future__ import annotations

import contextlib
import io
import pathlib
import re
import runpy

import numpy as np
import pytest

from tests import markdown

DOCS = pathlib.Path(__file__).parent.parent / "docs"
RUN_ELSEWHERE = {"migrating.md", "optax-names.md"}  # by test_dropin.py
NEEDS = {"equinox.md": "equinox"}  # which jax's newest release may leave behind
MADE = ("optimizers/", "reference/")  # by docs/generator; test_site.py follows these
PAGES = sorted(file.name for file in DOCS.glob("*.md"))
SCRIPTS = sorted(file.relative_to(DOCS).as_posix() for file in DOCS.glob("article/*.py"))
NUMBER = r"\d+\.\d+"


@pytest.mark.parametrize("page", [p for p in PAGES if p not in RUN_ELSEWHERE])
def test_the_python_blocks_run_in_order_and_print_what_the_text_blocks_say(page: str) -> None:
    if page in NEEDS:
        pytest.importorskip(NEEDS[page])
    markdown.run(markdown.blocks((DOCS / page).read_text()), {}, page)


@pytest.mark.parametrize("page", PAGES)
def test_pictures_and_pages_that_it_names_are_there(page: str) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", (DOCS / page).read_text()):
        assert target.startswith(MADE) or (DOCS / target).is_file(), f"{page} points to {target}"


@pytest.mark.parametrize("script", SCRIPTS)
def test_scripts_print_about_what_the_page_says(script: str) -> None:
    """A `console` block has the command and its output; sampled numbers differ a little between machines."""
    page = (DOCS / script).parent.with_suffix(".md").read_text()
    shown = re.search(
        rf"^```console\n\$ python docs/{re.escape(script)}\n(.*?)^```$", page, re.DOTALL | re.MULTILINE
    )
    assert shown, f"{script} is in no console block"
    with contextlib.redirect_stdout(io.StringIO()) as out:
        runpy.run_path(str(DOCS / script), run_name="__main__")
    assert re.sub(rf" *{NUMBER}", "", out.getvalue()) == re.sub(rf" *{NUMBER}", "", shown.group(1))
    printed, said = (
        [float(x) for x in re.findall(NUMBER, text)] for text in (out.getvalue(), shown.group(1))
    )
    np.testing.assert_allclose(printed, said, rtol=0.05, atol=0.05)
