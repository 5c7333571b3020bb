"""The pairs of Task 1: each element in its window of the genome, and its control, the same window
with the element shuffled. Bit-identical to DART-Eval's.
"""

import numpy as np

from dart.elements import WINDOW
from dart.progress import bar
from dart.shuffle import official_seed, shuffle_paths
from data import N, reverse_complement

# What the official FASTA has as N and UCSC's hg38 has not (1-based, inclusive): second copies of
# centromeric arrays, and chrY's pseudoautosomal regions. From NCBI's file
# unmasked_cognates_of_masked_CEN_PAR.txt, neighbours joined where only a gap of 100 is between.
MASKED = [
    ("chr5", 47309185, 49591369),
    ("chr14", 16000001, 16022537),
    ("chr14", 16140628, 16400063),
    ("chr14", 16404449, 18173523),
    ("chr19", 24498981, 24891256),
    ("chr19", 24908690, 27190874),
    ("chr21", 10864561, 12915808),
    ("chr22", 12954789, 12986171),
    ("chr22", 12994028, 13011653),
    ("chr22", 13014131, 15054318),
    ("chrY", 10001, 2781479),
    ("chrY", 56887903, 57217415),
]


def window_starts(elements):
    """Where the elements' windows start, (M,); below 0 if one hangs over its chromosome's start."""
    return elements.start - (WINDOW - (elements.end - elements.start)) // 2


def make_pairs(genome, elements, chunk=1024):
    """((M, 2, WINDOW) uint8 bases A 0 to T 3: each window and its control, as they are scored; how
    many windows hold N or hang over a chromosome's end).

    chunk: elements at a time.
    """
    pairs = np.empty((len(elements), 2, WINDOW), np.uint8)
    holes = 0
    for i in bar(range(0, len(elements), chunk), "pairs"):
        some = elements[i : i + chunk]
        windows = fetch_windows(genome, some)
        both = np.stack((windows, make_controls(windows, some)), 1)
        both[some.flip] = reverse_complement(both[some.flip])
        pairs[i : i + chunk] = np.where(both == N, 0, both)  # N is scored as A on either strand
        holes += int((windows == N).any(1).sum())
    return pairs, holes


def fetch_windows(genome, elements):
    """(M, WINDOW) uint8 bases, N beyond a chromosome's ends."""
    rows = []
    for chrom, start in zip(elements.chrom, window_starts(elements).tolist()):
        rows.append(genome.fetch(chrom, start, start + WINDOW))
    return np.stack(rows) & 7


def make_controls(windows, elements):
    """(M, WINDOW) windows -> their controls: the element shuffled, its flanks as they are."""
    low = elements.start - window_starts(elements)
    high = elements.end - window_starts(elements)
    position = np.arange(WINDOW)
    inside = (position >= low[:, None]) & (position < high[:, None])
    filled = np.where(inside & (windows == N), 0, windows)  # the official shuffle makes N an A
    places = zip(elements.chrom, elements.start.tolist(), elements.end.tolist())
    seeds = [official_seed(chrom, start, end) for chrom, start, end in places]
    return np.take_along_axis(filled, shuffle_paths(filled, low, high, seeds), 1)


def unmasked(genome, elements):
    """How many windows hold bases of hg38 where the official FASTA has N."""
    starts = window_starts(elements)
    hit = np.zeros(len(elements), bool)
    for chrom, first, last in MASKED:
        reach = (starts < last) & (starts + WINDOW >= first)
        for i in np.flatnonzero((elements.chrom == chrom) & reach):
            start = max(starts[i], first - 1)
            end = min(starts[i] + WINDOW, last)
            bases = genome.fetch(chrom, start, end) & 7
            hit[i] = (bases != N).any()
    return int(hit.sum())
