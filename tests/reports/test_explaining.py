"""`explain`: a composition as a tree, with formulas and with what each piece keeps."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

import gradtx
from gradtx import Schedule
from gradtx.reports.composition import pieces
from tests.laws.test_laws import PARAMS, SCHEDULES, TRANSFORMATIONS, TREE, build, elaborate


def _bytes(state) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))


@pytest.mark.parametrize("name", TRANSFORMATIONS)
def test_everything_explains_itself_and_counts_its_state_right(name: str) -> None:
    params = PARAMS.get(name, TREE)
    plain = build(TRANSFORMATIONS[name])
    for tx in dict.fromkeys((plain, elaborate(plain))) if name not in PARAMS else (plain,):
        counted = sum(kept.nbytes for kept in pieces(tx, params).kept)
        assert counted == _bytes(jax.eval_shape(tx.init, params))
        for explanation in (gradtx.explain(tx), gradtx.explain(tx, params)):
            assert explanation.text.startswith(name)
            assert explanation.latex.isascii()
        assert tx._repr_markdown_()


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_explain_themselves(name: str) -> None:
    schedule = build(SCHEDULES[name])
    assert gradtx.explain(schedule).text.startswith(name)
    assert schedule._repr_markdown_() == gradtx.explain(schedule).markdown


def test_the_tree_as_text() -> None:
    rate = gradtx.cosine_decay_schedule(1e-3, 100)
    assert str(gradtx.explain(gradtx.chain(gradtx.trace(0.9), gradtx.scale_by_learning_rate(rate)))) == (
        """\
chain
│    Apply transformations in order: each reads what the one before it returned.
│    state: step 4 bytes, scheduled 4 bytes, 4 bytes per parameter + 8 bytes in all
├─ trace(decay=0.9)
│       Heavy-ball velocity: vₜ = β vₜ₋₁ + gₜ.
│       state: velocity 4 bytes per parameter
└─ scale_by_learning_rate
   │    Multiply by -λ, so that adding the updates descends.
   │    no state
   └─ learning_rate: cosine_decay_schedule(init_value=0.001, decay_steps=100)
           Half a cosine from a to α a, then held: a ((1 - α)(½ (1 + cos πx))ᵉ + α)."""
    )


def test_a_composite_has_its_own_formula_and_the_parts_of_its_expansion() -> None:
    text = gradtx.explain(gradtx.adam(1e-3)).text
    assert "│    θₜ = θₜ₋₁ - λ m̂ₜ / (sqrt(v̂ₜ + ε_root) + ε)\n│    state: 8 bytes per parameter" in text
    assert "├─ ratio(eps=1e-08)\n" in text
    assert "│  └─ denominator: rms(decay=0.999)\n" in text
    scheduled = gradtx.explain(gradtx.adam(gradtx.linear_schedule(0.1, 0.0, 5))).text
    assert scheduled.count("learning_rate: linear_schedule(") == 1  # where it acts


def test_markdown_and_latex_have_the_same_pieces_and_set_the_formulas() -> None:
    explanation = gradtx.explain(gradtx.adam(1e-3))
    step = r"\theta_{t} = \theta_{t-1} - \lambda"
    formula = step + r" \hat{m}_{t} / (\sqrt{\hat{v}_{t} + \varepsilon_{\mathrm{root}}} + \varepsilon)"
    assert explanation.markdown.startswith("- `adam(learning_rate=0.001)`  \n  $m_{t} = ")
    assert f"  ${formula}$  \n  state: 8 bytes per parameter" in explanation.markdown
    assert "\n    - numerator: `momentum(decay=0.9)`  \n" in explanation.markdown
    assert rf"\hspace*{{2em}}${formula}$" in explanation.latex
    assert r"\hspace*{4em}numerator: \texttt{momentum(decay=0.9)}" in explanation.latex


def test_a_notebook_shows_it() -> None:
    tx = gradtx.lion(1e-4)
    assert tx._repr_markdown_() == gradtx.explain(tx).markdown == gradtx.explain(tx)._repr_markdown_()
    assert tx._repr_latex_().startswith("$$\\begin{aligned}\nu_{t} &= \\operatorname{sign}(")
    assert gradtx.chain()._repr_latex_() is None  # it has no formula
    assert gradtx.by_path((".*", True))._repr_markdown_() is None


def test_a_call_stands_in_one_line() -> None:
    tx = gradtx.schedule_free_adamw(gradtx.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100))
    assert "\n" in repr(tx)
    assert (
        "schedule(init_value=0.0, peak_value=0.001, warmup_steps=10, decay_steps=100))"
        in tx._repr_markdown_()
    )


def test_what_cannot_be_explained_still_prints() -> None:
    class broken(gradtx.GradientTransformation):
        def init(self, params):
            raise RuntimeError("no")

        def update(self, updates, state, params=None):
            return updates, state

    assert "state: depends on the parameters" in broken()._repr_markdown_()
    seen = []

    @jax.jit
    def traced(rate):
        seen.append(gradtx.adam(rate)._repr_markdown_())
        return rate

    traced(0.1)
    assert seen[0] is None or "adam" in seen[0]


def test_masks_labels_and_layouts_need_parameters_for_their_bytes() -> None:
    masked = gradtx.explain(gradtx.adamw(1e-3, mask="kernel$"))
    assert "mask='kernel$')\n│    θ" in masked.text
    assert "state: 8 bytes per parameter" in masked.text.splitlines()[2]  # as if it selected everything
    groups = gradtx.partition({"a": gradtx.trace(0.9)}, gradtx.by_path(("kernel", "a")))
    assert "a: trace(decay=0.9)\n" in gradtx.explain(groups).text
    assert "velocity 4 bytes per parameter" in gradtx.explain(groups).text
    stacked = gradtx.layerwise(gradtx.trace(0.9), "^blocks")
    assert "state: velocity 4 bytes per parameter" in gradtx.explain(stacked).text
    assert "state: counted above" in gradtx.explain(stacked).text
    shape = jax.ShapeDtypeStruct((10,), jnp.float32)
    kernel, rest = {"kernel": shape}, {"kernel": shape, "bias": shape}
    half = gradtx.masked(gradtx.trace(0.9), "kernel")
    assert "state: velocity 4 bytes per parameter" in gradtx.explain(half, kernel).text
    assert "state: velocity 2 bytes per parameter" in gradtx.explain(half, rest).text
    with pytest.raises(ValueError, match="kernel"):
        gradtx.explain(half, {"bias": shape})


def test_numbers_per_leaf_are_told_from_those_per_parameter() -> None:
    assert "step 4 bytes, squares 4 bytes per leaf" in gradtx.explain(gradtx.novograd(0.1)).text


def test_parts_that_are_mapped_over_layers_count_once() -> None:
    params = {"blocks": jnp.ones((5, 3, 2)), "head": jnp.ones(3)}
    tx = gradtx.per_layer(gradtx.novograd(0.1), "blocks")
    counted = sum(kept.nbytes for kept in pieces(tx, params).kept)
    assert counted == _bytes(tx.init(params))


class SlowState(NamedTuple):
    slow: Any
    inner: Any


class slow(gradtx.GradientTransformation):
    """Keeps the parameters themselves, beside what another keeps."""

    inner: gradtx.GradientTransformation | None = None

    def init(self, params) -> SlowState:
        return SlowState(params, None if self.inner is None else self.inner.init(params))

    def update(self, updates, state, params=None):
        return updates, state


def test_an_array_that_is_kept_twice_counts_twice() -> None:
    kept = pieces(slow(slow()), {"w": jnp.ones(5)})
    assert [field.nbytes for field in kept.kept] == [20, 20]
    assert [field.nbytes for field in kept.keeps] == [20]


def test_long_arguments_are_cut_and_others_refused() -> None:
    long = gradtx.freeze({f"leaf{i}": True for i in range(100)})
    assert len(gradtx.explain(long).text.splitlines()[0]) < 150
    with pytest.raises(TypeError, match=r"explain: expected .* or a schedule, not 3\. Pass the value itself"):
        gradtx.explain(3)
    with pytest.raises(
        TypeError, match=r"not the class adam\. Call it with its hyperparameters: adam\(\.\.\.\)"
    ):
        gradtx.explain(gradtx.adam)
    with pytest.raises(
        TypeError, match=r"two functions .* `from gradtx.interop import optax` has Optax's names"
    ):
        gradtx.explain(optax.adam(1e-3))
    assert issubclass(gradtx.linear_schedule, Schedule)
