"""A toy genome: a few million synthetic bases that have what real DNA has, and whose floor is known because we made them.

Five layers, each written over the one before, with the bits that every base cost the process that drew it:
  background   an order-4 chain, the same read from either strand; regions of lower and higher GC, CpG depleted; CpG islands
  elements     in islands or not, upper-case: pairs of 10-bp motifs in which the first decides the second and where it starts,
               24 to 34 bp on, beyond what any Markov order here sees; either strand; between them the background goes on
  repeats      lower-case: copies of a few families, cut at the 5' end, with substitutions and indels by age, either strand
  tandems      lower-case: a unit of 2 to 24 bases again and again, imperfectly
  gaps         runs of N at the ends and inside, and a few single N's
The oracle's bits are -log2 of the probability of each base given what the generator knew beside the bases: which process it
was in, the tables, the consensus and the position in it, the copy's age. A model has to infer all that from the bases, so no
model reaches the oracle; the distance to it is not a model's fault alone.
"""
import gzip
import json
from pathlib import Path

import numpy as np

from data import N, REPEAT, decode

LENGTHS = {"chr1": 1_200_000, "chr2": 1_000_000, "chr3": 800_000, "chr21": 400_000, "chr22": 800_000}  # at scale 1
SLOT = 1500                    # one element, or one gap, lies in each slot of this many bases
MOTIFS, WIDTH = 8, 10          # the vocabulary of the elements
FAMILIES = 4
AGES = 0.10, 0.25               # share of substituted bases in the youngest and the oldest repeat copies


def background_tables(rng, states=((0.8, 0.25), (1.0, 0.25), (1.25, 0.3), (1.6, 1.2))):
    """(states, 256, 4) probabilities of a base after four others. states: (weight of G and C, of CpG); the last are islands.

    A sequence's probability is a product of 5-mer weights equal for both strands, turned into transitions by the Perron vector.
    """
    taste = 0.06 * rng.standard_normal((4,) * 5) + 0.2 * rng.standard_normal((4, 4))
    taste = (taste + np.flip(taste).transpose(4, 3, 2, 1, 0)) / 2 ** 0.5
    tables = []
    for gc, cpg in states:
        weight = np.exp(taste) * np.array([1, gc, gc, 1])
        weight[:, :, :, 1, 2] *= cpg
        weight, right = weight.reshape(256, 4), np.ones(256)
        for _ in range(100):
            ahead = weight * np.tile(right.reshape(64, 4), (4, 1))
            right = ahead.sum(1) / ahead.sum(1).max()
        tables.append(ahead / ahead.sum(1, keepdims=True))
    return np.array(tables)


def background(rng, tables, state, lanes=256):
    """(n,) states -> (n,) bases and their bits; drawn in lanes side by side, each from a random context."""
    n = len(state)
    steps = -(-n // lanes)
    state = np.append(state, np.zeros(steps * lanes - n, int)).reshape(lanes, steps)
    context, out, bits = rng.integers(0, 256, lanes), np.empty((lanes, steps), np.uint8), np.empty((lanes, steps), np.float32)
    edges, draws = tables.cumsum(-1), rng.random((steps, lanes))
    for i in range(steps):
        base = (draws[i][:, None] > edges[state[:, i], context, :3]).sum(1)
        out[:, i], bits[:, i] = base, -np.log2(tables[state[:, i], context, base])
        context = (context * 4 + base) % 256
    return out.ravel()[:n], bits.ravel()[:n]


def noisy_copy(rng, bases, rate):
    """bases, each replaced by one of the other three with probability `rate` (a number or an array), and the bits of that."""
    changed = rng.random(len(bases)) < rate
    return np.where(changed, (bases + rng.integers(1, 4, len(bases))) % 4, bases), -np.log2(np.where(changed, rate / 3, 1 - rate))


def library(rng):
    """What all chromosomes share: background tables, motifs with their doubt per base, their partners, repeat families."""
    motifs = rng.integers(0, 4, (MOTIFS, WIDTH)), rng.uniform(0.02, 0.25, (MOTIFS, WIDTH))
    grammar = np.roll(np.arange(MOTIFS), 1), rng.permutation(np.linspace(24, 34, MOTIFS).astype(int))
    families = [rng.integers(0, 4, n) for n in np.linspace(250, 350, FAMILIES).astype(int)]
    for family in families:
        family[-12:] = 0  # the poly-A tail of a retroposon
    return background_tables(rng), motifs, grammar, families


def chromosome(rng, n, library):
    """One chromosome of about n bases: (bases with the repeat bit, bits, [(start, end, in an island)])."""
    tables, (motifs, doubt), (partner, distance), families = library
    slots = n // SLOT
    n = slots * SLOT
    # where things lie: gaps and elements first, since the rest goes round them
    gap_slots = {0, slots - 1, *rng.choice(slots, slots // 40, replace=False).tolist()}
    state = np.repeat(rng.integers(0, len(tables) - 1, n // 10000 + 1), 10000)[:n]  # isochores
    elements, taken = [], np.zeros(n, bool)
    for slot in range(slots):
        if slot not in gap_slots:
            start = slot * SLOT + int(rng.integers(200, SLOT - 550))
            end, island = start + int(rng.integers(150, 351)), bool(rng.random() < 0.6)
            around = slice(start - int(rng.integers(50, 200)), end + int(rng.integers(50, 200))) if island else slice(start, end)
            elements.append((start, end, island))
            taken[around] = True
            if island:
                state[around] = len(tables) - 1
    bases, bits = background(rng, tables, state)

    def write(start, new, cost):
        bases[start:start + len(new)], bits[start:start + len(new)] = new, cost

    for start, end, _ in elements:
        sites = rng.permutation((end - start) // 50)
        for site in sites[:max(1, rng.binomial(len(sites), 0.5))]:
            first, reverse = int(rng.integers(MOTIFS)), rng.random() < 0.5
            span = int(distance[first]) + WIDTH
            at = start + 50 * int(site) + int(rng.integers(0, 51 - span))
            for motif, offset in (first, 0), (partner[first], distance[first]):
                new, cost = noisy_copy(rng, motifs[motif], doubt[motif])
                if reverse:
                    new, cost, offset = 3 - new[::-1], cost[::-1], span - WIDTH - offset
                write(at + offset, new, cost)

    for age in np.sort(rng.uniform(*AGES, n // 200))[::-1]:  # the young lie over the old
        family, reverse = families[rng.integers(len(families))], rng.random() < 0.5
        family = family[int(rng.integers(0, len(family) * 3 // 4)):]
        drift = rng.random(len(family))
        where = np.repeat(np.arange(len(family)), 1 + (drift < age / 20).astype(int) - (drift > 1 - age / 20))
        start = int(rng.integers(0, n - len(where)))
        if not taken[start:start + len(where)].any():
            new, cost = noisy_copy(rng, family[where], age)
            write(start, *((3 - new[::-1], cost[::-1]) if reverse else (new, cost)))
            bases[start:start + len(where)] |= REPEAT
    for _ in range(n // 3000):
        unit = rng.integers(0, 4, int(rng.choice([2, 3, 4, 6, 12, 18, 24])))
        length, start = int(rng.integers(30, 200)), int(rng.integers(0, n - 200))
        if not taken[start:start + length].any():
            write(start, *noisy_copy(rng, np.resize(unit, length), rng.uniform(0.02, 0.1)))
            bases[start:start + length] |= REPEAT

    single = rng.choice(n, n // 50000, replace=False)
    bases[single[~taken[single]]] = N
    for slot in gap_slots:
        start = slot * SLOT + 450
        bases[start:start + int(rng.integers(50, 600))] = N
    bases[:1000] = bases[-1000:] = N
    return bases, np.where(bases & 7 == N, np.nan, bits), elements
