"""The log-density of a recorded program and its gradient, compiled once for every model.

numba compiles the interpreter of `tape` programs and keeps it on disk, beside this file or in its
own cache folder, so that a process that fits has nothing to compile. All that a fit has of its own
(labels, hierarchy, scores) is in the program's block of words. The likelihood, where the time goes,
is one fused step with its derivative written out; tests compare all of it with PyMC's graph.

Everything jitted stays in this file: numba renews its cache when the file changes, and would not
notice a change elsewhere.
"""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numba
import numpy as np

from bayes_ctxlaw.tape import COLUMNS, Op

_ADD, _SUBTRACT, _MULTIPLY, _EXP, _GATHER, _AVERAGE = (int(op) for op in list(Op)[:6])
_LOG_SATURATION, _LOG_RISE, _UNSATURATE, _LOG1P, _DIVIDE = (int(op) for op in list(Op)[6:11])
_HALF_NORMAL, _ZERO_AVOIDING, _BLOCK, _SCORES = (int(op) for op in list(Op)[11:])
_COLUMNS = int(COLUMNS)
_CEILING, _BEND = -0.004, 0.004  # those of `law`, written out: numba must see them change

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_HALF_LOG_2_OVER_PI = 0.5 * math.log(2.0 / math.pi)
_LOG_3_8 = math.log(3.0 / 8.0)
_EDGE = 1e-6  # `likelihoods._EDGE`
_SQRT_2 = math.sqrt(2.0)

# No leave to reorder or contract: what is compiled and what is read back from disk would round
# differently, and the same seed must give the same draws in every process.
_jit = numba.njit(error_model="numpy", nogil=True)


@_jit
def _saturation(t: float, kind: int) -> tuple[float, float]:
    """Log S and its slope; kind 0 is exponential, 1 power."""
    if kind == 1:
        if t > 0.0:
            e = math.exp(-t)
            return -math.log1p(e), e / (1.0 + e)
        e = math.exp(t)
        return t - math.log1p(e), 1.0 / (1.0 + e)
    if t < -30.0:
        return t, 1.0
    if t > 5.0:
        return 0.0, 0.0
    u = math.exp(t)
    return math.log(-math.expm1(-u)), u / math.expm1(u)


@_jit
def _rise(t: float, kind: int) -> tuple[float, float]:
    """Log of the slope of log S, and its slope."""
    if kind == 1:
        value, slope = _saturation(-t, 1)
        return value, -slope
    inside = -20.0 < t < 3.0
    u = math.exp(min(max(t, -20.0), 3.0))
    value = math.log(u / math.expm1(u))
    return value, 1.0 + u / math.expm1(-u) if inside else 0.0


@_jit
def _unsaturation(log_s: float, kind: int) -> tuple[float, float]:
    """Log u of a term whose log S is given, and its slope."""
    away, follows = _saturation((log_s - _CEILING) / _BEND, 1)
    t = _CEILING + _BEND * away
    if kind == 1:
        rest = -math.expm1(t)
        return t - math.log(rest), follows / rest
    if t < -30.0:
        return t, follows
    s = math.exp(t)
    u = -math.log1p(-s)
    return math.log(u), follows * s / ((1.0 - s) * u)


@_jit
def _t4_cdf(t: float) -> tuple[float, float]:
    """Log of the distribution function of the Student-t(4), and its slope."""
    q = 1.0 + 0.25 * t * t
    root = math.sqrt(q)
    s = t / root
    away = 4.0 / (q * (2.0 - s)) if t < 0.0 else 2.0 + s
    value = away * away * (4.0 - s) / 32.0
    return math.log(value), 0.375 / (q * q * root * value)


@_jit
def _normal_cdf(t: float) -> tuple[float, float]:
    """Log of the distribution function of the normal, and its slope."""
    if t > -20.0:
        value = 0.5 * math.erfc(-t / _SQRT_2)
        log_value = math.log1p(-0.5 * math.erfc(t / _SQRT_2)) if t > 0.0 else math.log(value)
        return log_value, math.exp(-0.5 * t * t - _HALF_LOG_2PI) / value
    # Continued fraction of Mills' ratio; at 20 standard deviations 30 terms leave no error.
    fraction = -t
    for k in range(30, 0, -1):
        fraction = -t + k / fraction
    return -0.5 * t * t - _HALF_LOG_2PI - math.log(fraction), fraction


@_jit
def _digamma(x: float) -> float:
    """Derivative of log gamma, for x > 0: recurrence up to 8, then the asymptotic series."""
    value = 0.0
    while x < 8.0:
        value -= 1.0 / x
        x += 1.0
    y = 1.0 / (x * x)
    tail = y * (
        1 / 12 - y * (1 / 120 - y * (1 / 252 - y * (1 / 240 - y * (1 / 132 - y * 691 / 32760))))
    )
    return value + math.log(x) - 0.5 / x - tail


@_jit
def _rising(a: float, k: float) -> tuple[float, float]:
    """Log of Γ(a + k) / Γ(a), and its slope by a.

    For large a the difference of two log gammas keeps no digit of it: where overdispersion goes to
    0 the log-density would be noise of any size, and chains would stay where it happens to be
    large. There the difference of their Stirling series is taken term by term.
    """
    if a < 1e4:
        return math.lgamma(a + k) - math.lgamma(a), _digamma(a + k) - _digamma(a)
    more, step = a + k, math.log1p(k / a)
    value = (a - 0.5) * step + k * (math.log(more) - 1.0) - k / (12.0 * a * more)
    slope = step + 0.5 * k / (a * more) + k * (a + more) / (12.0 * a * a * more * more)
    return value, slope


@_jit
def _censored(
    kind: int, score: float, mean: float, phi: float, edge: float, inverse: float
) -> tuple[float, float, float]:
    """Student-t(4) (kind 0) or normal censored to [0, 1]: value, slope by P and by phi."""
    p = edge + (1.0 - 2.0 * edge) * mean
    unit = inverse + phi * phi
    variance = p * (1.0 - p) * unit
    scale = math.sqrt(variance)
    if score <= 0.0:
        t, sign = -mean / scale, -1.0
    elif score >= 1.0:
        t, sign = (mean - 1.0) / scale, 1.0
    else:
        t, sign = (score - mean) / scale, -1.0
    if 0.0 < score < 1.0:
        if kind == 0:
            q = 1.0 + 0.25 * t * t
            value = _LOG_3_8 - 2.5 * math.log1p(0.25 * t * t) - 0.5 * math.log(variance)
            slope = -1.25 * t / q
        else:
            value = -0.5 * t * t - _HALF_LOG_2PI - 0.5 * math.log(variance)
            slope = -t
        by_log_scale = -slope * t - 1.0
    else:
        value, slope = _t4_cdf(t) if kind == 0 else _normal_cdf(t)
        by_log_scale = -slope * t
    half = 0.5 * by_log_scale / variance
    by_mean = slope * sign / scale + half * (1.0 - 2.0 * edge) * (1.0 - 2.0 * p) * unit
    return value, by_mean, half * p * (1.0 - p) * 2.0 * phi


@_jit
def _beta(
    score: float, mean: float, phi: float, edge: float, inverse: float
) -> tuple[float, float, float]:
    """Beta density of a score drawn in by half an item."""
    if phi >= 1.0:
        return -math.inf, 0.0, 0.0
    inner = 1.0 - 2.0 * edge
    p, y = edge + inner * mean, edge + inner * score
    unit = inverse + phi * phi * (1.0 - inverse)
    size = 1.0 / unit - 1.0
    a, b = p * size, (1.0 - p) * size
    log_y, log_rest = math.log(y), math.log1p(-y)
    value = math.lgamma(size) - math.lgamma(a) - math.lgamma(b)
    value += (a - 1.0) * log_y + (b - 1.0) * log_rest
    by_a, by_b = log_y - _digamma(a), log_rest - _digamma(b)
    by_size = _digamma(size) + p * by_a + (1.0 - p) * by_b
    by_phi = -by_size / (unit * unit) * 2.0 * phi * (1.0 - inverse)
    return value, inner * size * (by_a - by_b), by_phi


@_jit
def _counts(
    kind: int, correct: float, items: float, mean: float, phi: float
) -> tuple[float, float, float]:
    """Beta-binomial (kind 4) or binomial, without the binomial coefficient."""
    inner = 1.0 - 2.0 * _EDGE
    p, wrong = _EDGE + inner * mean, items - correct
    if kind == 3:
        value = correct * math.log(p) + wrong * math.log1p(-p)
        return value, inner * (correct / p - wrong / (1.0 - p)), 0.0
    if phi >= 1.0:
        return -math.inf, 0.0, 0.0
    size = 1.0 / (phi * phi) - 1.0
    a, b = p * size, (1.0 - p) * size
    of_right, by_a = _rising(a, correct)
    of_wrong, by_b = _rising(b, wrong)
    of_all, by_size = _rising(size, items)
    value = of_right + of_wrong - of_all
    by_size = p * by_a + (1.0 - p) * by_b - by_size
    return value, inner * size * (by_a - by_b), -2.0 * by_size / (phi * phi * phi)


@_jit
def _at(place: int, end: int) -> int:
    """Where in the workspace: constants are counted from its end."""
    return place + end if place < 0 else place


@_jit
def _scores(at: int, ints: int, cols: int, words: Any, reals: Any, work: Any, grad: Any) -> float:
    """Log-likelihood of all scores; adds to the gradient of the parameters of their strata."""
    n, penalty, kind = words[at], words[at + 1], words[at + 2]
    end = len(work)
    at_s, step_s = _at(words[at + 3], end), words[at + 4]
    at_n, step_n = _at(words[at + 5], end), words[at + 6]
    at_k, step_k = _at(words[at + 7], end), words[at + 8]
    at_d, step_d = _at(words[at + 9], end), words[at + 10]
    at_o, step_o = _at(words[at + 11], end), words[at + 12]
    stratum, task = ints + words[at + 13], ints + words[at + 14]
    w, spread, chance = cols + words[at + 15], cols + words[at + 16], cols + words[at + 17]
    score, edge, inverse = cols + words[at + 18], cols + words[at + 19], cols + words[at + 20]
    items = cols + words[at + 21]
    total = reals[cols + words[at + 22]]
    for i in range(n):
        u, t = words[stratum + i], words[task + i]
        s_at, n_at, o_at = at_s + u * step_s, at_n + i * step_n, at_o + t * step_o
        k_at, d_at = at_k + u * step_k, at_d + u * step_d
        s = math.exp(work[s_at] + work[n_at])
        q, slope, offset, softened = 1.0, 0.0, 0.0, 1.0
        if penalty == 0:
            kappa = work[k_at]
            offset = reals[w + i] - work[d_at]
            stretch = math.pi / 8.0 * reals[spread + i] * reals[spread + i]
            softened = 1.0 / math.sqrt(1.0 + stretch * kappa * kappa)
            slope = kappa * softened
            q = 1.0 / (1.0 + math.exp(slope * offset))
        elif penalty == 1:
            q = 1.0 / (1.0 + math.exp(reals[w + i]))
        floor = reals[chance + i]
        mean, phi, y = q * (floor + (1.0 - floor) * s), work[o_at], reals[score + i]
        if kind <= 1:
            value, by_mean, by_phi = _censored(
                kind, y, mean, phi, reals[edge + i], reals[inverse + i]
            )
        elif kind == 2:
            value, by_mean, by_phi = _beta(y, mean, phi, reals[edge + i], reals[inverse + i])
        elif kind <= 4:
            value, by_mean, by_phi = _counts(kind, y, reals[items + i], mean, phi)
        else:
            away = (y - mean) / phi
            value = -0.5 * away * away - _HALF_LOG_2PI - math.log(phi)
            by_mean, by_phi = away / phi, (away * away - 1.0) / phi
        total += value
        by_log_s = by_mean * q * (1.0 - floor) * s
        grad[s_at] += by_log_s
        grad[n_at] += by_log_s
        if penalty == 0:
            by_logit = -by_mean * mean * (1.0 - q)
            grad[k_at] += by_logit * offset * softened**3
            grad[d_at] -= by_logit * slope
        grad[o_at] += by_phi
    return total


@_jit
def _subtract(target: Any, at: int, factor: float, source: Any, start: int, n: int) -> None:
    """Subtract a multiple of `n` values from others.

    Unsigned places need no look at whether they count from the end, so that this runs in vectors.
    """
    to, of = np.uint64(at), np.uint64(start)
    for k in range(np.uint64(n)):
        target[to + k] -= factor * source[of + k]


@_jit
def _subtract_rows(
    target: Any,
    at: int,
    n: int,
    factors: Any,
    factor: int,
    step: int,
    rows: Any,
    start: int,
    length: int,
    count: int,
) -> None:
    """Subtract from `n` values multiples of `count` rows that lie `length` apart.

    Four rows at a time: what is subtracted from is read and written only once for these.
    """
    to, j = np.uint64(at), 0
    while j + 4 <= count:
        a, b = factors[factor + j * step], factors[factor + (j + 1) * step]
        c, d = factors[factor + (j + 2) * step], factors[factor + (j + 3) * step]
        of_a, of_b = np.uint64(start + j * length), np.uint64(start + (j + 1) * length)
        of_c, of_d = np.uint64(start + (j + 2) * length), np.uint64(start + (j + 3) * length)
        for k in range(np.uint64(n)):
            some = a * rows[of_a + k] + b * rows[of_b + k]
            target[to + k] -= some + (c * rows[of_c + k] + d * rows[of_d + k])
        j += 4
    while j < count:
        _subtract(target, at, factors[factor + j * step], rows, start + j * length, n)
        j += 1


@_jit
def _dot(a: Any, a_at: int, b: Any, b_at: int, n: int) -> float:
    """Sum of products, in four sums that need not wait for one another."""
    at_a, at_b, four = np.uint64(a_at), np.uint64(b_at), np.uint64(4)
    s0 = s1 = s2 = s3 = 0.0
    for q in range(np.uint64(n // 4)):
        i, j = at_a + four * q, at_b + four * q
        s0 += a[i] * b[j]
        s1 += a[i + np.uint64(1)] * b[j + np.uint64(1)]
        s2 += a[i + np.uint64(2)] * b[j + np.uint64(2)]
        s3 += a[i + np.uint64(3)] * b[j + np.uint64(3)]
    for k in range(np.uint64(n - n % 4), np.uint64(n)):
        s0 += a[at_a + k] * b[at_b + k]
    return (s0 + s1) + (s2 + s3)


@_jit
def _block(out: int, at: int, ints: int, cols: int, words: Any, reals: Any, work: Any) -> float:
    r"""Unknowns v of a block, from u, and the log of the prior of v as a density of u.

    With D the diagonal of prior standard deviations, K the precision of the measurement and h its
    pull, M = I + D K D = C C' and v = D ξ:

        ξ = C'^-1 (C^-1 D h + u),        log p = −|ξ|²/2 − m/2 log 2π − log det C

    K and h are numbers, and h falls with what is traded off against; or they are sums over strata,
    each a measurement of the sum of its unknowns. Then the first `apart` unknowns have nothing to
    do with one another, and each with few of the rest (`links`): of their columns of C only the
    diagonal (`root`) and the entries of its links (`cross`) are there. What they leave of M for
    the rest is taken apart in `upper`, C' row by row.
    """
    m, parts, apart, u = words[at], words[at + 1], words[at + 2], words[at + 3]
    strata, traded, pull = words[at + 4], words[at + 5], cols + words[at + 6]
    known, response = cols + words[at + 7], cols + words[at + 8]
    end, rest = len(work), m - apart
    d, xi, y, z, h = out + m, out + 2 * m, out + 3 * m, out + 4 * m, out + 5 * m
    upper, total = out + 6 * m, -m * _HALF_LOG_2PI
    i = 0
    for part in range(parts):
        row = at + 14 + 4 * part
        size, scale, mean = words[row], work[_at(words[row + 1], end)], _at(words[row + 2], end)
        for j in range(size):
            work[d + i] = scale
            work[y + i] = work[mean + j * words[row + 3]]  # for the moment: what is traded off
            i += 1
    if strata:
        _measure(out, at, ints, words, work)
        total -= _take_apart(out, at, ints, words, work)
    else:
        for i in range(m):
            value = reals[pull + i]
            if traded:
                value -= _dot(reals, response + i * m, work, y, m)
            work[h + i] = value
        _add_prior(upper, d, h, z, m, reals, known, work)
    for j in range(rest):
        row, n = upper + j * rest, rest - j
        _subtract_rows(work, row + j, n, work, upper + j, rest, work, upper + j, rest, j)
        root = math.sqrt(work[row + j])
        total -= math.log(root)
        for k in range(j, rest):
            work[row + k] /= root
        work[row + j] = root
        value = work[z + apart + j] / root
        work[z + apart + j] = value
        _subtract(work, z + apart + j + 1, value, work, row + j + 1, n - 1)
    for i in range(m):
        work[y + i] = work[z + i] + work[u + i]
    for j in range(rest - 1, -1, -1):
        row, place = upper + j * rest, apart + j
        value = work[y + place] - _dot(work, row + j + 1, work, xi + place + 1, rest - j - 1)
        work[xi + place] = value / work[row + j]
    if apart:
        first, link, root, cross = _cross(out, at, ints, words)
        for i in range(apart):
            value = work[y + i]
            for e in range(words[first + i], words[first + i + 1]):
                value -= work[cross + e] * work[xi + words[link + e]]
            work[xi + i] = value / work[root + i]
    for i in range(m):
        work[out + i] = work[d + i] * work[xi + i]
        total -= 0.5 * work[xi + i] * work[xi + i]
    return total


@_jit
def _add_prior(
    upper: int, d: int, h: int, z: int, n: int, matrix: Any, known: int, work: Any
) -> None:
    """I + D K D from the diagonal on, and D h."""
    for i in range(n):
        row, scale = upper + i * n, work[d + i]
        work[z + i] = scale * work[h + i]
        for j in range(i, n):
            work[row + j] = scale * work[d + j] * matrix[known + i * n + j]
        work[row + i] += 1.0


@_jit
def _cross(out: int, at: int, ints: int, words: Any) -> tuple[int, int, int, int]:
    """Where the links of the unknowns that stand apart are: their beginnings, and the others.

    And in the workspace: their diagonal of C and entries of its columns, after the pieces of K.
    """
    m, apart = words[at], words[at + 2]
    first, link = ints + words[at + 7], ints + words[at + 8]
    root = out + 6 * m + 2 * (m - apart) * (m - apart)
    return first, link, root, root + apart


@_jit
def _measure(out: int, at: int, ints: int, words: Any, work: Any) -> None:
    """K and h of a block whose measurement is made of strata."""
    m, parts, apart, end = words[at], words[at + 1], words[at + 2], len(work)
    member, pair = ints + words[at + 9], ints + words[at + 6]
    weight, step_w = _at(words[at + 10], end), words[at + 11]
    value_at, step_v = _at(words[at + 12], end), words[at + 13]
    rest, h = m - apart, out + 5 * m
    first, _, _, cross = _cross(out, at, ints, words)
    known, links = out + 6 * m + rest * rest, words[first + apart]
    own, shared = cross + links, cross + links + apart
    for i in range(m):
        work[h + i] = 0.0
    for i in range(rest * rest):
        work[known + i] = 0.0
    for i in range(apart + links):
        work[own + i] = 0.0
    for s in range(words[at + 4]):
        row, of_pair = member + s * parts, pair + s * (parts - 1)
        w, value = work[weight + s * step_w], work[value_at + s * step_v]
        work[own + words[row]] += w
        work[h + words[row]] += w * value
        for a in range(1, parts):
            i = words[row + a]
            work[h + i] += w * value
            work[shared + words[of_pair + a - 1]] += w
            for b in range(1, parts):
                if words[row + b] >= i:
                    work[known + (i - apart) * rest + words[row + b] - apart] += w


@_jit
def _take_apart(out: int, at: int, ints: int, words: Any, work: Any) -> float:
    """What stands apart, taken out of M and of D h; returns its part of log det C."""
    m, apart = words[at], words[at + 2]
    d, z, h, upper, rest = out + m, out + 4 * m, out + 5 * m, out + 6 * m, m - apart
    first, link, root, cross = _cross(out, at, ints, words)
    known, own = upper + rest * rest, cross + words[first + apart]
    shared, total = own + apart, 0.0
    _add_prior(upper, d + apart, h + apart, z + apart, rest, work, known, work)
    for i in range(apart):
        scale = work[d + i]
        value = math.sqrt(1.0 + scale * scale * work[own + i])
        work[root + i] = value
        total += math.log(value)
        pull = scale * work[h + i] / value
        work[z + i] = pull
        for e in range(words[first + i], words[first + i + 1]):
            k = words[link + e]
            entry = scale * work[d + k] * work[shared + e] / value
            work[cross + e] = entry
            work[z + k] -= entry * pull
            # Links are in order: what came before has the lower row of the two.
            for f in range(words[first + i], e + 1):
                j = words[link + f] - apart
                work[upper + j * rest + k - apart] -= entry * work[cross + f]
    return total


@_jit
def _block_backward(
    out: int, at: int, ints: int, cols: int, words: Any, reals: Any, work: Any, grad: Any
) -> None:
    """Hand the gradient of a block on to u, to the scales and to what the measurement is made of.

    The steps of `_block` the other way round. The gradient by each value that the workspace holds
    is in the same place among the gradients; that of z, of what does not stand apart, is by D h
    instead, which z is solved from.
    """
    m, parts, apart, u = words[at], words[at + 1], words[at + 2], words[at + 3]
    strata, traded, response = words[at + 4], words[at + 5], cols + words[at + 8]
    d, xi, y, z, h = out + m, out + 2 * m, out + 3 * m, out + 4 * m, out + 5 * m
    upper, rest, end = out + 6 * m, m - apart, len(work)
    for i in range(m):
        grad[d + i] = work[xi + i] * grad[out + i]
        grad[y + i] = grad[out + i] * work[d + i] - work[xi + i]
    if apart:
        first, link, root, cross = _cross(out, at, ints, words)
        for i in range(apart):
            value = grad[y + i] / work[root + i]
            grad[y + i] = value
            grad[root + i] = -value * work[xi + i]
            for e in range(words[first + i], words[first + i + 1]):
                grad[y + words[link + e]] -= work[cross + e] * value
                grad[cross + e] = -value * work[xi + words[link + e]]
    for j in range(rest):
        row, place = upper + j * rest, apart + j
        value = grad[y + place] / work[row + j]
        grad[y + place] = value
        _subtract(grad, y + place + 1, value, work, row + j + 1, rest - j - 1)
    for i in range(m):
        grad[u + i] += grad[y + i]
        grad[z + i] = grad[y + i]
    for j in range(rest - 1, -1, -1):
        row, place = upper + j * rest, apart + j
        value = grad[z + place] - _dot(work, row + j + 1, grad, z + place + 1, rest - j - 1)
        grad[z + place] = value / work[row + j]
    _matrix_backward(out, at, words, work, grad)
    if apart:
        _apart_backward(out, at, ints, words, work, grad)
    known = cols + words[at + 7]
    for i in range(apart, m):
        # M holds K twice below the diagonal; of the symmetric gradient each half is taken once.
        row, place = upper + (i - apart) * rest, upper + rest * rest + (i - apart) * rest
        value = grad[z + i] * work[h + i]
        if strata:
            for j in range(rest):
                k = place + j if j >= i - apart else upper + rest * rest + j * rest + i - apart
                value += grad[row + j] * work[d + apart + j] * work[k]
                grad[place + j] = grad[row + j] * work[d + i] * work[d + apart + j]
            grad[place + i - apart] *= 0.5
        else:
            for j in range(m):
                value += grad[row + j] * work[d + j] * reals[known + i * m + j]
        grad[d + i] += value
        grad[h + i] = grad[z + i] * work[d + i]
    if strata:
        _strata_backward(out, at, ints, words, work, grad)
    i = 0
    for part in range(parts):
        scale = _at(words[at + 14 + 4 * part + 1], end)
        for _ in range(words[at + 14 + 4 * part]):
            grad[scale] += grad[d + i]
            i += 1
    if traded == 0:
        return
    for i in range(m):
        slope, at_row = grad[h + i], response + i * m
        for part in range(parts):
            row = at + 14 + 4 * part
            mean, step = _at(words[row + 2], end), words[row + 3]
            for j in range(words[row]):
                grad[mean + j * step] -= slope * reals[at_row]
                at_row += 1


@_jit
def _matrix_backward(out: int, at: int, words: Any, work: Any, grad: Any) -> None:
    """The gradient by what `_block` makes `upper` of, symmetric, its diagonal twice what it is."""
    m, apart = words[at], words[at + 2]
    xi, y, z = out + 2 * m + apart, out + 3 * m + apart, out + 4 * m + apart
    upper, rest = out + 6 * m, m - apart
    for j in range(rest - 1, -1, -1):
        row = upper + j * rest
        for k in range(j, rest):
            grad[row + k] = 0.0
        _subtract(grad, row + j, grad[y + j], work, xi + j, rest - j)
        _subtract(grad, row + j, work[z + j], grad, z + j, rest - j)
        n, below = rest - j - 1, upper + (j + 1) * rest + j + 1
        _subtract_rows(grad, row + j + 1, n, work, row + j + 1, 1, grad, below, rest, n)
        root = work[row + j]
        value = grad[row + j] - 1.0 / root
        value -= _dot(grad, row + j + 1, work, row + j + 1, rest - j - 1) / root
        grad[row + j] = value / root
        for k in range(j + 1, rest):
            value = grad[row + k] / root
            grad[row + k] = value
            grad[upper + k * rest + j] = value


@_jit
def _apart_backward(out: int, at: int, ints: int, words: Any, work: Any, grad: Any) -> None:
    """The same for `_take_apart`: gradients by the diagonal of K, by its links and by h."""
    m, apart = words[at], words[at + 2]
    d, z, h, upper, rest = out + m, out + 4 * m, out + 5 * m, out + 6 * m, m - apart
    first, link, root, cross = _cross(out, at, ints, words)
    own = cross + words[first + apart]
    shared = own + apart
    for i in range(apart):
        scale, value = work[d + i], work[root + i]
        by_pull, by_root, by_scale = grad[z + i], grad[root + i] - 1.0 / value, 0.0
        for e in range(words[first + i], words[first + i + 1]):
            k, entry = words[link + e], work[cross + e]
            by_entry = grad[cross + e] - grad[z + k] * work[z + i]
            by_pull -= grad[z + k] * entry
            row = upper + (k - apart) * rest - apart
            for f in range(words[first + i], words[first + i + 1]):
                by_entry -= grad[row + words[link + f]] * work[cross + f]
            grad[shared + e] = by_entry * scale * work[d + k] / value
            grad[d + k] += by_entry * scale * work[shared + e] / value
            by_scale += by_entry * work[d + k] * work[shared + e] / value
            by_root -= by_entry * entry / value
        by_root -= by_pull * work[z + i] / value
        grad[h + i] = by_pull * scale / value
        by_diagonal = 0.5 * by_root / value
        grad[own + i] = by_diagonal * scale * scale
        by_scale += by_pull * work[h + i] / value + 2.0 * by_diagonal * scale * work[own + i]
        grad[d + i] += by_scale


@_jit
def _strata_backward(out: int, at: int, ints: int, words: Any, work: Any, grad: Any) -> None:
    """The gradient of a block by the weights and values of its strata."""
    m, parts, apart, end = words[at], words[at + 1], words[at + 2], len(work)
    member, pair = ints + words[at + 9], ints + words[at + 6]
    weight, step_w = _at(words[at + 10], end), words[at + 11]
    value_at, step_v = _at(words[at + 12], end), words[at + 13]
    rest, h = m - apart, out + 5 * m
    first, _, _, cross = _cross(out, at, ints, words)
    known, own = out + 6 * m + rest * rest, cross + words[first + apart]
    shared = own + apart
    for s in range(words[at + 4]):
        row, of_pair = member + s * parts, pair + s * (parts - 1)
        by_w, by_h = grad[own + words[row]], grad[h + words[row]]
        for a in range(1, parts):
            i = words[row + a]
            by_h += grad[h + i]
            by_w += grad[shared + words[of_pair + a - 1]]
            for b in range(1, parts):
                if words[row + b] >= i:
                    by_w += grad[known + (i - apart) * rest + words[row + b] - apart]
        grad[weight + s * step_w] += by_w + by_h * work[value_at + s * step_v]
        grad[value_at + s * step_v] += by_h * work[weight + s * step_w]


@_jit
def _forward(
    step: int, ints: int, cols: int, words: Any, reals: Any, work: Any, grad: Any
) -> float:
    """Run a step. What adds to the log-density returns it, and adds to the gradient at once."""
    op, out, n = words[step], words[step + 1], words[step + 2]
    if op == _SCORES:
        return _scores(ints + words[step + 3], ints, cols, words, reals, work, grad)
    if op == _BLOCK:
        return _block(out, ints + words[step + 3], ints, cols, words, reals, work)
    end = len(work)
    a, sa = _at(words[step + 3], end), words[step + 4]
    extra, length = words[step + 5], words[step + 6]
    if op == _GATHER:
        for i in range(n):
            work[out + i] = work[a + words[ints + extra + i]]
        return 0.0
    if op == _AVERAGE:
        group, share = ints + words[ints + extra], cols + words[ints + extra + 1]
        for i in range(n):
            work[out + i] = 0.0
        for i in range(length):
            work[out + words[group + i]] += reals[share + i] * work[a + i]
        return 0.0
    if op == _EXP:
        for i in range(n):
            work[out + i] = math.exp(work[a + i])
        return 0.0
    if op == _LOG1P:
        for i in range(n):
            work[out + i] = math.log1p(work[a + i])
        return 0.0
    if op == _LOG_SATURATION:
        for i in range(n):
            work[out + i], work[out + n + i] = _saturation(work[a + i], extra)
        return 0.0
    if op == _LOG_RISE:
        for i in range(n):
            work[out + i], work[out + n + i] = _rise(work[a + i], extra)
        return 0.0
    if op == _UNSATURATE:
        for i in range(n):
            work[out + i], work[out + n + i] = _unsaturation(work[a + i], extra)
        return 0.0
    b, sb = _at(words[step + 5], end), words[step + 6]
    if op == _ADD:
        for i in range(n):
            work[out + i] = work[a + i * sa] + work[b + i * sb]
        return 0.0
    if op == _SUBTRACT:
        for i in range(n):
            work[out + i] = work[a + i * sa] - work[b + i * sb]
        return 0.0
    if op == _MULTIPLY:
        for i in range(n):
            work[out + i] = work[a + i * sa] * work[b + i * sb]
        return 0.0
    if op == _DIVIDE:
        for i in range(n):
            work[out + i] = work[a + i * sa] / work[b + i * sb]
        return 0.0
    c, sc = _at(words[step + 7], end), words[step + 8]
    total = 0.0
    if op == _HALF_NORMAL:
        # a: log of the value, which carries the Jacobian; b: the value; c: its prior's scale.
        for i in range(n):
            scale = work[c + i * sc]
            t = work[b + i * sb] / scale
            total += _HALF_LOG_2_OVER_PI - math.log(scale) - 0.5 * t * t + work[a + i * sa]
            grad[a + i * sa] += 1.0
            grad[b + i * sb] -= t / scale
            grad[c + i * sc] += (t * t - 1.0) / scale
    elif op == _ZERO_AVOIDING:
        # The same three; the prior is a gamma distribution of shape 2, and c its scale.
        for i in range(n):
            scale = work[c + i * sc]
            t = work[b + i * sb] / scale
            total += math.log(t) - math.log(scale) - t + work[a + i * sa]
            grad[a + i * sa] += 1.0
            grad[b + i * sb] += (1.0 / t - 1.0) / scale
            grad[c + i * sc] += (t - 2.0) / scale
    return total


@_jit
def _backward(
    step: int, ints: int, cols: int, words: Any, reals: Any, work: Any, grad: Any
) -> None:
    """Hand the gradient of a step's result on to its operands (constants take it, for nothing)."""
    op, out, n = words[step], words[step + 1], words[step + 2]
    if op == _HALF_NORMAL or op == _ZERO_AVOIDING or op == _SCORES:
        return
    if op == _BLOCK:
        _block_backward(out, ints + words[step + 3], ints, cols, words, reals, work, grad)
        return
    end = len(work)
    a, sa = _at(words[step + 3], end), words[step + 4]
    extra, length = words[step + 5], words[step + 6]
    if op == _ADD or op == _SUBTRACT:
        b, sb = _at(extra, end), length
        sign = 1.0 if op == _ADD else -1.0
        for i in range(n):
            grad[a + i * sa] += grad[out + i]
        for i in range(n):
            grad[b + i * sb] += sign * grad[out + i]
    elif op == _MULTIPLY:
        b, sb = _at(extra, end), length
        for i in range(n):
            grad[a + i * sa] += grad[out + i] * work[b + i * sb]
        for i in range(n):
            grad[b + i * sb] += grad[out + i] * work[a + i * sa]
    elif op == _DIVIDE:
        b, sb = _at(extra, end), length
        for i in range(n):
            grad[a + i * sa] += grad[out + i] / work[b + i * sb]
        for i in range(n):
            grad[b + i * sb] -= grad[out + i] * work[out + i] / work[b + i * sb]
    elif op == _EXP:
        for i in range(n):
            grad[a + i] += grad[out + i] * work[out + i]
    elif op == _LOG1P:
        for i in range(n):
            grad[a + i] += grad[out + i] / (1.0 + work[a + i])
    elif op == _GATHER:
        for i in range(n):
            grad[a + words[ints + extra + i]] += grad[out + i]
    elif op == _AVERAGE:
        group, share = ints + words[ints + extra], cols + words[ints + extra + 1]
        for i in range(length):
            grad[a + i] += reals[share + i] * grad[out + words[group + i]]
    elif op == _LOG_SATURATION or op == _LOG_RISE or op == _UNSATURATE:
        for i in range(n):
            grad[a + i] += grad[out + i] * work[out + n + i]


@_jit
def _run(words: Any, reals: Any, x: Any, work: Any, grad: Any) -> float:
    """Log-density at `x`, with all results in the workspace."""
    n_dim, n_steps, used, n_constants = words[1], words[2], words[3], words[4]
    steps, ints, cols, constants = words[5], words[7], words[8], words[9]
    for i in range(n_dim):
        work[i] = x[i]
    for i in range(n_constants):
        work[used + i] = reals[constants + i]
    value = 0.0
    for k in range(n_steps):
        value += _forward(steps + k * _COLUMNS, ints, cols, words, reals, work, grad)
    return value


@_jit
def _evaluate(words: Any, reals: Any, x: Any, gradient: Any) -> float:
    """Log-density at `x`; its gradient goes into `gradient`."""
    size, steps, ints, cols = words[3] + words[4], words[5], words[7], words[8]
    work, grad = np.empty(size), np.zeros(size)
    value = _run(words, reals, x, work, grad)
    for k in range(words[2] - 1, -1, -1):
        _backward(steps + k * _COLUMNS, ints, cols, words, reals, work, grad)
    for i in range(words[1]):
        gradient[i] = grad[i]
    return value


_POINTER = numba.types.CPointer(numba.types.double)


@numba.cfunc(
    numba.int64(numba.uint64, _POINTER, _POINTER, _POINTER, numba.types.voidptr), cache=True
)
def log_density(dim, x, gradient, value, program):  # noqa: D103 - called from nutpie alone
    size = numba.carray(program, (1,), np.int64)[0]
    words, reals = numba.carray(program, size, np.int64), numba.carray(program, size, np.float64)
    if words[1] != dim:
        return -1
    slopes = numba.carray(gradient, dim, np.float64)
    found = _evaluate(words, reals, numba.carray(x, dim, np.float64), slopes)
    numba.carray(value, (1,), np.float64)[0] = found
    if not np.isfinite(found):
        return 4
    return 0 if np.all(np.isfinite(slopes)) else 3


@numba.cfunc(
    numba.int64(numba.uint64, numba.uint64, _POINTER, _POINTER, numba.types.voidptr), cache=True
)
def expand(dim, expanded, x, out, program):  # noqa: D103 - called from nutpie alone
    size = numba.carray(program, (1,), np.int64)[0]
    words, reals = numba.carray(program, size, np.int64), numba.carray(program, size, np.float64)
    kept = words[6]
    if words[1] != dim or words[kept] != expanded:
        return -1
    places = numba.carray(out, expanded, np.float64)
    room = words[3] + words[4]
    work, grad = np.empty(room), np.zeros(room)
    _run(words, reals, numba.carray(x, dim, np.float64), work, grad)
    for i in range(expanded):
        places[i] = work[words[kept + 1 + i]]
    return 0


def evaluate(program: np.ndarray, x: np.ndarray) -> tuple[float, np.ndarray]:
    """Log-density of a program and its gradient at unconstrained values.

    Parameters
    ----------
    program : ndarray of int64
        From ``Tape.program``.
    x : ndarray
        Unconstrained values.

    Returns
    -------
    value : float
    gradient : ndarray
    """
    x, gradient, value = np.ascontiguousarray(x, dtype=float), np.empty(len(x)), np.empty(1)
    pointer = ctypes.POINTER(ctypes.c_double)
    x_at, slopes_at, value_at = (part.ctypes.data_as(pointer) for part in (x, gradient, value))
    log_density.ctypes(len(x), x_at, slopes_at, value_at, program.ctypes.data)
    return float(value[0]), gradient


def expanded(program: np.ndarray, x: np.ndarray) -> np.ndarray:
    """What a draw is kept as.

    Parameters
    ----------
    program : ndarray of int64
        From ``Tape.program``.
    x : ndarray
        Unconstrained values.

    Returns
    -------
    ndarray
    """
    x, kept = np.ascontiguousarray(x, dtype=float), np.empty(program[program[6]])
    pointer = ctypes.POINTER(ctypes.c_double)
    x_at, kept_at = (part.ctypes.data_as(pointer) for part in (x, kept))
    expand.ctypes(len(x), len(kept), x_at, kept_at, program.ctypes.data)
    return kept
