"""The Unicode formulas of docstrings as LaTeX.

    λ m̂ₜ / (sqrt(v̂ₜ) + ε)      \\lambda \\hat{m}_{t} / (\\sqrt{\\hat{v}_{t}} + \\varepsilon)

A formula in a docstring is for terminals; this is for notebooks, papers and pages. Words between the symbols
become text. What comes out needs amsmath, and is read by MathJax and KaTeX as well.
"""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from typing import NamedTuple

__all__ = ["equations", "escape", "inline", "latex"]

_SUBSCRIPTS = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ", "0123456789+-=()aehijklmnoprstuvx", strict=True))
_SUBSCRIPTS |= {"ᵦ": r"\beta ", "ᵧ": r"\gamma ", "ᵨ": r"\rho ", "ᵩ": r"\varphi "}
_SUPERSCRIPTS = dict(
    zip(
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ",
        "0123456789+-=()abcdefghijklmnoprstuvwxyz",
        strict=True,
    )
)
_SUPERSCRIPTS |= {"ᵀ": r"\top ", "ᴴ": "H", "ᵅ": r"\alpha ", "ᵝ": r"\beta ", "ᵞ": r"\gamma ", "ᵟ": r"\delta "}
_ACCENTS = {"\u0302": "hat", "\u0304": "bar", "\u0303": "tilde", "\u0307": "dot"}
_FRACTIONS = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3"}
_GREEK = {
    letter: "\\" + (name if letter.islower() else name.capitalize())
    for letters in ("αβγδζηθικλμνξπρστυχψω", "ΓΔΘΛΞΦΨΩ")
    for letter in letters
    for name in [unicodedata.name(letter).rpartition(" ")[2].lower().replace("lamda", "lambda")]
} | {"ε": r"\varepsilon", "φ": r"\varphi", "Σ": r"\sum", "Π": r"\prod"}
_SYMBOLS = {
    "∞": r"\infty",
    "·": r"\cdot",
    "×": r"\times",
    "≤": r"\le",
    "≥": r"\ge",
    "≠": r"\ne",
    "≈": r"\approx",
    "∈": r"\in",
    "→": r"\to",
    "←": r"\leftarrow",
    "±": r"\pm",
    "∇": r"\nabla",
    "∂": r"\partial",
    "∑": r"\sum",
    "∏": r"\prod",
    "⌊": r"\lfloor",
    "⌋": r"\rfloor",
    "⌈": r"\lceil",
    "⌉": r"\rceil",
    "⟨": r"\langle",
    "⟩": r"\rangle",
    "⊙": r"\odot",
    "⊗": r"\otimes",
    "∘": r"\circ",
    "⊤": r"\top",
    "…": r"\ldots",
    "−": "-",
    "<=": r"\le",
    ">=": r"\ge",
    "...": r"\ldots",
}
_NAMED = {"max", "min", "exp", "log", "cos", "sin", "tanh"}
_NEVER_WORDS = {"exp", "log", "cos", "sin", "tanh"}
_NOUN = re.compile(r" (?:\d+-)?(?!(?:again|and|at|by|in|is|or|then|to)\b)[A-Za-z`][A-Za-z_-]+(?![\w(-])")
_OPERATORS = "-+·/=<>≤≥×"  # the hyphen first: they go into a class of characters
_ESCAPED = {
    **{c: "\\" + c for c in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
}
_TOKEN = re.compile(
    r"""(?P<code>`[^`]*`)
      | (?P<space>\s+)
      | (?P<symbol><=|>=|\.\.\.)
      | (?P<word>(?:\d+-)?[A-Za-z]+(?:[-'_][A-Za-z]+)*(?:(?<=[a-z]{2})\d+)?)
      | (?P<number>\d+(?:\.\d+)?(?:e-?\d+)?)
      | (?P<other>.)""",
    re.VERBOSE,
)


class _Piece(NamedTuple):
    is_text: bool
    latex: str


def latex(line: str) -> str:
    """A line with a formula, for mathematics mode; the words in it become \\text{...}."""
    out = [rf"\text{{{p.latex}}}" if p.is_text else p.latex for p in _pieces(line, markdown=False)]
    return "".join(out).strip()


@functools.lru_cache(1024)  # the same few sentences, at every node of an explanation
def inline(line: str, *, markdown: bool = True) -> str:
    """A sentence or a line of a formula, for Markdown or a paragraph of LaTeX: with $ around mathematics."""
    apart = " &emsp; " if markdown else r" \quad "
    return apart.join(_inline(cell, markdown) for cell in re.split(r"\s{2,}", line.strip()))


def _inline(cell: str, markdown: bool) -> str:
    out = ""
    for is_text, text in _pieces(cell, markdown):
        core = text.strip()
        if is_text or not core:
            out += text
            continue
        before, after = text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]
        out += f"{before}${core}${after}"
    return out.strip()


def equations(lines: list[str]) -> str:
    """The lines of a block of formulas, aligned at their first = or ←; cells stand apart in a line."""
    rows = []
    for line in lines:
        cells = re.split(r"\s{2,}", line.strip())
        if len(cells) > 1 and cells[1][:2] in ("= ", "← "):  # `uₜ     = ...`
            cells[:2] = [f"{cells[0]} {cells[1]}"]
        at = re.search(r" [=←] ", cells[0])
        left, right = (cells[0][: at.start()], cells[0][at.start() + 1 :]) if at else ("", cells[0])
        first = f"{latex(left)} &{latex(right)}".strip()
        rows.append(r" \qquad ".join([first, *map(latex, cells[1:])]))
    return "\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}"


def escape(text: str) -> str:
    """Plain text for LaTeX's text mode."""
    return "".join(_ESCAPED.get(c, c) for c in text)


# ---------------------------------------------------------------- from characters to pieces


def _pieces(line: str, markdown: bool) -> list[_Piece]:
    """The line as alternating pieces of mathematics and of text."""
    pieces: list[_Piece] = []
    for is_text, text in _convert(unicodedata.normalize("NFD", line), markdown):
        if pieces and (pieces[-1].is_text == is_text or not text.strip()):
            pieces[-1] = _Piece(pieces[-1].is_text, pieces[-1].latex + text)
        else:
            pieces.append(_Piece(is_text, text))
    for i, (piece, after) in enumerate(itertools.pairwise(pieces)):
        if not piece.is_text and after.is_text and piece.latex.endswith(" "):  # TeX drops it there
            pieces[i] = _Piece(False, piece.latex.rstrip())
            pieces[i + 1] = _Piece(True, " " + after.latex)
    return pieces


def _convert(text: str, markdown: bool) -> list[tuple[bool, str]]:
    """(is it text?, LaTeX, or Markdown where it is text) for each token."""
    out: list[tuple[bool, str]] = []
    at, depth, bars = 0, 0, {"‖": False, "|": False}
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None  # the last alternative matches anything
        kind, token, at = match.lastgroup, match.group(), match.end()
        behind = text[at : at + 1]
        depth += (token in "(⟨") - (token in ")⟩")
        if kind == "space":
            out.append((out[-1][0] if out else False, " "))
        elif kind == "code":
            out.append((True, token if markdown else rf"\texttt{{{escape(token[1:-1])}}}"))
        elif kind == "word" and token == "sqrt" and behind == "(" and (end := _closing(text, at)):
            out.append((False, rf"\sqrt{{{latex(text[at + 1 : end])}}}"))
            at = end + 1
        elif (
            kind == "word"
            and len(token) > 1
            and (behind == "(" or _is_script(behind) or token in _NEVER_WORDS)
        ):
            name = "\\" + token if token in _NAMED else rf"\operatorname{{{escape(token)}}}"
            out.append((False, name))
        elif kind == "word" and (len(token) > 1 or _is_article(token, text, at)):
            is_term = _is_term(text, match.start(), at, depth)
            plain = token if markdown else escape(token)
            out.append((False, rf"\mathrm{{{escape(token)}}}") if is_term else (True, plain))
        elif kind == "other" and token in ",.;:!?" and (not behind.strip()) and out:
            out.append((out[-1][0] or (markdown and depth == 0), token))
        elif token == "'" and not behind.strip() and out and out[-1][0]:  # the examples' gradients
            out.append((True, token))
        elif kind == "other" and token in bars:
            bars[token] = not bars[token]
            name = "Vert" if token == "‖" else "vert"
            out.append((False, rf"\l{name} " if bars[token] else rf"\r{name}"))
        elif kind == "other" and (token in _SUBSCRIPTS or token in _SUPERSCRIPTS):
            table, mark = (_SUBSCRIPTS, "_") if token in _SUBSCRIPTS else (_SUPERSCRIPTS, "^")
            run = token
            while (found := text[at : at + 1]) in table or (found == "," and text[at + 1 : at + 2] in table):
                if not found:
                    break
                run, at = run + found, at + 1
            out.append((False, f"{mark}{{{''.join(table.get(c, c) for c in run).strip()}}}"))
        elif kind == "other" and token == "√":
            end = _closing(text, at) if behind == "(" else _atom_end(text, at)
            inside = text[at + 1 : end] if behind == "(" and end else text[at : end or at]
            out.append((False, rf"\sqrt{{{latex(inside)}}}"))
            at = (end + 1 if behind == "(" else end) if end else at
        elif kind == "other" and token == "^":
            end = _closing(text, at) if behind == "(" else at + 1
            inside = text[at + 1 : end] if behind == "(" and end else text[at : end or at]
            out.append((False, f"^{{{latex(inside)}}}"))
            at = (end + 1 if behind == "(" else end) if end else at
        elif kind == "other" and token == "_" and (word := re.compile(r"[A-Za-z]+|ε").match(text, at)):
            out.append(
                (False, rf"_{{\mathrm{{{word.group()}}}}}" if word.group() != "ε" else r"_{\varepsilon}")
            )
            at = word.end()
        else:
            before = text[match.start() - 1 : match.start()]
            out.append((False, _symbol(token, before, behind)))
            if behind in _ACCENTS:
                out[-1] = (False, rf"\{_ACCENTS[behind]}{{{out[-1][1].strip()}}}")
                at += 1
    return out


def _symbol(token: str, before: str, behind: str) -> str:
    attached = bool(before.strip()) and before not in "(["
    if token == "*" and attached:
        return "^{*}"
    if token == "∞" and attached and (before.isalpha()):
        return r"_{\infty}"
    if token in _FRACTIONS:
        top, bottom = _FRACTIONS[token].split("/")
        return rf"\tfrac{{{top}}}{{{bottom}}}"
    found = _GREEK.get(token) or _SYMBOLS.get(token)
    if found:  # a command ends where no letter follows
        return found + (" " if found[-1].isalpha() and behind.isalnum() and behind.isascii() else "")
    if token in "#$%&_{}":
        return "\\" + token
    return token if token.isascii() else rf"\text{{{token}}}"


def _is_script(character: str) -> bool:
    return bool(character) and (character in _SUBSCRIPTS or character in _SUPERSCRIPTS)


def _is_term(text: str, start: int, end: int, depth: int) -> bool:
    """Whether a word is a quantity: beside an operator or a bar, as in step + 1, or alone in parentheses."""
    before, after = text[:start], text[end:]
    alone = not re.search(r"[A-Za-z]{2,} $", before) and not re.match(r" [A-Za-z]{2,}", after)
    return (depth > 0 and alone) or bool(
        re.search(rf"( [{_OPERATORS}] |[|‖⌊])$", before) or re.match(rf" [{_OPERATORS}] |[|‖⌋]", after)
    )


def _is_article(token: str, text: str, at: int) -> bool:
    """`a` in front of a noun: an article, not a number."""
    return token in "aA" and bool(_NOUN.match(text, at))


def _closing(text: str, at: int) -> int:
    """Where the parenthesis at `at` closes; 0 if nowhere."""
    depth = 0
    for i in range(at, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if not depth:
            return i
    return 0


def _atom_end(text: str, at: int) -> int:
    """Where a letter or number ends, with its accents and scripts."""
    found = re.compile(r"\d+(?:\.\d+)?|.").match(text, at)
    end = found.end() if found else at
    while end < len(text) and (text[end] in _ACCENTS or _is_script(text[end])):
        end += 1
    return end
