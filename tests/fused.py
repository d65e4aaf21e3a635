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


def cadamw(g, p, t, m, v):
    u, m, v = _adam(g, t, m, v)
    agree = u * g > 0
    stretch = g.size / (jnp.sum(agree.astype(jnp.float32)) + 1)
    return p - RATE * (jnp.where(agree, stretch * u, 0.0) + 1e-4 * p), (m, v)


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
    now = jnp.where(g == last, last, g)
    return jnp.where(t == 1, 0.0, now - last), now


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


# ---------------------------------------------------------------- sums over all leaves


def whole(f):
    """Mark a loop over all leaves: of gradients, parameters, t, moments as a list of trees, and numbers."""
    f.whole = True
    return f


def _each(f, *trees):
    return {k: f(*(t[k] for t in trees)) for k in trees[0]}


def _sum(f, *trees):
    return sum(jnp.sum(f(*(t[k] for t in trees))) for k in trees[0])


def _moved(p, s):
    return (p - s) ** 2


@whole
def dog(g, p, t, moments, numbers):
    (start,), (r, squares) = moments, numbers
    r = jnp.maximum(r, jnp.sqrt(_sum(_moved, p, start)))
    squares = squares + _sum(jnp.square, g)
    rate = r / jnp.sqrt(squares + 1e-8)
    return _each(lambda p, g: p - rate * g, p, g), [start], [r, squares]


@whole
def dowg(g, p, t, moments, numbers):
    (start,), (r, squares) = moments, numbers
    r = jnp.maximum(r, _sum(_moved, p, start))
    squares = squares + r * _sum(jnp.square, g)
    rate = r / (jnp.sqrt(squares) + 1e-4)
    return _each(lambda p, g: p - rate * g, p, g), [start], [r, squares]


def scale_by_distance_over_gradients(g, p, t, start, r, squares):
    r = jnp.maximum(r, _norm(p - start))
    squares = squares + jnp.sum(g * g)
    return p - r / jnp.sqrt(squares + 1e-8) * g, (start, r, squares)


def cocob(g, p, t, start, c, size, total, reward):
    reward = jnp.maximum(reward - g * (p - start), 0)
    c, size, total = c - g, jnp.maximum(size, jnp.abs(g)), total + jnp.abs(g)
    new = start + c / (size * jnp.maximum(total + size, 100 * size)) * (size + reward)
    return new, (start, c, size, total, reward)


def _rate(d, t):
    return d * jnp.sqrt(-jnp.expm1(t * jnp.log(0.999))) / -jnp.expm1(t * jnp.log(0.9))


@whole
def dadapt_adamw(g, p, t, moments, numbers):
    (m, v, s), (d, r) = moments, numbers
    eta, b = _rate(d, t), 0.999**0.5
    r = _average(b, r, eta * _sum(lambda g, s, v: g * s / (jnp.sqrt(v) + 1e-8), g, s, v))
    m = _each(lambda m, g: _average(0.9, m, eta * g), m, g)
    s = _each(lambda s, g: _average(b, s, eta * g), s, g)
    v = _each(lambda v, g: _average(0.999, v, g * g), v, g)
    d = jnp.maximum(d, r / ((1 - b) * _sum(jnp.abs, s)))
    return _each(lambda p, m, v: p - m / (jnp.sqrt(v) + 1e-8), p, m, v), [m, v, s], [d, r]


@whole
def prodigy(g, p, t, moments, numbers):
    (m, v, s, start), (d, r) = moments, numbers
    eta, b = _rate(d, t), 0.999**0.5
    r = b * r + d * 1e6 * eta * _sum(lambda g, x, p: g * (x - p), g, start, p)
    m = _each(lambda m, g: _average(0.9, m, d * g), m, g)
    v = _each(lambda v, g: _average(0.999, v, (d * g) ** 2), v, g)
    s = _each(lambda s, g: b * s + d * 1e6 * eta * g, s, g)
    new = _each(lambda p, m, v: p - eta * m / (jnp.sqrt(v) + d * 1e-8), p, m, v)
    d = jnp.maximum(d, r / _sum(jnp.abs, s))
    return new, [m, v, s, start], [d, r]


def _model(g, p, m, loss, along, share):
    """Of the new m."""
    excess = _sum(lambda m, g, p: (m - share * g) * p, m, g, p) - (1 - share) * along
    along = along + share * (_sum(jnp.multiply, g, p) - along)
    return loss + share * (1.0 - loss), along, excess


@whole
def momo(g, p, t, moments, numbers):
    (m,), (loss, along, bound) = moments, numbers
    share = jnp.where(t == 1, 1.0, 0.1)
    m = _each(lambda m, g: m + share * (g - m), m, g)
    loss, along, excess = _model(g, p, m, loss, along, share)
    tau = jnp.minimum(1.0, jnp.maximum(loss + excess - bound, 0.0) / _sum(jnp.square, m))
    return _each(lambda p, m: p - tau * m, p, m), [m], [loss, along, bound]


@whole
def momo_adam(g, p, t, moments, numbers):
    (m, v), (loss, along, bound) = moments, numbers
    m, v = _each(lambda m, g: _average(0.9, m, g), m, g), _each(lambda v, g: _average(0.999, v, g * g), v, g)
    loss, along, excess = _model(g, p, m, loss, along, 0.1)
    u = _each(lambda m, v: m / (jnp.sqrt(_corrected(v, 0.999, t)) + 1e-8), m, v)
    trust = -jnp.expm1(t * jnp.log(0.9))
    gap = jnp.maximum(loss + excess - trust * bound, 0.0)
    tau = jnp.minimum(0.01 / trust, gap / _sum(jnp.multiply, m, u))
    return _each(lambda p, u: p - tau * u, p, u), [m, v], [loss, along, bound]


@whole
def polyak_sgd(g, p, t, moments, numbers):
    tau = jnp.minimum(1.0, 1.0 / _sum(jnp.square, g))
    return _each(lambda p, g: p - tau * g, p, g), [], []


@whole
def mechanize(g, p, t, moments, numbers):
    (start,), s = moments, jnp.sum(numbers[0])
    slope = _sum(lambda g, p, x: g * (p - x), g, p, start)
    pull = 0.01 * s * jnp.sqrt(_sum(jnp.square, g) / _sum(jnp.square, p))
    h = -(slope + pull * _sum(lambda p, x: p * (p - x), p, start)) / s
    scales = numbers[0] + h
    now = jnp.sum(scales)
    new = _each(lambda p, g, x: p + (now / s - 1) * (p - x) - now * RATE * g, p, g, start)
    return new, [start], [scales]


def _norm(x):
    return jnp.sqrt(jnp.sum(x * x))


def _trusted(u, p, coefficient=1.0):
    size, step = _norm(p), _norm(u)
    return u * jnp.where((size == 0) | (step == 0), 1.0, coefficient * size / step)


def fromage(g, p, t):
    sizes = jnp.maximum(jnp.linalg.norm(p), 1e-6), jnp.maximum(jnp.linalg.norm(g), 1e-6)
    return (p - RATE * sizes[0] / sizes[1] * g) / (1 + RATE**2) ** 0.5, ()


def rprop(g, p, t, d, s):
    new = jnp.sign(g)
    d = jnp.where(
        new * s > 0, jnp.clip(1.2 * d, 1e-6, 50), jnp.where(new * s < 0, jnp.clip(0.5 * d, 1e-6, 50), d)
    )
    s = jnp.where(new * s < 0, 0.0, new)
    return p - s * d, (d, s)


def acprop(g, p, t, m, s):
    root = jnp.sqrt(s / -jnp.expm1((t - 1) * jnp.log(0.999)) + 1e-13)
    m = _average(0.9, m, g)
    u = g / (jnp.where(t == 1, 1.0, root) + 1e-16)
    return p - RATE * u, (m, _average(0.999, s, (g - m) ** 2))


def madgrad(g, p, t, s, v, start):
    rate = RATE * jnp.sqrt(t)
    s, v = s + rate * g, v + rate * g * g
    z = start - s / (jnp.cbrt(v) + 1e-6)
    return p + 0.1 * (z - p), (s, v, start)


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


def asgd(g, p, t, a):
    p = p - RATE * jnp.exp(-0.75 * jnp.log1p(1e-4 * RATE * (t - 1))) * (g + 1e-4 * p)
    since = t - 1 - 1e6
    return p, (jnp.where(since <= 1, p, a + (p - a) / jnp.maximum(since, 1)),)
