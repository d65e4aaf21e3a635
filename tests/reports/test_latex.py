"""The converter from a docstring's Unicode to LaTeX: by examples, and over every formula that is exported."""

from __future__ import annotations

import inspect
import re

import pytest
from matplotlib import mathtext

import gradtx
from gradtx.reports.docstrings import formula, is_formula
from gradtx.reports.latex import equations, escape, inline, latex

CLASSES = {
    name: cls
    for name, cls in vars(gradtx).items()
    if inspect.isclass(cls) and issubclass(cls, gradtx.Value) and not cls._abstract and formula(cls)
}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("θₜ = θₜ₋₁ - λ gₜ", r"\theta_{t} = \theta_{t-1} - \lambda g_{t}"),
        (
            "m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)",
            r"\hat{m}_{t} / (\sqrt{\hat{v}_{t} + \varepsilon_{\mathrm{root}}} + \varepsilon)",
        ),
        ("ŝ ḡ r̄ₜ", r"\hat{s} \bar{g} \bar{r}_{t}"),
        ("1 - β₁ᵗ⁺¹", r"1 - \beta_{1}^{t+1}"),
        ("Σ wᵢ gᵢ / Σ wᵢ", r"\sum w_{i} g_{i} / \sum w_{i}"),
        ("1 - Πβ", r"1 - \prod\beta"),
        ("λ ‖θᵢ‖* / ‖gᵢ‖²", r"\lambda \lVert \theta_{i}\rVert^{*} / \lVert g_{i}\rVert^{2}"),
        ("|gₜ - mₜ₋₁| |gₜ|", r"\lvert g_{t} - m_{t-1}\rvert \lvert g_{t}\rvert"),
        ("max(β uₜ₋₁, gₜ)", r"\max(\beta u_{t-1}, g_{t})"),
        ("maxₜ = sign(gₜ)", r"\max_{t} = \operatorname{sign}(g_{t})"),
        ("look_ahead(g)", r"\operatorname{look\_ahead}(g)"),
        ("√t + √(W / t) + √v̂ₜ", r"\sqrt{t} + \sqrt{W / t} + \sqrt{\hat{v}_{t}}"),
        ("(t - 1)^¼ ½", r"(t - 1)^{\tfrac{1}{4}} \tfrac{1}{2}"),
        ("0.96^(0.004 t)", r"0.96^{0.004 t}"),
        ("ρ∞ ≥ 1e-16", r"\rho_{\infty} \ge 1e-16"),
        ("E[g²]ₜ", r"E[g^{2}]_{t}"),
        ("s(⌊step / n⌋)", r"s(\lfloor \mathrm{step} / n\rfloor)"),
        ("A² X Xᴴ ⟨g, u⟩ <= 0", r"A^{2} X X^{H} \langle g, u\rangle \le 0"),
        ("rₜ where a norm is 0", r"r_{t}\text{ where a norm is }0"),
        ("m̂ and v̂ as in Adam", r"\hat{m}\text{ and }\hat{v}\text{ as in Adam}"),
        ("λ = 1 in the paper", r"\lambda = 1\text{ in the paper}"),
        ("the update is `scale_by_x` of g", r"\text{the update is \texttt{scale\_by\_x} of }g"),
        ("sqrt(sqrt(x) + (y)) z", r"\sqrt{\sqrt{x} + (y)} z"),
        ("sqrt(never closed", r"\operatorname{sqrt}(\text{never closed}"),
        ("wₜ = (max of λ₁ ... λₜ)ᵖ", r"w_{t} = (\text{max of }\lambda_{1} \ldots \lambda_{t})^{p}"),
        ("max(level, min_value) + Sₜ,ᵢ", r"\max(\mathrm{level}, \mathrm{min\_value}) + S_{t,i}"),
        ("d₀ = estim_lr0", r"d_{0} = \mathrm{estim\_lr0}"),
        ("f(x", "f(x"),
        ("cos πx", r"\cos \pi x"),
        ("50% of α & γ #1", r"50\%\text{ of }\alpha \& \gamma \#1"),
        ("", ""),
    ],
)
def test_examples(line: str, expected: str) -> None:
    assert latex(line) == expected


def test_a_sentence_keeps_its_words_outside_of_the_mathematics() -> None:
    sentence = "At most c: u · min(1, c / ‖u‖), a 2-norm."
    assert inline(sentence) == r"At most $c$: $u \cdot \min(1, c / \lVert u\rVert)$, a 2-norm."
    assert inline("`nesterov_x` of g") == "`nesterov_x` of $g$"
    assert inline("`nesterov_x` of g", markdown=False) == r"\texttt{nesterov\_x} of $g$"
    assert inline("the examples' gradients: ⟨∇f(θ), u⟩") == (
        r"the examples' gradients: $\langle\nabla f(\theta), u\rangle$"
    )
    assert inline("vₜ = g    one for each leaf") == "$v_{t} = g$ &emsp; one for each leaf"


def test_an_article_is_a_word_and_a_quantity_is_not() -> None:
    assert inline("A `partition` by shape, and a 2-norm") == "A `partition` by shape, and a 2-norm"
    assert inline("From a to b, then a is held") == "From $a$ to $b$, then $a$ is held"
    assert inline("a line from a to a peak") == "a line from $a$ to a peak"


def test_a_block_is_aligned_at_its_equals_signs() -> None:
    block = ["mₜ     = gₜ     v = 2", "λ mₜ  before", "q ← γ q"]
    assert equations(block) == (
        "\\begin{aligned}\n"
        "m_{t} &= g_{t} \\qquad v = 2 \\\\\n"
        "&\\lambda m_{t} \\qquad \\text{before} \\\\\n"
        "q &\\leftarrow \\gamma q\n"
        "\\end{aligned}"
    )


def test_text_is_escaped() -> None:
    assert escape("a_b%{c}\\") == r"a\_b\%\{c\}\textbackslash{}"


COMMANDS = """
    alpha beta gamma delta varepsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau
    upsilon varphi chi psi omega Gamma Delta Theta Lambda Xi Phi Psi Omega sum prod infty cdot times
    le ge ne approx in leftarrow to pm nabla partial lfloor rfloor lceil rceil langle rangle odot otimes circ
    top ldots sqrt hat bar tilde dot lVert rVert lvert rvert max min exp log cos sin tanh text
    texttt mathrm operatorname tfrac qquad begin end
"""


@pytest.mark.parametrize("name", CLASSES)
def test_every_formula_becomes_latex(name: str) -> None:
    block = equations(formula(CLASSES[name]))
    assert block.isascii(), f"{name}: teach gradtx/latex.py the character"
    assert block.count("{") - block.count("\\{") == block.count("}") - block.count("\\}")
    for left, right in (("\\lVert", "\\rVert"), ("\\lvert", "\\rvert"), ("(", ")")):
        assert block.count(left) == block.count(right)
    assert set(re.findall(r"\\([A-Za-z]+)", block)) <= set(COMMANDS.split())
    for line in block.splitlines()[1:-1]:
        _parse(line.removesuffix(r" \\").replace("&", ""))


@pytest.mark.parametrize("name", CLASSES)
def test_notebooks_take_what_stands_between_dollar_signs_for_mathematics(name: str) -> None:
    """No space and no digit beside a $ where it matters, and nothing in between that Markdown would read."""
    for line in formula(CLASSES[name]):
        *pairs, after = re.split(r"\$([^$]*)\$", inline(line))
        for inside, behind in zip(pairs[1::2], [*pairs[2::2], after], strict=True):
            assert inside == inside.strip() != "", line
            assert not behind[:1].isdigit(), line
        words = " ".join([*pairs[::2], after]).replace("&emsp;", "")
        words = re.sub(r"`[^`]*`", "", words)
        assert words.isascii(), line
        assert not re.search(r"[$|<>*^\\]|\b_|_\b", words), line


def _parse(line: str) -> None:
    """matplotlib's reader of mathematics raises an error on what is none; it lacks some of the commands."""
    for command, other in (
        (r"\lVert", r"\Vert"),
        (r"\rVert", r"\Vert"),
        (r"\lvert", r"\vert"),
        (r"\rvert", r"\vert"),
        (r"\tfrac", r"\frac"),
        (r"\qquad", r"\quad \quad"),
        (r"\le ", r"\leq "),
        (r"\ge ", r"\geq "),
        (r"\ne ", r"\neq "),
    ):
        line = line.replace(command, other)
    line = re.sub(r"\\texttt\{[^}]*\}", "", line)
    mathtext.MathTextParser("path").parse(f"${line}$")


def test_formulas_are_told_from_code_and_from_words() -> None:
    assert is_formula("θ = 1")
    assert is_formula("g + c: what is added")
    assert not is_formula("`adam` with `nesterov=True`.")
    assert not is_formula("tx = gradtx.adam(1e-3)")
    assert not is_formula('mask="kernel$"')
    assert not is_formula("value, grad = jax.value_and_grad(loss)(params)\ntx.update(grad, state)")
    assert not is_formula("def sampled(params, key):\n    x = 2 - 1")
    assert is_formula("max(m.x + 0.5, 1)")
    assert not is_formula("The sum of transformations.")


def test_a_formula_is_found_where_it_stands() -> None:
    assert formula(gradtx.adam)[-1] == "θₜ = θₜ₋₁ - λ m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)"  # the module's
    assert formula(gradtx.sgd)[0].startswith("θₜ = θₜ₋₁ - λ gₜ")  # its namesake's, though it cites for itself
    assert formula(gradtx.rectify)[0].startswith("rₜ² = ")  # the class's block
    assert formula(gradtx.trace) == ["Heavy-ball velocity: vₜ = β vₜ₋₁ + gₜ."]  # a sentence
    assert formula(gradtx.chain) == []
    assert formula(gradtx.tunable) == []  # its module's block is code
