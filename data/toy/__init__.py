"""A toy genome: a few million synthetic bases that have what real DNA has, and whose floor is known
because we made them.

Its layers, each written over those before it, together with the bits that its bases cost the
process that drew them:
  background   an order-4 chain, alike on both strands: regions of lower and higher GC with CpG
               depleted, and CpG islands
  elements     most of them in islands: pairs of 12-base sites, the first drawn from one of a few
               weak motifs, the second repeating it 24 bases on, further than any Markov order here
               looks back; either strand; background between
  repeats      lower-case: copies of a few families, cut at the 5' end, with substitutions and
               indels by age, either strand
  tandems      lower-case: a unit of 2 to 24 bases again and again, imperfectly
  gaps         N's at the ends and inside, and a few single ones

The oracle's bits of a base are -log2 of its probability given what the generator knew beside the
bases: the layer, the tables, the consensus and the place in it, the age, the background underneath.
A model has to infer all that from the bases before, so none reaches the oracle, and how far it
stays is partly the worth of that knowledge.

The numbers are drawn one after the other from one generator: to change the order of the draws, or
to add one, makes another genome of every seed.
"""

from dataclasses import dataclass

import numpy as np

from data import REPEAT, N

SPLITS = {  # bases of each chromosome
    "train": {"chr1": 1.2e6, "chr2": 1.0e6, "chr3": 0.8e6},
    "val": {"chr21": 0.4e6},
    "test": {"chr22": 0.8e6},
}
STATES = (  # of the background: weight of G and of C, weight of CpG
    (0.65, 0.25),
    (0.8, 0.25),
    (1.05, 0.3),
    (1.6, 1.2),
)
ISLAND = len(STATES) - 1  # the last state is that of CpG islands
REGION = 10000  # each of this many bases has one of the other states
SLOT = 1500  # each of this many bases holds one element or one gap
MOTIFS = 8
WIDTH = 12  # bases in a site
DISTANCE = 24  # from a site's start to the start of the one that repeats it
FAMILIES = (250, 283, 316, 350)  # lengths of the repeats' consensus sequences
AGES = (0.10, 0.25)  # share of substituted bases in the youngest and in the oldest copies
C, G = 1, 2  # tokens


@dataclass
class Library:
    """What all chromosomes share."""

    tables: np.ndarray  # (states, 256, 4): P(base | state, the last four bases as a number)
    motifs: np.ndarray  # (MOTIFS, WIDTH) bases
    doubt: np.ndarray  # (MOTIFS, WIDTH): how often a site has another base there
    families: list  # consensus sequences of the repeats


def library(rng):
    """Draw a Library."""
    tables = background_tables(rng)
    motifs = rng.integers(0, 4, (MOTIFS, WIDTH))
    doubt = rng.uniform(0.05, 0.4, (MOTIFS, WIDTH))
    tail = [0] * 12  # poly-A
    families = [np.append(rng.integers(0, 4, n - 12), tail) for n in FAMILIES]
    return Library(tables, motifs, doubt, families)


def background_tables(rng):
    """(states, 256, 4): the order-4 chain of each state.

    A sequence's probability is made the product of its 5-mers' weights, up to a constant. A 5-mer
    weighs what its reverse complement does, so both strands look alike.
    """
    taste = 0.06 * rng.standard_normal((4,) * 5) + 0.1 * rng.standard_normal((4, 4))
    taste = (taste + np.flip(taste).transpose()) / 2**0.5
    tables = []
    for gc_weight, cpg_weight in STATES:
        weight = np.exp(taste) * np.array([1, gc_weight, gc_weight, 1])
        weight[:, :, :, C, G] *= cpg_weight
        weight = weight.reshape(256, 4)
        # The dominant right eigenvector of the weights (Perron), by power iteration, turns them
        # into transition probabilities.
        right = np.ones(256)
        for _ in range(100):
            ahead = weight * np.tile(right.reshape(64, 4), (4, 1))
            right = ahead.sum(1) / ahead.sum(1).max()
        tables.append(ahead / ahead.sum(1, keepdims=True))
    return np.array(tables)


def background(rng, tables, state, lanes=256):
    """(n,) states -> (n,) bases and their bits. Drawn in lanes side by side, which is faster, each
    from a context of its own.
    """
    n = len(state)
    steps = -(-n // lanes)  # rounded up
    state = np.resize(state, (lanes, steps))
    context = rng.integers(0, 256, lanes)  # the last four bases as a number
    draws = rng.random((steps, lanes, 1))
    edges = tables.cumsum(-1)[..., :3]
    bases = np.empty((lanes, steps), np.uint8)
    bits = np.empty((lanes, steps))
    for i in range(steps):
        base = (draws[i] > edges[state[:, i], context]).sum(1)
        bases[:, i] = base
        bits[:, i] = -np.log2(tables[state[:, i], context, base])
        context = (context * 4 + base) % 256
    return bases.ravel()[:n], bits.ravel()[:n]


def copy(rng, bases, rate):
    """bases, each replaced by one of the other three with probability rate (a number, or one for
    each); and the bits of that.
    """
    changed = rng.random(len(bases)) < rate
    others = (bases + rng.integers(1, 4, len(bases))) % 4
    probability = np.where(changed, rate / 3, 1 - rate)
    return np.where(changed, others, bases), -np.log2(probability)


class Chromosome:
    """A chromosome of about n bases while its layers are written: bases and bits, (n,)."""

    def __init__(self, rng, n, library):
        self.rng = rng
        self.library = library
        self.slots = n // SLOT
        self.n = self.slots * SLOT
        inner_gaps = rng.choice(self.slots, self.slots // 40, replace=False).tolist()
        self.gaps = sorted({0, self.slots - 1, *inner_gaps})  # slots
        self.elements = []  # (start, end, whether in an island)
        self.taken = np.zeros(self.n, bool)  # where no repeat may lie
        self.bases, self.bits = background(rng, library.tables, self.place_elements())

    def place_elements(self):
        """Choose where the elements lie, and return the background's (n,) states there and
        elsewhere.
        """
        rng = self.rng
        regions = rng.integers(0, ISLAND, self.n // REGION + 1)
        state = np.repeat(regions, REGION)[: self.n]
        for slot in range(self.slots):
            if slot in self.gaps:
                continue
            start = slot * SLOT + int(rng.integers(200, SLOT - 550))
            end = start + int(rng.integers(150, 351))
            in_island = bool(rng.random() < 0.6)
            self.elements.append((start, end, in_island))
            before, after = rng.integers(50, 200, 2)  # an island reaches further than its element
            if in_island:
                self.taken[start - before : end + after] = True
                state[start - before : end + after] = ISLAND
            else:
                self.taken[start:end] = True
        return state

    def put(self, start, new, cost, reverse=False, flag=0):
        """Write bases and their bits from start on, as the other strand if reverse. flag: REPEAT or
        0.
        """
        if reverse:
            new = 3 - new[::-1]
            cost = cost[::-1]
        end = start + len(new)
        self.bases[start:end] = new | flag
        self.bits[start:end] = cost

    def add_sites(self):
        """Pairs of sites in the elements, in half of the places for them, one at least."""
        rng = self.rng
        for start, end, _ in self.elements:
            places = rng.permutation((end - start) // 50)
            used = max(1, rng.binomial(len(places), 0.5))
            for place in places[:used].tolist():
                motif = rng.integers(MOTIFS)
                reverse = rng.random() < 0.5
                left = start + 50 * place + int(rng.integers(15))
                right = left + DISTANCE
                first, cost = copy(rng, self.library.motifs[motif], self.library.doubt[motif])
                self.put(right if reverse else left, first, cost, reverse)
                second, cost = copy(rng, first, 0.05)
                self.put(left if reverse else right, second, cost, reverse)

    def add_repeats(self):
        """Copies of the families, the young over the old."""
        rng = self.rng
        families = self.library.families
        ages = np.sort(rng.uniform(*AGES, self.n // 200))[::-1]
        for age in ages:
            family = families[rng.integers(len(families))]
            drift = rng.random(len(family))
            times = np.ones(len(family), int)  # how often each base of the consensus is copied
            times[drift < age / 20] = 2
            times[drift > 1 - age / 20] = 0
            source = np.repeat(np.arange(len(family)), times)
            source = source[int(rng.integers(len(source) * 3 // 4)) :]  # cut at the 5' end
            start = int(rng.integers(self.n - len(source)))
            if not self.taken[start : start + len(source)].any():
                new, cost = copy(rng, family[source], age)
                self.put(start, new, cost, rng.random() < 0.5, REPEAT)

    def add_tandems(self):
        """A unit again and again, imperfectly."""
        rng = self.rng
        for _ in range(self.n // 2000):
            unit = rng.integers(0, 4, rng.choice([2, 3, 4, 6, 12, 24]))
            length = int(rng.integers(30, 200))
            start = int(rng.integers(self.n - length))
            if not self.taken[start : start + length].any():
                rate = rng.uniform(0.02, 0.1)
                new, cost = copy(rng, np.resize(unit, length), rate)
                self.put(start, new, cost, flag=REPEAT)

    def add_gaps(self):
        """Single N's, gaps in their slots and at both ends."""
        rng = self.rng
        single = rng.integers(0, self.n, self.n // 50000)
        self.bases[single[~self.taken[single]]] = N
        for slot in self.gaps:
            start = slot * SLOT + 450
            self.bases[start : start + int(rng.integers(50, 600))] = N
        self.bases[:1000] = N
        self.bases[-1000:] = N
        self.bits[self.bases == N] = np.nan


def chromosome(rng, n, library):
    """About n bases: their bytes, their bits (nan at N), and the elements [(start, end, whether in
    an island)].
    """
    made = Chromosome(rng, n, library)
    made.add_sites()
    made.add_repeats()
    made.add_tandems()
    made.add_gaps()
    return made.bases, made.bits, made.elements


def generate(seed=1, scale=1.0):
    """{chromosome: (bases, bits, elements)}, a pure function of the seed and of the scale, 1 for
    the lengths in SPLITS.
    """
    rng = np.random.default_rng(seed)
    shared = library(rng)
    genome = {}
    for chroms in SPLITS.values():
        for name, n in chroms.items():
            genome[name] = chromosome(rng, int(n * scale), shared)
    return genome


def oracle(*parts):
    """{all, repeats, unique: the oracle's bits per base; bases: how many of each} over some of
    generate()'s values.
    """
    bases = np.concatenate([part[0] for part in parts])
    bits = np.concatenate([part[1] for part in parts])
    masks = {"all": bases != N, "repeats": bases >= REPEAT, "unique": bases < N}
    found = {key: round(float(bits[mask].mean()), 5) for key, mask in masks.items()}
    found["bases"] = {key: int(mask.sum()) for key, mask in masks.items()}
    return found
