"""What sets Adam's relatives apart: each docstring's claim, and the state that each one keeps."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradtx


def _last(tx, stream, params=None):
    """The updates and the state after a stream of gradients of one parameter."""
    updates, state = _all(tx, stream, params)
    return updates[-1], state


def _all(tx, stream, params=None):
    """The updates at each of a stream of gradients of one parameter, and the state after it."""
    params = {"w": np.zeros(np.shape(stream[0]), np.float32)} if params is None else params

    @jax.jit
    def run(stream):
        return jax.lax.scan(lambda s, g: tx.update({"w": g}, s, params)[::-1], tx.init(params), stream)

    state, updates = run(np.asarray(stream, np.float32))
    return np.asarray(updates["w"]), state


def _sizes(tx) -> int:
    params = {"w": jnp.zeros((8, 4))}
    return sum(x.size for x in jax.tree.leaves(tx.init(params)) if x.ndim) // 32


# ---------------------------------------------------------------- AMSGrad

BURST = [[1.0]] + [[1e-2]] * 50


def test_amsgrad_remembers_its_largest_second_moment() -> None:
    """After a burst its steps stay small; Adam's grow again."""
    options = {"b1": 0.0, "b2": 0.9}
    amsgrad, _ = _last(gradtx.scale_by_amsgrad(**options), BURST)
    adam, _ = _last(gradtx.scale_by_adam(**options), BURST)
    np.testing.assert_allclose(amsgrad, 1e-2 / 1.0, rtol=1e-5)  # v̂₁ = g₁², for ever
    assert adam[0] > 0.3
    paper, _ = _last(
        gradtx.scale_by_amsgrad(**options, bias_correction_mu=False, bias_correction_nu=False), BURST
    )
    np.testing.assert_allclose(paper, 1e-2 / np.sqrt(1 - 0.9), rtol=1e-5)  # v₁ = (1 - β₂) g₁²


def test_amsgrad_can_correct_the_maximum_only_if_it_corrects() -> None:
    with pytest.raises(ValueError, match="correct_maximum"):
        gradtx.scale_by_amsgrad(bias_correction_nu=False, correct_maximum=True)


# ---------------------------------------------------------------- AdaMax, NAdam, LaProp


@pytest.mark.parametrize(
    "tx", [gradtx.adamax(0.1), gradtx.nadam(0.1), gradtx.laprop(0.1), gradtx.amsgrad(0.1), gradtx.radam(0.1),
           gradtx.adabelief(0.1), gradtx.yogi(0.1)],
    ids=lambda tx: type(tx).__name__,
)  # fmt: skip
def test_a_parameter_without_gradient_stays(tx) -> None:
    updates, _ = _last(tx, [[0.0, 1.0]] * 8)
    assert updates[0] == 0.0
    assert updates[1] < 0.0


def test_optaxs_yogi_moves_a_parameter_without_gradient() -> None:
    """Why `yogi` starts its first moment at 0: 1e-6, divided by 1 - b1, is not nothing."""
    params = {"w": jnp.zeros(1)}
    with jax.numpy_dtype_promotion("standard"):
        updates, _ = optax.yogi(0.1).update(params, optax.yogi(0.1).init(params), params)
    assert float(updates["w"][0]) < -1e-6
    same, _ = _last(gradtx.yogi(0.1, initial_mean=1e-6), [[0.0]])
    np.testing.assert_allclose(same, updates["w"], rtol=1e-5)


def test_nadam_is_adam_with_nesterov() -> None:
    adam = gradtx.adam(0.1, b1=0.8, mu_dtype="bfloat16", nu_dtype="float32", nesterov=True)
    assert gradtx.nadam(0.1, b1=0.8, mu_dtype="bfloat16", nu_dtype="float32").expand() == adam.expand()
    adamw = gradtx.adamw(0.1, weight_decay=0.2, mask="w", independent_decay=True, nesterov=True)
    assert gradtx.nadamw(0.1, weight_decay=0.2, mask="w", independent_decay=True).expand() == adamw.expand()
    assert gradtx.nadam(0.1, nesterov=False).expand() == gradtx.adam(0.1).expand()


def test_laprop_is_bounded_whatever_its_decays_are() -> None:
    """|g| / sqrt(v̂) is at most 1 / sqrt(1 - β₂); in Adam β₁² > β₂ takes the bound away."""
    spike = [[1e-6]] * 30 + [[1.0]] + [[1e-6]] * 6
    options = {"b1": 0.9, "b2": 0.1}
    laprop, _ = _all(gradtx.scale_by_laprop(**options), spike)
    adam, _ = _all(gradtx.scale_by_adam(**options), spike)
    assert laprop.max() <= 1 / np.sqrt(1 - 0.1)
    assert adam.max() > 10


# ---------------------------------------------------------------- AdaBelief


@pytest.mark.parametrize("nesterov", [False, True])
def test_adabelief_keeps_one_mean(nesterov: bool) -> None:
    assert _sizes(gradtx.adabelief(0.1, nesterov=nesterov)) == 2


def test_adabelief_takes_long_steps_where_the_gradient_is_what_was_expected() -> None:
    rng = np.random.default_rng(0)
    stream = np.stack([1 + 1e-3 * rng.normal(size=200), rng.normal(size=200)], axis=1)
    updates, _ = _last(gradtx.scale_by_belief(b2=0.9), stream)
    adam, _ = _last(gradtx.scale_by_adam(b2=0.9), stream)
    assert abs(updates[0]) > 300 * abs(adam[0])  # 1 / 1e-3, less what m itself wavers
    assert abs(updates[1]) < 2 * abs(adam[1])


def test_a_drift_is_what_a_debiased_average_gains() -> None:
    """c added to s at every step is c / (1 - β) in ŝ, at every step."""
    s, c, b = 0.0, 1e-3, 0.9
    add_drift = gradtx.add_drift(c, b)
    updates, _ = jax.jit(add_drift.update)({"w": jnp.zeros(())}, add_drift.init({}))
    for t in range(1, 20):
        s = b * s + c
        np.testing.assert_allclose(updates["w"], s / (1 - b**t), rtol=1e-6)


def test_belief_shares_one_prediction() -> None:
    tx = gradtx.belief(gradtx.ema(0.5), gradtx.identity(), gradtx.absolute(), 0.25, gradtx.scale(2.0))
    params = {"w": jnp.zeros(())}
    updates, state = tx.update({"w": jnp.array(4.0)}, tx.init(params))
    # m = 2; (m + 2 g) / (|g - m| + ε) = (2 + 8) / (2 + 0.25)
    np.testing.assert_allclose(updates["w"], 10 / 2.25, rtol=1e-6)
    np.testing.assert_allclose(state.prediction.mean["w"], 2.0)


# ---------------------------------------------------------------- Yogi


def test_yogi_forgets_a_burst_in_small_steps() -> None:
    """v falls by (1 - β₂) g², where Adam's falls by (1 - β₂) v."""
    options = {"b1": 0.0, "b2": 0.9}
    stream = [[1.0]] * 100 + [[1e-2]] * 100
    yogi, _ = _last(gradtx.scale_by_yogi(**options), stream)
    adam, _ = _last(gradtx.scale_by_adam(**options), stream)
    assert adam[0] > 0.5
    assert yogi[0] < 0.02


def test_signed_ema_steps_towards_its_input_by_a_share_of_it() -> None:
    tx = gradtx.signed_ema(0.75, start=1.0)
    params = {"w": jnp.zeros(3)}
    updates, _ = tx.update({"w": jnp.array([0.4, 1.0, 8.0])}, tx.init(params))
    np.testing.assert_allclose(updates["w"], [1 - 0.25 * 0.4, 1.0, 1 + 0.25 * 8.0], rtol=1e-6)


# ---------------------------------------------------------------- dtypes


@pytest.mark.parametrize(
    "tx",
    [
        gradtx.amsgrad(0.1, mu_dtype="bfloat16"),
        gradtx.nadam(0.1, mu_dtype="bfloat16"),
        gradtx.nadamw(0.1, mu_dtype="bfloat16"),
        gradtx.laprop(0.1, mu_dtype="bfloat16"),
    ],
    ids=lambda tx: type(tx).__name__,
)
def test_mu_dtype_is_that_of_the_first_moment_alone(tx) -> None:
    params = {"w": jnp.ones((2, 3))}
    updates, state = tx.update(params, tx.init(params), params)
    dtypes = sorted(x.dtype.name for x in jax.tree.leaves(state) if x.ndim)
    assert dtypes.count("bfloat16") == 1
    assert set(dtypes) == {"bfloat16", "float32"}
    assert updates["w"].dtype == jnp.float32
