"""Optax's own tests pass with gradtx behind its names, but for those that are known not to, and why."""

from __future__ import annotations

import re

import pytest

from tests.interop import optax_suite
from tests.interop.optax_suite import (
    CONCERN_GRADIENTS,
    FILE,
    MAY_PASS,
    REASONS,
    cases_in,
    load,
    name_of,
    part,
    run,
    why_not,
)

EVERY = 80  # sets of parameters: more would take too long for every run of the tests


@pytest.mark.parametrize("name", [n for n in CONCERN_GRADIENTS if not re.search(optax_suite.SLOW, n)])
def test_optaxs_tests_pass_or_it_is_known_why_not(name: str) -> None:
    for test in part(list(cases_in(load(name))), EVERY):
        if re.search(optax_suite.SLOW, name_of(test)):
            continue
        outcome = run(test)
        known = why_not(name, outcome.name)
        if known not in MAY_PASS and outcome.result != "skipped":
            failed = outcome.result == "failed"
            assert failed == (known is not None), (
                f"{outcome.name}: {outcome.result}, known: {known}. {outcome.why}"
            )


def test_the_page_has_every_reason_and_nothing_unknown() -> None:
    page = FILE.read_text()
    assert "Unknown" not in page
    for reason in REASONS:
        assert reason in MAY_PASS or reason in page, reason
    for module in CONCERN_GRADIENTS:
        assert f"| `{module}` |" in page, module


def test_the_stand_ins_are_gradtxs_and_leave_optax_as_it_is() -> None:
    import optax as peer

    module = load("_src.transform_test")
    assert module.transform.scale_by_adam.__module__.startswith("gradtx.")
    assert module.optax.tree.update_moment.__module__.startswith("gradtx.")
    assert peer.scale_by_adam.__module__.startswith("optax.")
    with_peer = load("_src.transform_test", ours=False)
    assert with_peer.transform.scale_by_adam is peer.scale_by_adam
