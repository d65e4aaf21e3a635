"""Fromage, LAMB and LARS: a step as large as the leaf, its masks, and what float32 makes of it."""

from __future__ import annotations

import jax
import numpy as np
import optax
import pytest

import gradtx
from tests import whole
from tests.optimizers.test_exact import _gradients, _run, _start
from tests.reference import fromage, lamb, lars
from tests.reference.case import Case

CASES = fromage.CASES + lamb.CASES + lars.CASES


def _norm(x: np.ndarray) -> float:
    return float(np.sqrt(np.sum(np.asarray(x, np.longdouble) ** 2)))


def _replay(tx, path, gradients):
    """Float64's updates at the parameters of a float32 run."""

    def step(state, seen):
        grads, params = seen
        updates, state = tx.update(grads, state, params)
        return state, updates

    with jax.enable_x64(True):
        params, stacked = jax.tree.map(lambda x: np.asarray(x, np.float64), (path, gradients))
        run = jax.jit(lambda p, x: jax.lax.scan(step, tx.init(p), x)[1])
        return jax.device_get(run([p[0] for p in params], (stacked, params)))


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_float32_is_near_to_float64_at_the_same_parameters(case: Case) -> None:
    """The median relative error of a leaf's direction is at most 5e-7, that of its length 1e-6.

    At the same parameters: the size of a step is that of its leaf, and in 1000 steps float32
    rounds the parameters away from float64's by more than these bounds. The length is common to
    all entries of a leaf, so that its error is no median: it has two sums of up to 1000 squares.
    """
    path, narrow = _run(case.ours, np.float32)
    before = [np.concatenate([t[None], p[:-1]]) for t, p in zip(_start(), path, strict=True)]
    wide = _replay(case.ours, before, _gradients())
    for t in (1, 10, 100, 1000):
        errors = []
        for ours, exact in zip(narrow, wide, strict=True):
            length, exact_length = _norm(ours[t - 1]), _norm(exact[t - 1])
            assert abs(length / exact_length - 1) <= 1e-6, f"step {t}: length"
            direction, exact_direction = ours[t - 1] / length, exact[t - 1] / exact_length
            errors.append(np.ravel(np.abs(direction / exact_direction - 1)))
        assert np.median(np.concatenate(errors)) <= 5e-7, f"step {t}: direction"  # four float32 roundings


PARAMS = {"dense": {"kernel": np.float32([[3.0, 0.0], [0.0, 4.0]]), "bias": np.float32([0.6, 0.8])}}
GRADS = {"dense": {"kernel": np.float32([[0.0, 1.2], [1.6, 0.0]]), "bias": np.float32([-2.0, 0.0])}}


def _step(tx, params=PARAMS, grads=GRADS):
    return jax.device_get(whole.update(tx, grads, tx.init(params), params)[0])


@pytest.mark.parametrize(
    "mask", ["kernel$", {"dense": {"kernel": True, "bias": False}}, {"dense": True}, True]
)
def test_lars_scales_and_decays_the_masked_leaves(mask) -> None:
    everywhere = mask is True or mask == {"dense": True}
    kernel = GRADS["dense"]["kernel"] + 0.5 * PARAMS["dense"]["kernel"]
    scaled = 1e-3 * 5.0 / (2.0 + 0.5 * 5.0)  # η ‖θ‖ / (‖g‖ + w ‖θ‖)
    tx = gradtx.scale_by_lars(weight_decay=0.5, weight_decay_mask=mask, trust_ratio_mask=mask)
    updates = _step(tx)["dense"]
    np.testing.assert_allclose(updates["kernel"], scaled * kernel, rtol=1e-6)
    bias = GRADS["dense"]["bias"]
    if everywhere:
        bias = 1e-3 * 1.0 / (2.0 + 0.5 * 1.0) * (bias + 0.5 * PARAMS["dense"]["bias"])
    np.testing.assert_allclose(updates["bias"], bias, rtol=1e-6)


def test_lars_masks_are_separate() -> None:
    kernel, bias = PARAMS["dense"]["kernel"], PARAMS["dense"]["bias"]
    tx = gradtx.scale_by_lars(weight_decay=0.5, weight_decay_mask="bias", trust_ratio_mask="kernel")
    updates = _step(tx)["dense"]
    # The kernel does not decay, so its decay is not in the norm either; the bias is not scaled.
    np.testing.assert_allclose(updates["kernel"], 1e-3 * 5.0 / 2.0 * GRADS["dense"]["kernel"], rtol=1e-6)
    np.testing.assert_allclose(updates["bias"], GRADS["dense"]["bias"] + 0.5 * bias, rtol=1e-6)
    tx = gradtx.scale_by_lars(weight_decay=0.5, weight_decay_mask="kernel", trust_ratio_mask="bias")
    updates = _step(tx)["dense"]
    np.testing.assert_allclose(updates["kernel"], GRADS["dense"]["kernel"] + 0.5 * kernel, rtol=1e-6)
    np.testing.assert_allclose(updates["bias"], 1e-3 * 1.0 / 2.0 * GRADS["dense"]["bias"], rtol=1e-6)


@pytest.mark.parametrize("decays", [True, False])
@pytest.mark.parametrize("scales", [True, False])
def test_lars_masks_are_optaxs(decays: bool, scales: bool) -> None:
    options = {
        "weight_decay": 0.5,
        "weight_decay_mask": {"dense": {"kernel": True, "bias": decays}},
        "trust_ratio_mask": {"dense": {"kernel": scales, "bias": True}},
        "eps": 1e-3,
    }
    ours, theirs = _step(gradtx.lars(0.1, joint_norm=True, **options)), _step(optax.lars(0.1, **options))
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(ours["dense"][name], theirs["dense"][name], rtol=1e-6)


def test_lamb_decays_the_masked_leaves() -> None:
    ours = _step(gradtx.lamb(0.1, weight_decay=0.5, mask="kernel"))
    with jax.numpy_dtype_promotion("standard"):
        theirs = _step(optax.lamb(0.1, weight_decay=0.5, mask={"dense": {"kernel": True, "bias": False}}))
    for name in ("kernel", "bias"):
        np.testing.assert_allclose(ours["dense"][name], theirs["dense"][name], rtol=2e-5)


@pytest.mark.parametrize("tx", [gradtx.lars(0.1, weight_decay=0.5), gradtx.lamb(0.1, weight_decay=0.5)])
def test_zero_parameters_leave_zero_and_zero_gradients_are_finite(tx) -> None:
    zero = jax.tree.map(np.zeros_like, PARAMS)
    moved = _step(tx, zero, GRADS)["dense"]
    assert np.abs(moved["bias"]).max() > 0.0
    for updates in (_step(tx, PARAMS, zero), _step(tx, zero, zero)):
        assert all(np.all(np.isfinite(u)) for u in jax.tree.leaves(updates))


def test_lars_without_a_gradient_shrinks_by_the_trust_coefficient() -> None:
    """(0 + w θ) η ‖θ‖ / (0 + w ‖θ‖) = η θ, whatever w is."""
    zero = jax.tree.map(np.zeros_like, PARAMS)
    updates = _step(gradtx.scale_by_lars(weight_decay=0.5), PARAMS, zero)
    np.testing.assert_allclose(updates["dense"]["kernel"], 1e-3 * PARAMS["dense"]["kernel"], rtol=1e-6)


def test_lars_keeps_the_learning_rate_in_its_velocity() -> None:
    drop = gradtx.piecewise_constant_schedule(1.0, {1: 0.0})
    tx = gradtx.lars(drop, momentum=0.5)
    state = tx.init(PARAMS)
    first, state = jax.device_get(whole.update(tx, GRADS, state, PARAMS))
    second, _ = whole.update(tx, GRADS, state, PARAMS)
    np.testing.assert_allclose(second["dense"]["bias"], 0.5 * first["dense"]["bias"], rtol=1e-6)


@pytest.mark.parametrize("tx", [gradtx.lars(0.1), gradtx.lamb(0.1)])
def test_they_need_the_parameters(tx) -> None:
    with pytest.raises(ValueError, match="needs the parameters"):
        jax.eval_shape(lambda: tx.update(GRADS, tx.init(PARAMS)))
