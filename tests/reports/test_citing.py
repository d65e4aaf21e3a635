"""`cite`: every class has a source or says why not, every source has an entry, a composition each once."""

from __future__ import annotations

import importlib.resources
import inspect
import re
import sys

import pybtex.database
import pytest

import gradtx
from gradtx.reports.citing import references
from gradtx.reports.docstrings import prose, sources, why_no_source

CLASSES = {
    name: cls
    for name, cls in vars(gradtx).items()
    if inspect.isclass(cls) and issubclass(cls, gradtx.Value) and not cls._abstract
}


def _parsed(text: str) -> pybtex.database.BibliographyData:
    return pybtex.database.parse_string(text, "bibtex")  # raises on a syntax error and on a repeated key


def _titles(tx) -> list[str]:
    return [entry.fields["title"] for entry in _parsed(gradtx.cite(tx)).entries.values()]


def _plain(text: str) -> str:
    text = re.sub(r"\$\\beta_2\$", "β₂", text).replace("$O(1/k^2)$", "O(1/k²)").replace("--", "-")
    return re.sub(r"[{}\\]", "", " ".join(text.split())).lower()


# ---------------------------------------------------------------- compositions


def test_a_composition_cites_its_pieces_and_its_schedules_once_each() -> None:
    rate = gradtx.cosine_decay_schedule(1e-3, 1000)
    assert _titles(gradtx.chain(gradtx.clip_by_global_norm(1.0), gradtx.adamw(rate))) == [
        "On the difficulty of training recurrent neural networks",
        "Decoupled Weight Decay Regularization",
        "Adam: A Method for Stochastic Optimization",
        "{SGDR}: Stochastic Gradient Descent with Warm Restarts",
    ]


def test_options_cite_what_they_bring() -> None:
    assert _titles(gradtx.sgd(0.1)) == ["A Stochastic Approximation Method"]
    assert len(_titles(gradtx.sgd(0.1, momentum=0.9))) == 3
    dozat = "Incorporating {N}esterov Momentum into {A}dam"
    assert dozat not in _titles(gradtx.adam(1e-3))
    assert dozat in _titles(gradtx.adam(1e-3, nesterov=True))


def test_what_is_held_is_cited_wherever_it_is_held() -> None:
    lion, adam = gradtx.lion(1e-4), gradtx.adam(1e-3)
    groups = gradtx.partition({"a": lion, "b": adam}, gradtx.by_path(("kernel", "a"), (".*", "b")))
    both = set(_titles(lion)) | set(_titles(adam))
    assert set(_titles(groups)) == both
    assert set(_titles(gradtx.named_chain(("a", lion), ("b", adam)))) == both
    assert set(_titles(gradtx.lookahead(adam, 5, 0.5))) > set(_titles(adam))
    warm = gradtx.with_warmup(gradtx.cosine_decay_schedule(1e-3, 100), 10)
    assert len(_titles(warm)) == 2
    assert len(_titles(gradtx.scale_by_schedule(warm))) == 2


def test_why_no_source_has_no_entry() -> None:
    assert gradtx.cite(gradtx.chain(gradtx.ema(0.9), gradtx.scale(-0.1))) == ""


def test_the_order_is_that_of_the_composition_every_time() -> None:
    tx = gradtx.adan(1e-3)
    assert gradtx.cite(tx) == gradtx.cite(gradtx.adan(1e-3))
    assert _titles(tx)[0].startswith("Adan")


def test_a_class_of_your_own_is_cited_by_its_links() -> None:
    class mine(gradtx.Composite):
        """Mine: sign descent.

        Somebody, "Something", 2031. https://example.org/a_b(1)/, https://arxiv.org/abs/1802.04434, and
        https://github.com/example/code

        Args:
            learning_rate: λ, as in https://example.org/not-a-source.
        """

        learning_rate: float

        def expand(self):
            return gradtx.sign_sgd(self.learning_rate)

    entries = list(_parsed(gradtx.cite(mine(0.1))).entries.values())
    assert [entry.fields["url"] for entry in entries] == [
        "https://example.org/a_b(1)",
        "https://arxiv.org/abs/1802.04434",
    ]
    assert entries[0].fields["title"] == "The source of mine"


def test_a_class_without_a_docstring_has_no_source_of_its_own() -> None:
    class bare(gradtx.GradientTransformation):
        def update(self, updates, state, params=None):
            return updates, state

    assert prose(bare) == ""
    assert gradtx.cite(bare()) == ""


# ---------------------------------------------------------------- everything exported


@pytest.mark.parametrize("name", CLASSES)
def test_every_class_has_a_source_or_says_why_not(name: str) -> None:
    cls = CLASSES[name]
    cited, why = sources(cls), why_no_source(cls)
    assert bool(cited) != bool(why), (
        f"{name}: its docstring, or its module's, names a source with a link, or says why it has none"
    )
    assert not why or (len(why.split()) >= 4), f"{name}: a reason in a sentence"
    for link in cited:
        assert link in references(), (
            f"{name} cites {link}: gradtx/references.bib needs an entry with that url"
        )


def _texts() -> dict[str, str]:
    modules = {cls.__module__: sys.modules[cls.__module__] for cls in CLASSES.values()}
    return {name: prose(thing) for name, thing in (CLASSES | modules).items()}


@pytest.mark.parametrize("link", references())
def test_docstrings_and_entries_agree(link: str) -> None:
    """Where a docstring quotes titles in front of a link, one is the entry's, with its year or arXiv's."""
    (entry,) = _parsed(references()[link]).entries.values()
    for name, text in _texts().items():
        for found in re.finditer(rf"{re.escape(link)}(?![\w.])", text):
            before = " ".join(text[: found.start()].split())
            if quoted := re.findall(r'"([^"]+)"', before):
                title = _plain(entry.fields["title"])
                assert any(title.startswith(_plain(q)) for q in quoted), f"{name}: {before[-200:]}"
                years = {entry.fields["year"], *(f"20{yy}" for yy in re.findall(r"/abs/(\d\d)", link))}
                assert any(year in before for year in years), f"{name}: {before[-200:]}"


# ---------------------------------------------------------------- the entries


def test_the_file_is_bibtex_and_each_entry_is_whole() -> None:
    text = (importlib.resources.files("gradtx") / "references.bib").read_text("utf-8")
    parsed = _parsed(text)
    assert list(parsed.entries) == sorted(parsed.entries)
    assert len(parsed.entries) == len(references())
    needed = {"article": "journal", "inproceedings": "booktitle", "misc": "howpublished", "book": "publisher"}
    for key, entry in parsed.entries.items():
        assert {"title", "year", "url", needed[entry.type]} <= set(entry.fields), key
        assert entry.persons["author"], key
        name = re.sub(r"\W", "", entry.persons["author"][0].last_names[-1].lower())
        assert key.startswith(name[:1]), key
    titles = [_plain(entry.fields["title"]) for entry in parsed.entries.values()]
    assert len(set(titles)) == len(titles)


def test_links_have_one_form() -> None:
    """The link is the key: a second form of one would be a second entry."""
    for link in references():
        assert re.fullmatch(r"https://\S+[^/.,;:\s]", link)
        if "arxiv" in link:
            assert re.fullmatch(r"https://arxiv\.org/abs/\d{4}\.\d{4,5}", link)


def test_what_is_no_value_is_refused() -> None:
    with pytest.raises(
        TypeError, match=r"cite: expected .* or a schedule, not 'adam'\. Pass the value itself, su"
    ):
        gradtx.cite("adam")
    with pytest.raises(TypeError, match=r"not the class adam\. Call it with its hyperparameters"):
        gradtx.cite(gradtx.adam)
