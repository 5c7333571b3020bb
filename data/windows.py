"""The windows of block_size bases that training and validation read."""

import numpy as np

from data.genome import N, reverse_complement

SEGMENT = 20480  # validation is made of whole segments of this many bases: 20 x 1,024 = 5 x 4,096


class Windows:
    """Training windows. batch(step) depends on the seed and the step alone: it is the same for any
    number of processes, and a run that is resumed needs no state of the sampler.

    An epoch covers every stretch with windows laid end to end, so it reads each base once. Where
    the first window begins, 0 to block_size - 1 bases before its stretch, is the stretch's phase,
    drawn anew for each epoch; what hangs over a stretch's ends is N. The windows come in random
    order, each on the other strand with probability rc.

    bases: (n,) uint8. stretches: (S, 2) int64, as Genome.stretches gives them. per_step: windows in
    a step, over all processes.
    """

    def __init__(self, bases, stretches, block_size, per_step, seed, rc=0.5):
        self.bases = bases
        self.block_size = block_size
        self.per_step = per_step
        self.seed = seed
        self.rc = rc
        self.low, self.high = stretches.T
        # Enough windows for every phase, though some may then be all N: so an epoch always has the
        # same number of them, and which window a step reads is a division, not a search.
        windows = (self.high - self.low + 2 * block_size - 2) // block_size
        self.first = np.cumsum(windows) - windows  # number of each stretch's first window
        self.per_epoch = int(windows.sum())
        self._epoch = None  # the epoch drawn last
        self._draws = None  # and what was drawn, since a long permutation takes a while

    def _draw(self, epoch):
        """An epoch's (phase of each stretch, order of the windows, whether each is reversed)."""
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch))
            phase = rng.integers(0, self.block_size, len(self.low))
            order = rng.permutation(self.per_epoch)
            flip = rng.random(self.per_epoch) < self.rc
            self._epoch = epoch
            self._draws = (phase, order, flip)
        return self._draws

    def at(self, step):
        """Where a step's windows lie: (starts, low, high, flipped), each (per_step,). A window is
        [start, start + block_size) in the .bin, its stretch is [low, high); flipped: it is read on
        the other strand.
        """
        index = step * self.per_step + np.arange(self.per_step)  # counted from the run's beginning
        epochs = index // self.per_epoch
        starts = np.empty(self.per_step, np.int64)
        stretch = np.empty(self.per_step, np.int64)
        flipped = np.empty(self.per_step, bool)
        for epoch in np.unique(epochs):  # a step may end one epoch and begin the next
            phase, order, flip = self._draw(int(epoch))
            mine = epochs == epoch
            turn = index[mine] % self.per_epoch
            window = order[turn]
            s = np.searchsorted(self.first, window, "right") - 1
            starts[mine] = self.low[s] - phase[s] + (window - self.first[s]) * self.block_size
            stretch[mine] = s
            flipped[mine] = flip[turn]
        return starts, self.low[stretch], self.high[stretch], flipped

    def batch(self, step):
        """The (per_step, block_size) uint8 windows of a step, over all processes."""
        starts, low, high, flipped = self.at(step)
        out = np.full((self.per_step, self.block_size), N, np.uint8)
        for row, start, lo, hi in zip(out, starts, low, high):
            first = max(start, lo)
            last = min(start + self.block_size, hi)
            if first < last:
                row[first - start : last - start] = self.bases[first:last]
        out[flipped] = reverse_complement(out[flipped])
        return out


def share(rows, rank, world):
    """The rows of a step that fall to process `rank` of `world`; shares differ by one row at
    most.
    """
    return rows[rank * len(rows) // world : (rank + 1) * len(rows) // world]


def eval_windows(bases, stretches, block_size, eval_tokens):
    """Fixed windows, (M, block_size) uint8, for scoring about eval_tokens bases.

    The bases are whole segments spread evenly over the split, the same ones whatever block_size is,
    so that models of different contexts can be compared. A segment's last window is filled up with
    N.
    """
    segments = []
    for low, high in stretches.tolist():
        segments += _cut(low, high, SEGMENT)
    wanted = min(len(segments), max(1, round(eval_tokens / SEGMENT)))
    windows = []
    for i in range(wanted):
        low, high = segments[i * len(segments) // wanted]
        windows += _cut(low, high, block_size)
    out = np.full((len(windows), block_size), N, np.uint8)
    for row, (start, end) in zip(out, windows):
        row[: end - start] = bases[start:end]
    return out


def _cut(low, high, size):
    """[low, high) in pieces of `size`: a list of (start, end). The last one may be shorter."""
    return [(start, min(start + size, high)) for start in range(low, high, size)]
