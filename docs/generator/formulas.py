"""Formulas as MathML, which browsers draw themselves: no script, no font, nothing from the network."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

from gradtx.reports import docstrings, latex

_NAMED = re.compile(r"\\(?:text|operatorname|mathrm)\{([^{}]*\\_[^{}]*)\}")
_SYMBOLS = re.compile(r"[₀-ₜ]|[Α-ω]")
_SET = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)
# The type of a field says what it accepts in terms of this package; its text says so in words.
# (It is a link here, in a tag of whichever plugin resolves it afterwards.)
_TYPE = re.compile(
    r"\s*\(<code>(?:(?!</code>).)*>Annotated<(?:(?!</code>).)*</code>(?:,\s*(default:\s*<code>.*?</code>)\s*)?\)",
    re.DOTALL,
)
# What Markdown makes of an indented block, which has no language.
_INDENTED = re.compile(r'<div class="highlight"><pre><span></span><code>(.*?)</code></pre></div>', re.DOTALL)


def in_html(page: str, of_docstrings: bool) -> str:
    """A page with its LaTeX as MathML; one of docstrings with their formulas too, without types of fields."""
    page = _SET.sub(lambda m: _mathml(html.unescape(m.group(3)), display=m.group(2) == "["), page)
    if not of_docstrings:
        return page
    page = _TYPE.sub(lambda m: f" ({m.group(1)})" if m.group(1) else "", page)
    return _INDENTED.sub(_typeset, page)


def in_markdown(lines: list[str]) -> str:
    """The lines of a formula as a block: typeset, or as they are."""
    if not _is_formula("\n".join(lines)):
        return "\n".join(f"    {line}" for line in lines)
    return f"$$\n{latex.equations(lines)}\n$$"


def docstring(text: str) -> str:
    """A docstring, without its margin, as Markdown with its formulas set."""
    made = []
    for block in re.split(r"\n\n+", text.strip("\n")):
        lines = block.splitlines()
        indented = all(line.startswith("    ") for line in lines)
        # A source is a line of its own.
        prose = re.sub(r"(https?://\S+)\n(?=[A-Z])", r"\1  \n", block)
        made.append(in_markdown([line[4:].rstrip() for line in lines]) if indented else prose)
    return "\n\n".join(made)


def _is_formula(text: str) -> bool:
    return docstrings.is_formula(text) or bool(_SYMBOLS.search(text))


def _typeset(match: re.Match[str]) -> str:
    text = html.unescape(re.sub(r"<[^>]+>", "", match.group(1)))
    if not _is_formula(text):
        return match.group()
    return _mathml(latex.equations([line for line in text.splitlines() if line.strip()]), display=True)


def _mathml(source: str, display: bool) -> str:
    source = source.strip().replace("{aligned}", "{split}")  # the same, and latex2mathml knows it
    source = re.sub(r"\\texttt\{([^{}]*)\}", r"\1", source)
    # It reads the underscores of words as they are, and only in text.
    source = _NAMED.sub(lambda m: "\\text{" + m.group(1).replace(r"\_", "_") + "}", source)
    made = convert(source, display="block" if display else "inline")
    return f'<div class="formula">{made}</div>' if display else made
