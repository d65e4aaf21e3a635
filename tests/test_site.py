"""The site: it builds without a warning, nothing in it is missing, and nothing comes from elsewhere.

It needs the extra `docs`; what a browser shows needs Chromium as well.
"""

from __future__ import annotations

import collections
import html
import html.parser
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import urllib.parse

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradtx

ROOT = pathlib.Path(__file__).parents[1]
NEEDED = ("mkdocs", "material", "mkdocstrings_handlers", "latex2mathml", "optax")
missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
pytestmark = pytest.mark.skipif(bool(missing), reason=f"the extra docs is not installed: {missing}")

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
browser = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium")


class Page(html.parser.HTMLParser):
    """What a page loads, links to and can be linked at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.tags: collections.Counter[str] = collections.Counter()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags[tag] += 1
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "link":
            if given.get("rel") not in ("canonical", "prev", "next"):
                self.loads.append(given.get("href", ""))
        else:
            self.loads += [given[name] for name in ("src", "srcset", "data", "poster") if name in given]


def _build(into: pathlib.Path) -> str:
    """Nothing, or what went wrong."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(into)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    # MkDocs' own: where a plugin for GPUs is installed, jax's libraries warn that they found no driver.
    warned = re.search(r"^WARNING +-", done.stderr, re.MULTILINE)
    return "" if done.returncode == 0 and not warned else done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """Built once: the first of the processes that share the tests builds it, and the others wait."""
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    made, report, part = shared / "site", shared / "site.report", shared / "site.part"
    try:
        part.touch(exist_ok=False)
    except FileExistsError:
        for _ in range(600):
            if report.exists():
                break
            time.sleep(1)
    else:
        part.write_text(_build(made))
        part.rename(report)
        part.touch()
    assert not report.read_text(), report.read_text()
    return made


@pytest.fixture(scope="module")
def pages(site: pathlib.Path) -> dict[pathlib.Path, Page]:
    return {file: Page(file.read_text()) for file in site.rglob("*.html")}


def test_every_public_name_has_a_place(site: pathlib.Path, pages: dict[pathlib.Path, Page]) -> None:
    anchors = set().union(*(page.ids for page in pages.values()))
    optimizers = {file.stem for file in (site / "optimizers").glob("*.html")} - {"index"}
    classes = {
        name
        for name, thing in vars(gradtx).items()
        if str(getattr(thing, "__module__", "")).startswith("gradtx.optimizers.")
        and getattr(thing, "is_composite", False)
        and "learning_rate" in thing.__dataclass_fields__
    }
    assert classes <= optimizers
    names = {
        name
        for name in gradtx.__all__
        if str(getattr(getattr(gradtx, name), "__module__", "")).startswith("gradtx")
    }
    assert len(names) > 200
    assert not {name for name in names - optimizers if f"gradtx.{name}" not in anchors}


def test_every_optimizer_shows_how_it_converges(site: pathlib.Path, pages: dict[pathlib.Path, Page]) -> None:
    for file in (site / "optimizers").glob("*.html"):
        picture = f"static/optimizers/{file.stem}.png"
        if file.stem != "index":
            assert any(link.endswith(picture) for link in pages[file].loads), f"draw docs/{picture}"
    pictures = {file.stem for file in (ROOT / "docs" / "static" / "optimizers").iterdir()}
    assert pictures == {file.stem for file in (site / "optimizers").glob("*.html")} - {"index"}


def test_an_optimizer_is_drawn_on_what_shows_what_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs" / "generator")
    problems = importlib.import_module("problems")
    for tx, kind in (
        (gradtx.adam(0.1), problems.POINTS),
        (gradtx.lbfgs(), problems.POINTS),
        (gradtx.muon(0.1), problems.MATRICES),
        (gradtx.chain(gradtx.clip(1.0), gradtx.galore(0.1)), problems.MATRICES),
        (gradtx.dpsgd(0.1, 1.0, 1.1, 0), problems.REGRESSIONS),
    ):
        assert problems.of(tx) is kind
    for problem in (*problems.MATRICES.problems, *problems.REGRESSIONS.problems):
        start = jnp.asarray(problem.start, float)
        height, slope = jax.value_and_grad(problem)(start)
        assert height > 0.1
        assert problem(start - 1e-4 * slope) < height
        if problem.examples:  # their mean is the function, up to a constant
            slopes = jax.jacobian(problem.examples)(start)
            np.testing.assert_allclose(slopes.mean(axis=0), slope, atol=1e-5)  # a sum of 256 in float32


def test_every_written_page_is_in_the_navigation(site: pathlib.Path) -> None:
    listed = Page((site / "index.html").read_text()).links
    for file in (ROOT / "docs").glob("*.md"):
        assert f"{file.stem}.html" in listed, f"{file.name} is on no page's list"


def test_every_link_within_the_site_leads_somewhere(pages: dict[pathlib.Path, Page]) -> None:
    followed = 0
    for file, page in pages.items():
        if file.name == "404.html":
            continue
        for link in (*page.links, *page.loads):
            parts = urllib.parse.urlsplit(link)
            if parts.scheme or parts.netloc or not link:
                continue
            target = (file.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else file
            assert target.exists(), f"{file.name}: {link}"
            if parts.fragment and target in pages and not parts.fragment.startswith("__"):
                assert urllib.parse.unquote(parts.fragment) in pages[target].ids, f"{file.name}: {link}"
            followed += 1
    assert followed > 1000


def test_nothing_is_loaded_from_elsewhere(site: pathlib.Path, pages: dict[pathlib.Path, Page]) -> None:
    for file, page in pages.items():
        for link in page.loads:
            assert not urllib.parse.urlsplit(link).netloc, f"{file.name} loads {link}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text()
        assert "url(http" not in text
        assert "url(//" not in text
        assert "@import" not in text


def test_a_field_says_in_words_what_it_takes(site: pathlib.Path) -> None:
    for file in (site / "reference").glob("*.html"):
        assert ">Annotated<" not in file.read_text(), f"{file.name} shows how the package writes types"
    assert "(default:" in (site / "reference" / "pieces.html").read_text()


def test_formulas_are_mathml(site: pathlib.Path, pages: dict[pathlib.Path, Page]) -> None:
    for name in ("adam", "lion", "muon", "sgd", "dog", "sophia"):
        file = site / "optimizers" / f"{name}.html"
        assert pages[file].tags["math"], name
        assert pages[file].tags["msub"] > 3, name
    assert pages[site / "reference" / "pieces.html"].tags["math"]
    for file in pages:
        text = file.read_text()
        assert "arithmatex" not in text, f"{file.name} has LaTeX that nothing sets"
        math = "".join(part.split("</math>")[0] for part in text.split("<math")[1:])
        assert "\\" not in math, f"{file.name}: a command of LaTeX that latex2mathml does not know"
        assert "&</mi>" not in math


# ---------------------------------------------------------------- in a browser


def browse(url: str, *options: str) -> str:
    """The page as Chromium has made it."""
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=10000"]
    done = subprocess.run(
        [*command, *options, "--dump-dom", url], capture_output=True, text=True, timeout=120
    )
    return done.stdout


@browser
def test_the_search_works_in_pages_opened_as_files(site: pathlib.Path) -> None:
    shown = browse((site / "index.html").as_uri() + "?q=novograd")
    assert "optimizers/novograd.html" in shown.partition("md-search-result__list")[2]


PROBE = """
<script>addEventListener("load", () => {
  const box = (x) => { const r = x.getBoundingClientRect(); return [r.width, r.height] }
  const seen = {
    formulas: [...document.querySelectorAll(".formula math")].map(box),
    rows: [...document.querySelectorAll(".formula mtr")].map(box),
    wide: document.documentElement.scrollWidth - innerWidth,
    font: getComputedStyle(document.body).fontFamily,
    loaded: performance.getEntriesByType("resource").map((x) => x.name),
  }
  document.title = JSON.stringify(seen)
})</script>
"""


@browser
@pytest.mark.parametrize("width", [400, 1300])
@pytest.mark.parametrize("page", ["optimizers/adam", "optimizers/muon", "reference/pieces", "from-pytorch"])
def test_formulas_have_a_size_and_no_page_scrolls_sideways(site: pathlib.Path, page: str, width: int) -> None:
    file = site / f"{page}.html"
    probe = file.with_name(f"{file.stem}-{width}-probe.html")
    probe.write_text(file.read_text().replace("</head>", PROBE + "</head>", 1))
    shown = browse(probe.as_uri(), f"--window-size={width},1200")
    probe.unlink()
    seen = json.loads(html.unescape(shown.partition("<title>")[2].partition("</title>")[0]))
    assert seen["wide"] <= 1, f"{seen['wide']} pixels too wide"
    assert all(name.startswith("file:") for name in seen["loaded"])
    if "optimizers" in page:
        assert seen["formulas"]
        assert all(w > 50 and h > 15 for w, h in seen["formulas"])
        heights = [h for _, h in seen["rows"]]
        assert len(heights) >= 3  # a row for each line of the formula
        assert min(heights) > 15
