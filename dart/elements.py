"""The regulatory elements (cCREs) of Task 1: their BED, and which of them are for training,
selecting and testing.
"""

import math
from pathlib import Path

import numpy as np

from config import die, listed
from data import bed, regions
from data.files import check_regular

WINDOW = 350  # bases; an element sits in the middle of a window of this length

# DART-Eval's chromosomes
CHROMS = {
    "train": [f"chr{name}" for name in (1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, "X", "Y")],
    "val": [f"chr{name}" for name in (6, 21)],
    "test": [f"chr{name}" for name in (5, 10, 14, 18, 20, 22)],
}

# of ENCODE's list
OFFICIAL_ROWS = 2_348_854

FIELDS = [  # of an element
    ("chrom", object),
    ("start", int),  # 0-based, as in BED
    ("end", int),
    ("flip", bool),  # whether its window is read on the other strand
    ("kind", object),  # ENCODE's class, such as PLS or dELS; "" if the BED has none
]


# ---- the BED


def open_elements(genome, settings, said):
    """(the BED's path, its elements, {part: its rows of them}) as the settings of eval_dart.py have
    it. said: a list that gets lines on how it was read.
    """
    path = settings.ccre or find_ccre(genome.folder, genome.meta["assembly"])
    elements = read_elements(path, said)
    return path, elements, choose(elements, genome, settings.split, path, said)


def find_ccre(folder, assembly="hg38"):
    """The BED where none is named: the ccre.bed in the dataset's folder, or else ENCODE's list,
    downloaded once and checked. Dies if it does not come, and if the assembly is not hg38, for that
    list's coordinates are hg38's.
    """
    known = regions.known_ccre(folder, assembly)
    if known:
        return known
    if assembly != "hg38":
        what = f"is {assembly}, not hg38" if assembly else "is not known to be hg38"
        die(
            f"{folder} {what}, and ENCODE's elements are hg38's: give --ccre=FILE, a BED "
            "of its elements (if it is hg38 after all, prepare it with --assembly=hg38)"
        )
    return regions.download_ccre()


def read_elements(path, said=None):
    """A BED file, compressed or not -> record array of elements with the FIELDS above.

    Of an element longer than WINDOW the middle is taken. said: a list that gets a line on each
    thing that is skipped or cut. Dies at a row that is no element, at a damaged file, and if there
    are no elements.
    """
    said = [] if said is None else said
    path = Path(path)
    check_regular(path, "--ccre")
    rows = []
    n_long = 0
    for chrom, start, end, kind in bed.read_bed(path, said):
        if end - start > WINDOW:
            n_long += 1
            start += (end - start - WINDOW) // 2
            end = start + WINDOW
        rows.append((chrom, start, end, False, kind))
    if not rows:
        die(f"{path} holds no elements: give --ccre=FILE, a BED of elements")
    if n_long:
        said.append(f"{n_long:,} elements of over {WINDOW} bases are cut to their middle {WINDOW}")
    elements = np.rec.array(rows, FIELDS)
    # As the official code draws the strands: one draw for each row, before any row is left out.
    elements.flip = np.random.RandomState(0).randint(0, 2, len(rows)) == 0
    return elements


# ---- which elements


def choose(elements, genome, split, path="the BED", said=None):
    """{part: its rows of elements}, for train, val, test up to `split`, by chromosome. Elements get
    the genome's names of their chromosomes, in place.

    path: of the BED, for messages. said: a list that gets lines on names. Dies if an element lies
    beyond its chromosome's end, and if none is on a chromosome of `split`.
    """
    said = [] if said is None else said
    said += name_as_genome(elements, genome, path)
    check_ends(elements, genome, path)
    own = takes_own_split(genome, split)
    parts = list(CHROMS)[: list(CHROMS).index(split) + 1]
    rows = {}
    for part in parts:
        if own:
            mine = [
                chrom in genome.chroms and genome.split_at(chrom, start, end) == part
                for chrom, start, end in zip(elements.chrom, elements.start, elements.end)
            ]
        else:
            names = [name for name in CHROMS[part] if name in genome.chroms]
            mine = [chrom in names for chrom in elements.chrom]
        rows[part] = np.flatnonzero(mine)
    if len(rows[split]) == 0:
        names = names_of(genome, split) if own else [c for c in CHROMS[split] if c in genome.chroms]
        there = listed(dict.fromkeys(elements.chrom), 5)
        die(
            f"{path} (on {there}) has no element on {genome.folder}'s {split} chromosomes "
            f"({listed(names) or 'it has none'}): choose another --split, --ccre or --dataset"
        )
    return rows


def name_as_genome(elements, genome, path):
    """Give the elements the genome's names of their chromosomes, in place; lines on those that the
    genome has not, and on renamed ones.
    """
    named = {name: genome.find(name) for name in dict.fromkeys(elements.chrom)}
    missing = [name for name, ours in named.items() if ours is None]
    renamed = [f"{name} is {ours}" for name, ours in named.items() if ours not in (None, name)]
    said = []
    if renamed:
        said.append(f"names of {path} that the genome has in another way: {listed(renamed)}")
    if missing:
        n = sum(named[name] is None for name in elements.chrom)
        said.append(
            f"{path} has {n:,} elements on names that are not in the genome: {listed(missing, 5)}"
        )
    elements.chrom = [named[name] or name for name in elements.chrom]
    return said


def check_ends(elements, genome, path):
    """Die if an element lies beyond the end of its chromosome: the BED is of another assembly."""
    lengths = {name: chrom["length"] for name, chrom in genome.chroms.items()}
    ends = [lengths.get(name, math.inf) for name in elements.chrom]
    beyond = elements[elements.end > ends]
    if len(beyond) > 0:
        e = beyond[0]
        die(
            f"{path}: {e.chrom}:{e.start}-{e.end} is beyond the end of {e.chrom}: "
            f"give the BED of {genome.folder}'s assembly"
        )


def names_of(genome, part):
    """The genome's own chromosomes for a part."""
    return [row["name"] for row in genome.meta["splits"][part]["chroms"]]


def takes_own_split(genome, split):
    """Whether the genome's own split is taken, and not DART-Eval's.

    If it has no chromosome of DART-Eval's names, or trains on some that DART-Eval selects or tests
    on: a model is not tested on what it has seen.
    """
    official = {part: [c for c in CHROMS[part] if c in genome.chroms] for part in CHROMS}
    if not any(official.values()):
        return True
    if split == "train" or not names_of(genome, split):
        return False  # it has no such split of its own
    return not set(names_of(genome, "train")).isdisjoint(official[split])


def spaced(rows, wanted):
    """At most `wanted` of the rows, evenly spaced along them."""
    n = min(wanted, len(rows))
    return rows[np.arange(n) * len(rows) // max(n, 1)]
