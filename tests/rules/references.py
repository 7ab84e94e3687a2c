"""Slow, obvious float64 references: written from the papers' definitions, sharing no code with the rules."""

import itertools
import math

import numpy as np


def mean(x, f):
    return x.mean(0)


def median(x, f):
    return np.median(x, axis=0)


def trimmed_mean(x, f):
    return np.sort(x, axis=0)[f : len(x) - f].mean(0)


def _nearest_per_coordinate(x, centre, k):
    out = np.empty(x.shape[1])
    for c in range(x.shape[1]):
        order = sorted(range(len(x)), key=lambda i: (abs(x[i, c] - centre[c]), i))
        out[c] = np.mean([x[i, c] for i in order[:k]])
    return out


def meamed(x, f):
    return _nearest_per_coordinate(x, np.median(x, axis=0), len(x) - f)


def phocas(x, f):
    return _nearest_per_coordinate(x, trimmed_mean(x, f), len(x) - f)


def sign_majority(x, f):
    return np.sign(np.sign(x).sum(0))


def cge(x, f):
    order = sorted(range(len(x)), key=lambda i: (np.linalg.norm(x[i]), i))
    return x[order[: len(x) - f]].mean(0)


def faba(x, f):
    left = list(range(len(x)))
    for _ in range(f):
        centre = x[left].mean(0)
        left.remove(max(left, key=lambda i: (np.linalg.norm(x[i] - centre), i)))
    return x[left].mean(0)


def _krum_order(x, rows, neighbors):
    def score(i):
        return sum(sorted(float(((x[i] - x[j]) ** 2).sum()) for j in rows if j != i)[:neighbors])

    return sorted(rows, key=lambda i: (score(i), i))


def krum(x, f):
    return x[_krum_order(x, range(len(x)), len(x) - f - 2)[0]]


def multi_krum(x, f):
    n = len(x)
    return x[_krum_order(x, range(n), n - f - 2)[: n - f - 2]].mean(0)


def bulyan(x, f):
    n = len(x)
    left, chosen = list(range(n)), []
    for _ in range(n - 2 * f):
        best = _krum_order(x, left, max(1, len(left) - f - 2))[0]
        chosen.append(best)
        left.remove(best)
    chosen = x[sorted(chosen)]
    return _nearest_per_coordinate(chosen, np.median(chosen, axis=0), n - 4 * f)


def multi_bulyan(x, f):
    n = len(x)
    left, means = list(range(n)), []
    for t in range(n - 2 * f - 2):
        order = _krum_order(x, left, max(1, len(left) - f - 2))
        means.append(x[order[: n - t - f - 2]].mean(0))
        left.remove(order[0])
    means = np.array(means)
    return _nearest_per_coordinate(means, np.median(means, axis=0), len(means) - 2 * f)


def mda(x, f):
    def diameter(rows):
        return max((np.linalg.norm(x[i] - x[j]) for i in rows for j in rows), default=0.0)

    subsets = itertools.combinations(range(len(x)), len(x) - f)
    return x[list(min(subsets, key=diameter))].mean(0)


def smea(x, f):
    def top(rows):
        centred = x[list(rows)] - x[list(rows)].mean(0)
        return round(np.linalg.eigvalsh(centred.T @ centred / len(rows))[-1], 9)  # equal but for rounding is equal

    subsets = itertools.combinations(range(len(x)), len(x) - f)
    return x[list(min(subsets, key=top))].mean(0)


def caf(x, f):
    n = len(x)
    c = np.ones(n)
    best, least = x.mean(0), math.inf
    while c.sum() > n - 2 * f:
        mu = (c[:, None] * x).sum(0) / c.sum()
        centred = x - mu
        values, vectors = np.linalg.eigh((c[:, None] * centred).T @ centred / c.sum())
        if values[-1] < least:
            best, least = mu, values[-1]
        tau = (centred @ vectors[:, -1]) ** 2
        tau_max = tau[c > 0].max()
        if tau_max == 0:
            break
        c = c * np.maximum(0, 1 - tau / tau_max)
    return best


def medoid(x, f):
    return x[min(range(len(x)), key=lambda i: (sum(np.linalg.norm(x[i] - y) for y in x), i))]


def aksel(x, f):
    centre = np.median(x, axis=0)
    order = sorted(range(len(x)), key=lambda i: (np.linalg.norm(x[i] - centre), i))
    return x[order[: len(x) - f]].mean(0)


def monna(x, f, pivot):
    order = sorted(range(len(x)), key=lambda i: (np.linalg.norm(x[i] - pivot), i))
    return x[order[: len(x) - f]].mean(0)


def _offsets(x):
    """The neighbours' offsets from the own row, nearest first; each weighs 1 / n."""
    return sorted((y - x[0] for y in x[1:]), key=np.linalg.norm)


def clipped_gossip(x, f):
    offsets = _offsets(x)
    kept = offsets[: len(offsets) - f]
    tau = math.sqrt(sum(float(z @ z) for z in kept) / f) if f else math.inf
    return x[0] + _clip(offsets, tau).sum(0) / len(x)


def cg_plus(x, f):
    offsets = _offsets(x)
    return x[0] + _clip(offsets, np.linalg.norm(offsets[-2 * f - 1])).sum(0) / len(x)


def nna(x, f):
    offsets = _offsets(x)
    return x[0] + sum(offsets[: len(offsets) - f]) / len(x)


def ios(x, f):
    left = list(range(len(x)))
    for _ in range(f):
        centre = x[left].mean(0)
        left.remove(max(left[1:], key=lambda i: (np.linalg.norm(x[i] - centre), i)))
    return x[left].mean(0)


def bridge(x, f):
    return np.concatenate([x[:1], np.sort(x[1:], axis=0)[f : len(x) - 1 - f]]).mean(0)


def geometric_median(x, f, mass=1.0):
    """Subgradient descent on the sum of distances, polished by damped Newton-free bisection of the step."""
    z, mass = x.mean(0), mass * np.ones(len(x))
    step = np.linalg.norm(x - z, axis=1).max()
    value = mass @ np.linalg.norm(x - z, axis=1)
    while step > 1e-13:
        gradient = sum(m * (z - y) / max(np.linalg.norm(z - y), 1e-300) for m, y in zip(mass, x, strict=True))
        candidate = z - step * gradient / max(np.linalg.norm(gradient), 1e-300)
        new = mass @ np.linalg.norm(x - candidate, axis=1)
        if new < value:
            z, value = candidate, new
        else:
            step *= 0.7
    return z


def centered_clipping(x, f, tau=10.0):
    v = np.zeros(x.shape[1])
    return v + np.mean([(y - v) * min(1, tau / max(np.linalg.norm(y - v), 1e-300)) for y in x], axis=0)


def dnc(x, f):
    """With no more coordinates than are drawn, every iteration is the same."""
    centred = x - x.mean(0)
    v = np.linalg.svd(centred)[2][0]
    scores = (centred @ v) ** 2
    order = sorted(range(len(x)), key=lambda i: (scores[i], i))
    return x[order[: len(x) - f]].mean(0)


def fltrust(x, f, reference):
    g0 = np.linalg.norm(reference)
    trust = [max(0.0, float(y @ reference / (np.linalg.norm(y) * g0))) for y in x]
    return sum(t * g0 / np.linalg.norm(y) * y for t, y in zip(trust, x, strict=True)) / sum(trust)


def foolsgold(x, f, history):
    n = len(x)
    unit = history / np.linalg.norm(history, axis=1, keepdims=True)
    cs = unit @ unit.T - np.eye(n)
    maxcs = cs.max(axis=1) + 1e-5
    for i in range(n):
        for j in range(n):
            if i != j and maxcs[i] < maxcs[j]:
                cs[i, j] *= maxcs[i] / maxcs[j]
    w = np.clip(1 - cs.max(axis=1), 0, 1)
    w = w / w.max()
    w[w == 1] = 0.99
    w = np.clip(np.log(w / (1 - w) + 1e-5) + 0.5, 0, 1)
    return (w[:, None] * x).sum(0)


def _clip(x, radius):
    return np.array([y * min(1, radius / max(np.linalg.norm(y), 1e-300)) for y in x])


def nnm(x, f):
    rows = []
    for y in x:
        order = sorted(range(len(x)), key=lambda j: (np.linalg.norm(y - x[j]), j))
        rows.append(x[order[: len(x) - f]].mean(0))
    return np.array(rows)


def clipping(x, f, radius):
    return _clip(x, radius)


def arc(x, f):
    n = len(x)
    k = math.floor(2 * (f / n) * (n - f))
    return _clip(x, sorted((float(np.linalg.norm(y)) for y in x), reverse=True)[k])


def _weights(counts, f):
    """The largest limit, found by bisection, at which any f inputs weigh at most f / (2f + 1) of all."""
    low, high = 0.0, 2.0 * np.median(counts)
    if len(counts) * high == 0:
        return np.ones(len(counts))
    for limit in [high, *[None] * 200]:
        limit = (low + high) / 2 if limit is None else limit
        if np.minimum(counts, limit).sum() >= (2 * f + 1) * limit * (1 - 1e-12):
            low = limit
        else:
            high = limit
    return np.minimum(counts, low)


def _by_weight(values, weights):
    order = np.argsort(values, kind="stable")
    return values[order], weights[order]


def weighted_median(x, f, counts):
    out = np.empty(x.shape[1])
    for c in range(x.shape[1]):
        values, weights = _by_weight(x[:, c], _weights(counts, f))
        total, slack = weights.sum(), 1e-9 * weights.sum()
        below = next(v for i, v in enumerate(values) if weights[: i + 1].sum() >= total / 2 - slack)
        above = next(v for i, v in enumerate(values) if weights[: i + 1].sum() > total / 2 + slack)
        out[c] = (below + above) / 2
    return out


def weighted_trimmed_mean(x, f, counts):
    out = np.empty(x.shape[1])
    for c in range(x.shape[1]):
        values, weights = _by_weight(x[:, c], _weights(counts, f))
        for ends in (range(len(weights)), reversed(range(len(weights)))):
            left = np.sort(_weights(counts, f))[::-1][:f].sum()
            for i in ends:
                taken = min(left, weights[i])
                weights[i] -= taken
                left -= taken
        out[c] = (weights * values).sum() / weights.sum()
    return out


def weighted_geometric_median(x, f, counts):
    return geometric_median(x, f, mass=_weights(counts, f))
