"""The windows of block_size bases that training and validation read."""

import numpy as np

from data.genome import N, is_base, reverse_complement

SEGMENT = 20480  # validation is made of whole segments of this many bases: 20 x 1,024 = 5 x 4,096


class Windows:
    """Training windows of a genome, numbered from the run's beginning. Which bases window i holds
    depends on the seed and on i alone: it is the same for any number of processes, and a run that
    is resumed needs no state of the sampler.

    An epoch covers every stretch with windows laid end to end, so it reads each base once (but for
    those that jitter leaves out). The phase is how many bases before its stretch the first window
    begins, drawn anew for each epoch:

        stretch              AAAAAAAAAAAAAAAAAAAAAAA
        windows   |--phase---|
                  [ window 0     )[ window 1     )[ window 2     )

    What hangs over a stretch's ends is N. A phase below 0, which only jitter draws, begins within
    the stretch. The windows come in random order, each on the other strand with probability rc.

    bases: (n,) uint8. stretches: (S, 2) int64, as Genome.stretches gives them. stream: tells apart
    the draws of genomes that are trained on together. jitter: a stretch that fits into one window
    loses up to so many bases at its beginning, as it is read, drawn anew for each epoch.
    """

    def __init__(self, bases, stretches, block_size, seed, rc=0.5, stream=0, jitter=0):
        self.bases = bases
        self.block_size = block_size
        self.seed = seed
        self.rc = rc
        self.stream = stream
        self.low, self.high = stretches.T
        lengths = self.high - self.low
        windows, self.phase_from, self.phase_to = windows_per_stretch(lengths, block_size, jitter)
        self.first = np.cumsum(windows) - windows  # number of each stretch's first window
        self.per_epoch = int(windows.sum())
        self.fill = (self.high - self.low).sum() / max(self.per_epoch * block_size, 1)
        self._epoch = None  # the epoch drawn last
        self._draws = None  # and what was drawn, since a long permutation takes a while

    def _draw(self, epoch):
        """An epoch's (phase of each stretch, order of the windows, whether each is reversed)."""
        if epoch != self._epoch:
            rng = np.random.default_rng((self.seed, epoch, self.stream))
            phase = rng.integers(self.phase_from, self.phase_to, endpoint=True)
            order = rng.permutation(self.per_epoch)
            flip = rng.random(self.per_epoch) < self.rc
            self._epoch = epoch
            self._draws = (phase, order, flip)
        return self._draws

    def places_of(self, first, count):
        """Where windows first ... first + count - 1 of the run lie: (starts, low, high, flipped),
        each (count,). A window is [start, start + block_size) in the .bin, its stretch is
        [low, high); flipped: it is read on the other strand.
        """
        index = first + np.arange(count)
        epochs = index // self.per_epoch
        starts = np.empty(count, np.int64)
        phases = np.empty(count, np.int64)
        stretch = np.empty(count, np.int64)
        flipped = np.empty(count, bool)
        for epoch in np.unique(epochs):  # a step may end one epoch and begin the next
            phase, order, flip = self._draw(int(epoch))
            mine = epochs == epoch
            nth = index[mine] % self.per_epoch
            window = order[nth]
            s = np.searchsorted(self.first, window, "right") - 1
            starts[mine] = self.low[s] - phase[s] + (window - self.first[s]) * self.block_size
            phases[mine] = phase[s]
            stretch[mine] = s
            flipped[mine] = flip[nth]
        low, high = self.low[stretch], self.high[stretch]
        # A window that holds all of a short stretch has N behind its bases on either strand. So one
        # that is read on the other strand ends with the stretch (jitter bases before its end).
        turned = flipped & (high - low <= self.block_size)
        starts[turned] = (high + phases)[turned] - self.block_size
        return starts, low, high, flipped

    def read(self, first, count):
        """The (count, block_size) uint8 windows first ... first + count - 1 of the run."""
        starts, low, high, flipped = self.places_of(first, count)
        out = np.full((count, self.block_size), N, np.uint8)
        for row, start, lo, hi in zip(out, starts, low, high):
            begin = max(start, lo)
            end = min(start + self.block_size, hi)
            row[begin - start : end - start] = self.bases[begin:end]
        out[flipped] = reverse_complement(out[flipped])
        return out


def windows_per_stretch(lengths, block_size, jitter=0):
    """How stretches of these lengths are covered by windows: (windows, lowest and highest phase) of
    each, (S,) int64.

    A stretch that fits into one window has one, which begins with it on either strand, or up to
    jitter bases, at most half of it, within it: a phase below 0.

    A longer one needs one window more in some phases than in others: 10 bases in windows of 4 need
    3 in the phases 0 to 2 and 4 in phase 3. It gets the number that at least half of the phases
    need, here 3, and its phases are drawn among those alone. So the number of windows is the same
    in every epoch, which window a step reads is a division, and every window holds some of its
    stretch.
    """
    # in phase p it needs (length + p) / block_size windows, rounded up
    most = (lengths + 2 * block_size - 2) // block_size  # in the highest, block_size - 1
    enough = (most - 1) * block_size - lengths  # the highest phase that needs one window less
    takes_fewer = 2 * (enough + 1) >= block_size
    windows = np.where(takes_fewer, most - 1, most)
    phase_from = np.where(takes_fewer, 0, enough + 1)
    phase_to = np.where(takes_fewer, enough, block_size - 1)
    short = lengths <= block_size
    windows = np.where(short, 1, windows)
    phase_from = np.where(short, -np.minimum(jitter, lengths // 2), phase_from)
    phase_to = np.where(short, 0, phase_to)
    return windows, phase_from, phase_to


class Mixture:
    """The windows of each step of a run on genomes, and on regions of one: batch(step), over all
    processes.

    sources: a Windows for each of them. shares: of the windows of a run that come from each, sum 1.
    per_step: windows in a step. later: the shares from switch_step on, None if they stay.
    """

    def __init__(self, sources, shares, per_step, later=None, switch_step=0):
        self.sources = sources
        self.per_step = per_step
        self.shares = shares
        self.later = shares if later is None else later
        self.switch_step = switch_step

    def before(self, step):
        """How many windows of each source the steps before this one read."""
        early = min(step, self.switch_step)
        counts = divide(early * self.per_step, self.shares)
        more = divide((step - early) * self.per_step, self.later)
        return [a + b for a, b in zip(counts, more)]

    def batch(self, step):
        """The (per_step, block_size) uint8 windows of a step: those of the first source, then of
        the second, and so on.
        """
        rows = []
        for source, first, end in zip(self.sources, self.before(step), self.before(step + 1)):
            rows.append(source.read(first, end - first))
        return np.concatenate(rows)


def divide(total, shares):
    """`total` windows in these shares, sum 1, as a list of whole numbers. With a larger total no
    number is smaller, so the windows of a later step are later ones of each source.
    """
    counts = []
    rest = 1.0
    for share in shares[:-1]:
        counts.append(int((total - sum(counts)) * min(1.0, share / max(rest, 1e-12)) + 0.5))
        rest -= share
    counts.append(total - sum(counts))
    return counts


def quarters(batch):
    """(B, T) uint8 windows -> (B,) 0 to 4: how many quarters of a window, from its beginning, it
    takes to hold all of its bases; the rest is N.
    """
    real = is_base(batch)
    length = np.where(real.any(1), batch.shape[1] - real[:, ::-1].argmax(1), 0)
    return np.ceil(4 * length / batch.shape[1]).astype(np.int64)


def rows_of_process(rows, rank, world):
    """The rows of a step that fall to process `rank` of `world`; they differ by one row at most."""
    return rows[rank * len(rows) // world : (rank + 1) * len(rows) // world]


def eval_windows(bases, stretches, block_size, eval_tokens):
    """Fixed windows, (M, block_size) uint8, for scoring about eval_tokens bases.

    The bases are whole segments, or shorter stretches, spread evenly over the split, the same ones
    whatever block_size is, so that models of different contexts can be compared. A segment's last
    window is filled up with N.
    """
    segments = []
    for low, high in stretches.tolist():
        segments += _cut(low, high, SEGMENT)
    mean = (stretches[:, 1] - stretches[:, 0]).sum() / len(segments)  # bases in a segment
    wanted = min(len(segments), max(1, round(eval_tokens / mean)))
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
