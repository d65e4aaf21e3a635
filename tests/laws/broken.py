"""For each law, a transformation that breaks it and, as far as possible, no other: see `BROKEN`."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import jaxpr_as_fun

import gradtx
from gradtx import GradientTransformation, numerics, tree
from gradtx.values.value import is_off, optional


@dataclasses.dataclass(frozen=True)
class Broken:
    law: str
    tx: GradientTransformation
    shown: str  # what the report has to say: the leaf, where there is one, and what was seen
    also: frozenset[str] = frozenset()  # what can't hold without that law
    perhaps: frozenset[str] = frozenset()  # what some versions of jax let hold


BROKEN: list[Broken] = []


def breaks(law: str, shown: str, *fields: Any, also: tuple[str, ...] = (), perhaps: tuple[str, ...] = ()):
    """Put an instance, made of `fields`, into BROKEN."""

    def register(cls):
        BROKEN.append(Broken(law, cls(*fields), shown, frozenset(also), frozenset(perhaps)))
        return cls

    return register


class Kept(NamedTuple):
    tree: Any


class Counted(NamedTuple):
    step: Any


class Two(NamedTuple):
    first: Any
    second: Any


class Scaling(GradientTransformation, abstract=True):
    """What most of these do: multiply by a number."""

    factor: float = 1.0

    def update(self, updates, state, params=None):
        return jax.tree.map(lambda u: u * numerics.like(self.factor, u), updates), state


class Passing(GradientTransformation, abstract=True):
    def update(self, updates, state, params=None):
        return updates, state


# ---------------------------------------------------------------- the value


@breaks("equals_its_copies", "tx.replace() makes forgets_on_replace(); expected", 2.0)
class forgets_on_replace(Scaling):
    @classmethod
    def _rebuild(cls, fields):
        return cls()


@breaks(
    "equals_its_copies",
    "deepcopy(tx) makes an equal value with another hash",
    2.0,
    perhaps=("one_trace_as_static_argument",),
)
class hashes_by_identity(Scaling):
    __hash__ = object.__hash__


@breaks("one_trace_as_static_argument", "another trace for an equal value", 2.0, also=("equals_its_copies",))
class equals_itself_only(Scaling):
    __eq__ = object.__eq__
    __hash__ = object.__hash__


@breaks("prints_as_its_source", "prints_less() makes prints_less()", 2.0)
class prints_less(Scaling):
    def __repr__(self):
        return "prints_less()"


@breaks("differs_by_its_numbers", "equals_its_kind(factor=3.0) == equals_its_kind(factor=2.0)", 2.0)
class equals_its_kind(Scaling):
    def __eq__(self, other):
        return type(self) is type(other)

    def __hash__(self):
        return 0


@breaks("pickles", "pickle makes pickles_less(); expected", 2.0)
class pickles_less(Scaling):
    def __reduce__(self):
        return pickles_less, ()

    def __copy__(self):
        return self.replace()

    def __deepcopy__(self, memo):
        return self.replace()


def _of_the_same_name_as_gradtxs() -> GradientTransformation:
    """Two classes of one name: text can't tell them apart."""
    mine = type("scale", (GradientTransformation,), {"update": lambda self, u, s, params=None: (u, s)})
    return gradtx.chain(mine(), gradtx.scale(2.0))


BROKEN.append(
    Broken(
        "writes_json",
        _of_the_same_name_as_gradtxs(),
        "from_json: scale lacks step_size",
        frozenset({"prints_as_its_source"}),
    )
)


@breaks("leaves_are_numbers", "at tx/flag: saw True")
class holds_a_flag_as_data(Passing):
    flag: object = True


@breaks("unflattens", "at tx.half: saw an attribute that is not a field", 2.0)
class keeps_something_beside_its_fields(Scaling):
    def __post_init__(self):
        super().__post_init__()
        object.__setattr__(self, "half", self.factor / 2)


@breaks("is_frozen", "at tx.factor: saw an assignment that went through", 2.0)
class thaws(Scaling):
    pass


thaws.__setattr__ = object.__setattr__


@breaks("is_not_callable", "a value that can be called")
class calls(Passing):
    def __call__(self, step):
        return step


@breaks("unpacks_into_init_and_update", "(tx.init, tx.update)")
class unpacks_backwards(Passing):
    def __iter__(self):
        return iter((self.update, self.init))


# ---------------------------------------------------------------- the state


@breaks("runs", "RuntimeError: out of order; expected no error")
class raises(GradientTransformation):
    def update(self, updates, state, params=None):
        raise RuntimeError("out of order")


@breaks("state_is_plain", "at state/tree: saw [")
class keeps_a_list(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept([tree.zeros_like(params)])

    def update(self, updates, state, params=None):
        return updates, Kept([tree.map(jnp.add, updates, state.tree[0])])


@breaks(
    "state_keeps_its_types",
    "at narrows_its_state.tree of dense/kernel: saw bfloat16[3,4] after step 1; expected float32[3,4]",
    also=("one_trace_for_many_steps", "carries_through_scan"),
)
class narrows_its_state(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept(tree.zeros_like(params))

    def update(self, updates, state, params=None):
        return updates, Kept(jax.tree.map(lambda u: u.astype(jnp.bfloat16), updates))


@breaks("one_trace_for_many_steps", "2 traces in 3 steps", also=("state_keeps_its_types",))
class starts_from_a_weak_type(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept(jnp.asarray(0.0))

    def update(self, updates, state, params=None):
        return updates, Kept((state.tree + 1).astype(jnp.float32))


@breaks(
    "carries_through_scan",
    "carry input and carry output must have the same pytree structure",
    also=("state_keeps_its_types", "one_trace_for_many_steps"),
)
class grows_its_state(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept(())

    def update(self, updates, state, params=None):
        return updates, Kept((*state.tree, jnp.zeros(())))


@breaks("abstract_init_agrees", "ConcretizationTypeError")
class reads_the_parameters(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept(jax.tree.map(lambda p: jnp.full(p.shape, float(np.max(p, initial=0.0))), params))

    def update(self, updates, state, params=None):
        return updates, state


@breaks(
    "accumulators_are_wide",
    "at averages_in_bf16.tree of dense/kernel: saw bfloat16[3,4]; expected at least float32",
)
class averages_in_bf16(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept(jax.tree.map(jnp.zeros_like, params))

    def update(self, updates, state, params=None):
        mean = tree.map(lambda u, m: numerics.lerp(m, u, 0.1), updates, state.tree)
        return mean, Kept(tree.cast_like(mean, state.tree))


@breaks(
    "state_owns_its_buffers",
    "at keeps_the_parameters.tree of dense/kernel: saw the memory of params/dense/kernel",
)
class keeps_the_parameters(Passing):
    def init(self, params) -> Kept:
        return Kept(jax.tree.map(lambda p: numerics.cast(p, numerics.wide_dtype(p.dtype)), params))


@breaks(
    "state_owns_its_buffers",
    "at starts_two_from_one.second of dense/kernel: saw the memory of state/first/dense/kernel",
)
class starts_two_from_one(Passing):
    def init(self, params) -> Two:
        zeros = tree.zeros_like(params)
        return Two(zeros, zeros)


@breaks(
    "init_takes_placeholders", "IndexError: list index out of range, with a placeholder for the whole tree"
)
class looks_at_the_first_leaf(Passing):
    def init(self, params) -> Kept:
        return Kept(jnp.zeros((), numerics.wide_dtype(jax.tree.leaves(params)[0].dtype)))


@breaks(
    "counters_are_int32",
    "at counts_in_the_default_integer.step: saw int64[] where 64-bit types are enabled; expected int32",
)
class counts_in_the_default_integer(GradientTransformation):
    def init(self, params) -> Counted:
        return Counted(jnp.zeros((), int))

    def update(self, updates, state, params=None):
        return updates, Counted(state.step + 1)


@breaks("numbers_keep_the_state", "saw nothing with its numbers at 0 instead of 0.5; expected", 2.0)
class keeps_nothing_while_it_is_off(Passing):
    factor: float = optional(default=0.0)

    def init(self, params) -> Kept:
        return Kept(() if is_off(self.factor) else tree.zeros_like(params))


# ---------------------------------------------------------------- the update


@breaks("updates_keep_their_types", "at updates/dense/kernel: saw float32[4,3]; expected float32[3,4]")
class transposes(GradientTransformation):
    def update(self, updates, state, params=None):
        return jax.tree.map(lambda u: u.T, updates), state


@breaks("arguments_stay_as_they_are", "at params/dense/kernel: saw a difference of")
class writes_into_the_parameters(GradientTransformation):
    def update(self, updates, state, params=None):
        if params and "dense" in params:
            params["dense"]["kernel"] = 2 * params["dense"]["kernel"]
        return updates, state


@breaks("arguments_stay_as_they_are", "at writes_into_its_state.step: saw a difference of")
class writes_into_its_state(GradientTransformation):
    def init(self, params) -> dict:
        return {"step": jnp.zeros((), jnp.int32)}

    def update(self, updates, state, params=None):
        state["step"] = state["step"] + 1
        return updates, state


_calls = itertools.count()


@breaks("is_deterministic", "at updates/dense/kernel: saw a difference of")
class remembers_in_python(GradientTransformation):
    def update(self, updates, state, params=None):
        slightly = 1 + 2**-20 * (next(_calls) % 5)  # 4e-6, which is less than the law of jit allows
        return jax.tree.map(lambda u: u * slightly, updates), state


@breaks(
    "leafwise_is_leaf_by_leaf",
    "at updates/scale/0: saw a difference of 5.0e-01 of the largest entry where",
)
class says_it_is_leafwise(GradientTransformation):
    reach = gradtx.Reach.LEAF

    def update(self, updates, state, params=None):
        first = sum((jnp.max(jnp.abs(u), initial=0.0) for u in jax.tree.leaves(updates)[:1]), jnp.zeros(()))
        return jax.tree.map(lambda u: u / first.astype(u.dtype), updates), state


@breaks("packs", "at updates/dense/kernel: saw a difference of")
class says_it_asks_for_no_shape(GradientTransformation):
    reach = gradtx.Reach.ENTRY

    def update(self, updates, state, params=None):
        return jax.tree.map(lambda u: u / (1 + u.ndim), updates), state


@breaks("jit_equals_eager", "at updates/dense/kernel: saw a difference of 5.0e-01 of the largest entry")
class asks_whether_it_is_traced(GradientTransformation):
    def update(self, updates, state, params=None):
        traced = any(isinstance(u, jax.core.Tracer) for u in jax.tree.leaves(updates))
        return (jax.tree.map(lambda u: u / 2, updates) if traced else updates), state


@breaks("jit_equals_eager", "TracerBoolConversionError")
class decides_in_python(GradientTransformation):
    def update(self, updates, state, params=None):
        return jax.tree.map(lambda u: u if u.sum() > 0 else -u, updates), state


@breaks("one_trace_as_argument", "at updates/dense/kernel: saw a difference of", 2.0)
class ignores_arrays(Scaling):
    def update(self, updates, state, params=None):
        factor = self.factor if isinstance(self.factor, float) else 1.0
        return jax.tree.map(lambda u: u * factor, updates), state


@breaks("one_trace_as_argument", "TracerBoolConversionError", 2.0)
class decides_by_its_number(Scaling):
    def update(self, updates, state, params=None):
        return jax.tree.map(lambda u: u * 2 if self.factor > 1 else u, updates), state


def _on_the_host(method: str | None, f):
    return lambda x: jax.pure_callback(f, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method=method)


@breaks("vmaps_over_its_numbers", "NotImplementedError", 2.0)
class calls_the_host_with_its_number(Scaling):
    def update(self, updates, state, params=None):
        same = jax.custom_jvp(_on_the_host(None, lambda x: x))
        same.defjvp(lambda x, t: (same(*x), *t))
        factor = same(jnp.asarray(self.factor))
        return jax.tree.map(lambda u: u * numerics.like(factor, u), updates), state


@breaks("differentiates_by_its_numbers", "ValueError: Pure callbacks do not support JVP", 2.0)
class calls_the_host_without_a_derivative(Scaling):
    def update(self, updates, state, params=None):
        factor = _on_the_host("sequential", lambda x: x)(jnp.asarray(self.factor))
        return jax.tree.map(lambda u: u * numerics.like(factor, u), updates), state


@breaks("vmap_equals_the_loop", "at updates/dense/kernel: saw a difference of")
class sums_over_all_models(GradientTransformation):
    def update(self, updates, state, params=None):
        divide = _on_the_host("expand_dims", lambda x: x / np.abs(x).sum())
        return jax.tree.map(divide, updates), state


@breaks(
    "other_dtypes_are_kept",
    "at starts_in_float32.tree of dense/kernel: saw float64[3,4] with parameters in float64",
)
class starts_in_float32(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept(tree.zeros_like(params, jnp.float32))

    def update(self, updates, state, params=None):
        return updates, Kept(tree.map(lambda u, s: u + s.astype(u.dtype), updates, state.tree))


@breaks("holes_pass_through", "with None at 'dense/bias'")
class fills_holes(GradientTransformation):
    def update(self, updates, state, params=None):
        new = jax.tree.map(lambda u: jnp.zeros(()) if u is None else u, updates, is_leaf=lambda u: u is None)
        return new, state


@breaks("empty_leaves_pass_through", "at updates/dense/kernel: saw infinity or NaN with no entries at")
class divides_by_the_mean_of_means(GradientTransformation):
    def update(self, updates, state, params=None):
        total = sum((jnp.mean(jnp.abs(u)) for u in jax.tree.leaves(updates)), jnp.zeros(()))
        return jax.tree.map(lambda u: u / total.astype(u.dtype), updates), state


@breaks("empty_trees_pass_through", "IndexError: list index out of range, with an empty tree")
class divides_by_the_first_leaf(GradientTransformation):
    def update(self, updates, state, params=None):
        first = jnp.max(jnp.abs(jax.tree.leaves(updates)[0]), initial=1.0)
        return jax.tree.map(lambda u: u / first.astype(u.dtype), updates), state


@breaks("missing_params_are_named", "without the parameters; expected a ValueError that says")
class takes_parameters_for_granted(GradientTransformation):
    def update(self, updates, state, params=None):
        return jax.tree.map(lambda u, p: u + p.astype(u.dtype), updates, params), state


@breaks("wrong_shapes_are_refused", "at updates/dense/bias: saw no error without them")
class broadcasts(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept(tree.zeros_like(params))

    def update(self, updates, state, params=None):
        total = jax.tree.map(jnp.add, updates, state.tree)
        return total, Kept(total)


@breaks("other_states_are_refused", "at takes_any_state.tree of dense/bias: saw no error with bfloat16[4]")
class takes_any_state(GradientTransformation):
    def init(self, params) -> Kept:
        return Kept(tree.zeros_like(params))


def _without_a_boundary(self, updates, state, params=None):
    if params is not None:
        tree.check_like(updates, params, "parameters'")
    return tree.map(lambda u, s: u + s.astype(u.dtype), updates, state.tree), state


takes_any_state.update = _without_a_boundary


_PROGRAMS: dict = {}


@breaks("is_traced_where_it_is_used", "saw another place's program, with 4 examples", gradtx.identity())
class keeps_the_program_of_what_it_holds(GradientTransformation):
    inner: GradientTransformation

    def init(self, params):
        return self.inner.init(params)

    def update(self, updates, state, params=None):
        leaves, structure = jax.tree.flatten((updates, state))
        key = self.inner, structure, tuple(jax.typeof(x) for x in leaves)
        if key not in _PROGRAMS:
            _PROGRAMS[key] = jax.make_jaxpr(self.inner.update, return_shape=True)(updates, state)
        program, shapes = _PROGRAMS[key]
        return jax.tree.unflatten(jax.tree.structure(shapes), jaxpr_as_fun(program)(*leaves))
