"""Shares, areas and correlations with their 95 % intervals: what the tasks are judged by."""

import math

import numpy as np

TIE = 1e-3  # nats: fp32 rounding makes about 1e-4 of equal sums, real differences are around 10
Z = 1.959964  # of a 95 % interval, of the normal distribution


def rate(difference, tie=TIE):
    """Accuracy over (M,) differences, real minus control, with its 95 % interval (Wilson's score).
    A difference up to `tie` counts as wrong.
    """
    n = len(difference)
    p = float((difference > tie).mean())
    q = Z**2 / n
    middle = (p + q / 2) / (1 + q)
    half = math.sqrt(q * p * (1 - p) + q * q / 4) / (1 + q)
    return {
        "pairs": n,
        "accuracy": p,
        "low": max(0.0, middle - half),
        "high": min(1.0, middle + half),
        "ties": int((abs(difference) <= tie).sum()),
        "median": float(np.median(difference)),
    }


def share_above(accuracy, threshold):
    """The share of (M,) accuracies above a threshold, with its 95 % interval (Wilson's score)."""
    rated = rate(accuracy - threshold, tie=0)
    return {"share": rated["accuracy"], "low": rated["low"], "high": rated["high"]}


def ranks(values):
    """(n,) values -> (n,) their ranks from 1; equal values get the mean of their ranks."""
    _, which, count = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(count)
    return (last - (count - 1) / 2)[which]


def auroc(scores, positive):
    """The share of pairs of a positive and a control in which the positive scores higher, equal
    scores half, with its 95 % interval.

    scores: (n,); positive: (n,) bool.
    """
    P = int(positive.sum())
    C = len(positive) - P
    if P == 0 or C == 0:
        return {"value": None, "low": None, "high": None}
    area = float((ranks(scores)[positive].sum() - P * (P + 1) / 2) / (P * C))
    half = Z * area_error(area, P, C)
    return {"value": area, "low": max(0.0, area - half), "high": min(1.0, area + half)}


def area_error(area, P, C):
    """The standard error of an AUROC of P positives and C controls: Hanley and McNeil, Radiology
    143 (1982), formula 1.
    """
    two_positives = area / (2 - area)  # P(both of them are above one control)
    two_controls = 2 * area**2 / (1 + area)  # P(both of them are below one positive)
    variance = area * (1 - area)
    variance += (P - 1) * (two_positives - area**2)
    variance += (C - 1) * (two_controls - area**2)
    return math.sqrt(max(0.0, variance) / (P * C))


def average_precision(scores, positive):
    """The mean, over the positives, of the precision at their scores; equal scores are one
    threshold. scores: (n,); positive: (n,) bool. None if there is no positive.
    """
    if not positive.any():
        return None
    _, threshold, size = np.unique(-scores, return_inverse=True, return_counts=True)
    hits = np.bincount(threshold[positive], minlength=len(size))
    precision = np.cumsum(hits) / np.cumsum(size)
    return float((hits * precision).sum() / positive.sum())


def correlation(x, y):
    """Pearson's r of (n,) and (n,) numbers; None if there are fewer than two, or all are equal."""
    if len(x) < 2 or np.ptp(x) == 0 or np.ptp(y) == 0:
        return None
    dx = x - x.mean()
    dy = y - y.mean()
    return float((dx * dy).sum() / math.sqrt((dx**2).sum() * (dy**2).sum()))


def with_interval(r, n, variance):
    """A correlation r of n pairs with its 95 % interval by Fisher's z, whose variance is
    `variance` / (n - 3).
    """
    if r is None or n < 4:
        return {"value": r, "low": None, "high": None}
    z = math.atanh(min(max(r, -1 + 1e-15), 1 - 1e-15))  # it is infinite at 1
    half = Z * math.sqrt(variance / (n - 3))
    return {"value": r, "low": math.tanh(z - half), "high": math.tanh(z + half)}
