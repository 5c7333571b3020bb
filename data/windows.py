"""The windows that training and validation read from a genome's bytes."""

import numpy as np

from data.genome import N, reverse_complement

SEGMENT = 20480  # validation is made of whole segments of this many bases: 20 x 1,024 = 5 x 4,096


def _cut(bases, starts, low, high, block_size):
    """(len(starts), block_size) copies of bases[start:start + block_size], N outside [low, high)."""
    out = np.full((len(starts), block_size), N, np.uint8)
    for row, start, lo, hi in zip(out, starts, low, high):
        a, b = max(start, lo), min(start + block_size, hi)
        if a < b:
            row[a - start:b - start] = bases[a:b]
    return out


class Windows:
    """Training windows: batch(step) is a pure function of (seed, step), the same for any number of processes.

    Each epoch tiles every stretch with windows of block_size from a phase of its own, so each base is seen once an epoch;
    what overhangs a stretch is N. Order is random, and a window is reverse-complemented with probability rc. A stretch
    always has windows enough for every phase, so that step -> (epoch, index) is arithmetic; some may be all N.
    """

    def __init__(self, bases, stretches, block_size, per_step, seed, rc=0.5):
        self.bases, self.block_size, self.per_step, self.seed, self.rc = bases, block_size, per_step, seed, rc
        self.low, self.high = stretches.T
        windows = (self.high - self.low + 2 * block_size - 2) // block_size
        self.first = np.cumsum(windows) - windows
        self.per_epoch = int(windows.sum())
        self._epoch = (None,)

    def _draw(self, epoch):
        if self._epoch[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch))
            phase = rng.integers(0, self.block_size, len(self.low))
            self._epoch = (epoch, phase, rng.permutation(self.per_epoch), rng.random(self.per_epoch) < self.rc)
        return self._epoch[1:]

    def at(self, step):
        """Where step's windows lie: starts, low, high (positions in the .bin) and flipped, each (per_step,)."""
        index = step * self.per_step + np.arange(self.per_step)
        parts = []
        for epoch in np.unique(index // self.per_epoch):
            phase, order, flip = self._draw(int(epoch))
            mine = index[index // self.per_epoch == epoch] % self.per_epoch
            window = order[mine]
            s = np.searchsorted(self.first, window, "right") - 1
            start = self.low[s] - phase[s] + (window - self.first[s]) * self.block_size
            parts.append((start, self.low[s], self.high[s], flip[mine]))
        return tuple(np.concatenate(column) for column in zip(*parts))

    def batch(self, step):
        """The (per_step, block_size) uint8 windows of a step, for the whole world of processes."""
        start, low, high, flipped = self.at(step)
        out = _cut(self.bases, start, low, high, self.block_size)
        out[flipped] = reverse_complement(out[flipped])
        return out


def share(rows, rank, world):
    """The rows of a step that fall to one process of `world`; shares differ by at most one row."""
    return rows[rank * len(rows) // world:(rank + 1) * len(rows) // world]


def eval_windows(bases, stretches, block_size, eval_tokens):
    """Fixed windows, (M, block_size) uint8, for scoring about eval_tokens bases spread evenly over a split.

    The bases are whole segments, the same ones whatever block_size is; a segment's last window is filled up with N.
    """
    segments = np.array([(a, min(a + SEGMENT, hi)) for lo, hi in stretches for a in range(lo, hi, SEGMENT)], np.int64).reshape(-1, 2)
    wanted = min(len(segments), max(1, round(eval_tokens / SEGMENT)))
    chosen = segments[np.arange(wanted) * len(segments) // max(wanted, 1)]
    rows = np.array([(a, lo, hi) for lo, hi in chosen for a in range(lo, hi, block_size)], np.int64).reshape(-1, 3)
    return _cut(bases, *rows.T, block_size)
