"""CITATION.cff is what its schema asks for, and the README, the package and pyproject.toml say the same."""

from __future__ import annotations

import pathlib
import re
import tomllib

import gradtx

ROOT = pathlib.Path(__file__).parents[1]
CFF = (ROOT / "CITATION.cff").read_text()
# Of the schema for 1.2.0, https://github.com/citation-file-format: what must be there, and what else is.
REQUIRED = {"authors", "cff-version", "message", "title"}
USED = {"abstract", "keywords", "license", "type", "version"}


def _field(name: str) -> str:
    found = re.search(rf"^{name}: (.+)$", CFF, re.MULTILINE)
    assert found, f"CITATION.cff has no {name}"
    return found.group(1).strip('"')


def test_it_has_the_schemas_fields_and_no_others() -> None:
    fields = set(re.findall(r"^([a-z-]+):", CFF, re.MULTILINE))
    assert REQUIRED <= fields <= REQUIRED | USED
    assert _field("cff-version") == "1.2.0"
    assert _field("type") == "software"


def test_the_readme_the_package_and_the_project_say_the_same() -> None:
    entry = re.search(
        r"^    @software\{gradtx,\n(.*?)^    \}$", (ROOT / "README.md").read_text(), re.M | re.S
    )
    readme = dict(re.findall(r"^      (\w+) = \{(.*)\},?$", entry.group(1), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    author = re.search(r"^authors:\n  - name: (.+)$", CFF, re.MULTILINE).group(1)
    assert readme == {
        "author": f"{{{author}}}",
        "title": _field("title"),
        "version": _field("version"),
        "license": _field("license"),
    }
    assert _field("version") == gradtx.__version__
    assert _field("license") == project["license"]
    assert [author] == [given["name"] for given in project["authors"]]
    assert len(readme["title"]) > 20
