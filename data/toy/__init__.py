"""A toy genome: a few million synthetic bases that have what real DNA has, and whose floor is known because we made them.

Its layers, each written over those before it, together with the bits that its bases cost the process that drew them:
  background   an order-4 chain, alike on both strands: regions of lower and higher GC with CpG depleted, and CpG islands
  elements     most of them in islands: pairs of 12-base sites, the first drawn from one of a few weak motifs, the second
               repeating it 24 bases on, further than any Markov order here looks back; either strand; background between
  repeats      lower-case: copies of a few families, cut at the 5' end, with substitutions and indels by age, either strand
  tandems      lower-case: a unit of 2 to 24 bases again and again, imperfectly
  gaps         N's at the ends and inside, and a few single ones
The oracle's bits of a base are -log2 of its probability given what the generator knew beside the bases: the layer, the
tables, the consensus and the place in it, the age, the background underneath. A model has to infer all that from the bases
before, so none reaches the oracle, and how far it stays is partly the worth of that knowledge.
"""
import numpy as np

from data import N, REPEAT

SPLITS = {"train": {"chr1": 1.2e6, "chr2": 1.0e6, "chr3": 0.8e6}, "val": {"chr21": 0.4e6}, "test": {"chr22": 0.8e6}}  # bases
STATES = (0.65, 0.25), (0.8, 0.25), (1.05, 0.3), (1.6, 1.2)  # of the background: weights of G and C, of CpG; last, islands
SLOT = 1500                          # each of this many bases holds one element or one gap
MOTIFS, WIDTH, DISTANCE = 8, 12, 24  # motifs, bases in a site, from a site's start to the start of the one that repeats it
FAMILIES = 250, 283, 316, 350        # lengths of the repeats' consensus sequences
AGES = 0.10, 0.25                    # share of substituted bases in the youngest and in the oldest copies


def library(rng):
    """What chromosomes share: (4, 256, 4) P(base | state, last four), motifs and their doubt per base, repeat families."""
    taste = 0.06 * rng.standard_normal((4,) * 5) + 0.1 * rng.standard_normal((4, 4))
    taste, tables = (taste + np.flip(taste).transpose()) / 2 ** 0.5, []  # a 5-mer weighs what its reverse complement does
    for gc, cpg in STATES:
        weight, right = np.exp(taste) * np.array([1, gc, gc, 1]), np.ones(256)
        weight[:, :, :, 1, 2] *= cpg
        for _ in range(100):  # Perron's vector turns the weights, whose product is a sequence's, into transitions
            ahead = weight.reshape(256, 4) * np.tile(right.reshape(64, 4), (4, 1))
            right = ahead.sum(1) / ahead.sum(1).max()
        tables.append(ahead / ahead.sum(1, keepdims=True))
    motifs = rng.integers(0, 4, (MOTIFS, WIDTH)), rng.uniform(0.05, 0.4, (MOTIFS, WIDTH))
    return np.array(tables), *motifs, [np.append(rng.integers(0, 4, n - 12), [0] * 12) for n in FAMILIES]  # a poly-A tail


def background(rng, tables, state, lanes=256):
    """(n,) states -> (n,) bases and their bits, drawn in lanes side by side, each from a context of its own."""
    n, steps = len(state), -(-len(state) // lanes)
    state, context, draws = np.resize(state, (lanes, steps)), rng.integers(0, 256, lanes), rng.random((steps, lanes, 1))
    bases, bits, edges = np.empty((lanes, steps), np.uint8), np.empty((lanes, steps)), tables.cumsum(-1)[..., :3]
    for i in range(steps):
        base = (draws[i] > edges[state[:, i], context]).sum(1)
        bases[:, i], bits[:, i] = base, -np.log2(tables[state[:, i], context, base])
        context = (context * 4 + base) % 256
    return bases.ravel()[:n], bits.ravel()[:n]


def copy(rng, bases, rate):
    """bases, each replaced by one of the other three with probability rate (a number, or one for each); the bits of that."""
    new = np.where(changed := rng.random(len(bases)) < rate, (bases + rng.integers(1, 4, len(bases))) % 4, bases)
    return new, -np.log2(np.where(changed, rate / 3, 1 - rate))


def chromosome(rng, n, library):
    """About n bases: their bytes, their bits (nan at N), and the elements [(start, end, whether in an island)]."""
    tables, motifs, doubt, families = library
    slots, elements = n // SLOT, []
    n, gaps = slots * SLOT, {0, slots - 1, *rng.choice(slots, slots // 40, replace=False).tolist()}
    state, taken = np.repeat(rng.integers(0, len(STATES) - 1, n // 10000 + 1), 10000)[:n], np.zeros(n, bool)
    for slot in sorted(set(range(slots)) - gaps):
        start = slot * SLOT + int(rng.integers(200, SLOT - 550))
        end, island = start + int(rng.integers(150, 351)), bool(rng.random() < 0.6)
        elements.append((start, end, island))
        low, high = (start, end) + rng.integers(50, 200, 2) * (-1, 1) * island
        taken[low:high], state[low:high] = True, len(STATES) - 1 if island else state[low:high]
    bases, bits = background(rng, tables, state)

    def put(start, new, cost, reverse=False, flag=0):
        new, cost = (3 - new[::-1], cost[::-1]) if reverse else (new, cost)
        bases[start:start + len(new)], bits[start:start + len(new)] = new | flag, cost

    for start, end, _ in elements:
        places = rng.permutation((end - start) // 50)
        for place in places[:max(1, rng.binomial(len(places), 0.5))].tolist():
            motif, reverse, at = rng.integers(MOTIFS), rng.random() < 0.5, start + 50 * place + int(rng.integers(15))
            first, cost = copy(rng, motifs[motif], doubt[motif])
            put(at + DISTANCE * reverse, first, cost, reverse)
            put(at + DISTANCE * (not reverse), *copy(rng, first, 0.05), reverse)
    for age in np.sort(rng.uniform(*AGES, n // 200))[::-1]:  # the young lie over the old
        family = families[rng.integers(len(families))]
        drift = rng.random(len(family))
        source = np.repeat(np.arange(len(family)), 1 + (drift < age / 20).astype(int) - (drift > 1 - age / 20))
        source = source[int(rng.integers(len(source) * 3 // 4)):]
        start = int(rng.integers(n - len(source)))
        if not taken[start:start + len(source)].any():
            put(start, *copy(rng, family[source], age), rng.random() < 0.5, REPEAT)
    for _ in range(n // 2000):
        unit, length = rng.integers(0, 4, rng.choice([2, 3, 4, 6, 12, 24])), int(rng.integers(30, 200))
        start = int(rng.integers(n - length))
        if not taken[start:start + length].any():
            put(start, *copy(rng, np.resize(unit, length), rng.uniform(0.02, 0.1)), flag=REPEAT)
    single = rng.integers(0, n, n // 50000)
    bases[single[~taken[single]]] = N
    for slot in sorted(gaps):
        bases[slot * SLOT + 450:][:int(rng.integers(50, 600))] = N
    bases[:1000] = bases[-1000:] = N
    return bases, np.where(bases == N, np.nan, bits), elements


def generate(seed=1, scale=1.0):
    """{chromosome: (bases, bits, elements)}, a pure function of the seed and of the scale, 1 for the lengths in SPLITS."""
    rng = np.random.default_rng(seed)
    shared = library(rng)
    return {name: chromosome(rng, int(n * scale), shared) for chroms in SPLITS.values() for name, n in chroms.items()}


def oracle(*parts):
    """{all, repeats, unique: the oracle's bits per base; bases: how many of each} over some of generate()'s values."""
    bases, bits = (np.concatenate(column) for column in list(zip(*parts))[:2])
    known = {"all": bases != N, "repeats": bases >= REPEAT, "unique": bases < N}
    mean = {key: round(float(bits[mask].mean()), 5) for key, mask in known.items()}
    return mean | {"bases": {key: int(mask.sum()) for key, mask in known.items()}}
