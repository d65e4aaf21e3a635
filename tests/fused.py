"""Hand-fused steps, one function per optimizer: what composition must not cost more than.

Each takes a leaf's gradient, parameter and moments, and the step t as a float, and returns the
new parameter and moments. They are written as one would write the loop by hand in JAX.
"""

from __future__ import annotations

import jax.numpy as jnp

RATE = 1e-3


def _corrected(m, b, t):
    return m / -jnp.expm1(t * jnp.log(b))


def _average(b, old, new):
    return old + (1 - b) * (new - old)


def sgd(g, p, t):
    return p - RATE * g, ()


def momentum(g, p, t, v):
    v = 0.9 * v + g
    return p - RATE * v, (v,)


def nesterov(g, p, t, v):
    v = 0.9 * v + g
    return p - RATE * (g + 0.9 * v), (v,)


def adagrad(g, p, t, s):
    s = s + g * g
    return p - RATE * g / jnp.sqrt(s + 1e-7), (s,)


def adadelta(g, p, t, s, d):
    s = _average(0.9, s, g * g)
    u = jnp.sqrt(d + 1e-6) / jnp.sqrt(s + 1e-6) * g
    return p - RATE * u, (s, _average(0.9, d, u * u))


def rmsprop(g, p, t, v):
    v = _average(0.9, v, g * g)
    return p - RATE * g / jnp.sqrt(v + 1e-8), (v,)


def rmsprop_momentum(g, p, t, v, m):
    v = _average(0.9, v, g * g)
    m = 0.9 * m + RATE * g / jnp.sqrt(v + 1e-8)
    return p - m, (v, m)


def rmsprop_centered(g, p, t, m, v):
    m, v = _average(0.9, m, g), _average(0.9, v, g * g)
    return p - RATE * g / jnp.sqrt(v - m * m + 1e-8), (m, v)


def _adam(g, t, m, v, b2=0.999):
    m, v = _average(0.9, m, g), _average(b2, v, g * g)
    return _corrected(m, 0.9, t) / (jnp.sqrt(_corrected(v, b2, t)) + 1e-8), m, v


def adam(g, p, t, m, v):
    u, m, v = _adam(g, t, m, v)
    return p - RATE * u, (m, v)


def adamw(g, p, t, m, v):
    u, m, v = _adam(g, t, m, v)
    return p - RATE * (u + 1e-4 * p), (m, v)


def amsgrad(g, p, t, m, v, x):
    m, v = _average(0.9, m, g), _average(0.999, v, g * g)
    x = jnp.maximum(x, _corrected(v, 0.999, t))
    return p - RATE * _corrected(m, 0.9, t) / (jnp.sqrt(x) + 1e-8), (m, v, x)


def adamax(g, p, t, m, u):
    m, u = _average(0.9, m, g), jnp.maximum(0.999 * u, jnp.abs(g) + 1e-8)
    return p - RATE * _corrected(m, 0.9, t) / u, (m, u)


def adamaxw(g, p, t, m, u):
    m, u = _average(0.9, m, g), jnp.maximum(0.999 * u, jnp.abs(g) + 1e-8)
    return p - RATE * (_corrected(m, 0.9, t) / u + 1e-4 * p), (m, u)


def _nadam(g, t, m, v):
    m, v = _average(0.9, m, g), _average(0.999, v, g * g)
    ahead = 0.9 * _corrected(m, 0.9, t + 1) + 0.1 * _corrected(g, 0.9, t)
    return ahead / (jnp.sqrt(_corrected(v, 0.999, t)) + 1e-8), m, v


def nadam(g, p, t, m, v):
    u, m, v = _nadam(g, t, m, v)
    return p - RATE * u, (m, v)


def nadamw(g, p, t, m, v):
    u, m, v = _nadam(g, t, m, v)
    return p - RATE * (u + 1e-4 * p), (m, v)


def radam(g, p, t, m, v):
    m, v = _average(0.9, m, g), _average(0.999, v, g * g)
    limit, power = 2 / (1 - 0.999) - 1, jnp.exp(t * jnp.log(0.999))
    rho = limit - 2 * t * power / (1 - power)
    r = jnp.sqrt((rho - 4) * (rho - 2) * limit / ((limit - 4) * (limit - 2) * rho))
    mean = _corrected(m, 0.9, t)
    u = jnp.where(rho >= 5, r * mean / (jnp.sqrt(_corrected(v, 0.999, t)) + 1e-8), mean)
    return p - RATE * u, (m, v)


def adabelief(g, p, t, m, s):
    m = _average(0.9, m, g)
    s = _average(0.999, s, (g - m) ** 2) + 1e-16
    return p - RATE * _corrected(m, 0.9, t) / (jnp.sqrt(_corrected(s, 0.999, t)) + 1e-16), (m, s)


def laprop(g, p, t, v, m):
    v = _average(0.999, v, g * g)
    m = _average(0.9, m, g / (jnp.sqrt(_corrected(v, 0.999, t)) + 1e-15))
    return p - RATE * _corrected(m, 0.9, t), (v, m)


def adopt(g, p, t, m, v):
    first = t == 1
    share, rest = jnp.where(first, 1.0, 1 - 0.9999), jnp.where(first, 1.0, 0.9999)
    v = v + share * (g * g - v)
    before = jnp.maximum((v - share * g * g) / rest, 0.0)
    u = jnp.clip(g / jnp.maximum(jnp.sqrt(before), 1e-6), -((t - 1) ** 0.25), (t - 1) ** 0.25)
    m = _average(0.9, m, jnp.where(first, 0.0, u))
    return p - RATE * m, (m, v)


def ademamix(g, p, t, m, s, v):
    m, s, v = _average(0.9, m, g), _average(0.9999, s, g), _average(0.999, v, g * g)
    u = (_corrected(m, 0.9, t) + 5.0 * s) / (jnp.sqrt(_corrected(v, 0.999, t)) + 1e-8)
    return p - RATE * u, (m, s, v)


def simplified_ademamix(g, p, t, m, v):
    m, v = 0.99 * m + g, _average(0.95, v, g * g)
    return p - RATE * m / (jnp.sqrt(_corrected(v, 0.95, t)) + 1e-8), (m, v)


def _change(g, t, last):
    """The second is g, as what replaces the last one in a single kernel on TPU and GPU."""
    return jnp.where(t == 1, 0.0, g - last), jnp.where(g == last, last, g)


def adan(g, p, t, last, m, v, n):
    d, last = _change(g, t, last)
    m, v, n = _average(0.98, m, g), _average(0.92, v, d), _average(0.99, n, (g + 0.92 * d) ** 2)
    u = _corrected(m, 0.98, t) + 0.92 * _corrected(v, 0.92, t)
    return p - RATE * u / (jnp.sqrt(_corrected(n, 0.99, t)) + 1e-8), (last, m, v, n)


def optimistic_gradient_descent(g, p, t, last):
    d, last = _change(g, t, last)
    return p - RATE * (g + d), (last,)


def optimistic_adam(g, p, t, m, v, last):
    u, m, v = _adam(g, t, m, v)
    d, last = _change(u, t, last)
    return p - RATE * (u + d), (m, v, last)


def novograd(g, p, t, m, v):
    v = v + jnp.where(t == 1, 1.0, 1 - 0.25) * (jnp.sum(g * g) - v)
    m = 0.9 * m + g / (jnp.sqrt(v) + 1e-6)
    return p - RATE * m, (m, v)


def yogi(g, p, t, m, v):
    m, v = _average(0.9, m, g), v - (1 - 0.999) * jnp.sign(v - g * g) * g * g
    return p - RATE * _corrected(m, 0.9, t) / (jnp.sqrt(_corrected(v, 0.999, t)) + 1e-3), (m, v)


def lion(g, p, t, m):
    u = jnp.sign(_average(0.9, m, g))
    return p - RATE * (u + 1e-3 * p), (_average(0.99, m, g),)


def sign_sgd(g, p, t):
    return p - RATE * jnp.sign(g), ()


def signum(g, p, t, m):
    m = _average(0.9, m, g)
    return p - RATE * jnp.sign(m), (m,)


def _norm(x):
    return jnp.sqrt(jnp.sum(x * x))


def _trusted(u, p, coefficient=1.0):
    size, step = _norm(p), _norm(u)
    return u * jnp.where((size == 0) | (step == 0), 1.0, coefficient * size / step)


def lamb(g, p, t, m, v):
    m, v = _average(0.9, m, g), _average(0.999, v, g * g)
    u = _corrected(m, 0.9, t) / (jnp.sqrt(_corrected(v, 0.999, t)) + 1e-6)
    return p - RATE * _trusted(u, p), (m, v)


def lars(g, p, t, v):
    v = 0.9 * v + RATE * _trusted(g, p, 1e-3)
    return p - v, (v,)


def stable_adamw(g, p, t, m, v):
    m, v = _average(0.9, m, g), _average(0.99, v, g * g)
    root = jnp.sqrt(_corrected(v, 0.99, t))
    size = _norm(g / jnp.maximum(root, 1e-6)) / g.size**0.5
    u = _corrected(m, 0.9, t) / (root + 1e-6) + 0.01 * p
    return p - RATE / jnp.maximum(size, 1.0) * u, (m, v)


def _schedule_free(u, p, t, z):
    share, z = 1.0 / t, z + u
    return p + share * (z - p) + 0.1 * (1 - share) * u, z


def schedule_free_sgd(g, p, t, z):
    p, z = _schedule_free(-RATE * g, p, t, z)
    return p, (z,)


def schedule_free_adamw(g, p, t, z, v):
    v = _average(0.999, v, g * g)
    p, z = _schedule_free(-RATE * g / (jnp.sqrt(_corrected(v, 0.999, t)) + 1e-8), p, t, z)
    return p, (z, v)
