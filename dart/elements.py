"""The regulatory elements (cCREs) of Task 1: their BED, and which of them are for training,
selecting and testing.
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import requests

from config import die
from data.download import download

WINDOW = 350  # bases; an element sits in the middle of a window of this length

# DART-Eval's chromosomes
CHROMS = {
    "train": [f"chr{name}" for name in (1, 2, 3, 4, 7, 8, 9, 11, 12, 13, 15, 16, 17, 19, "X", "Y")],
    "val": [f"chr{name}" for name in (6, 21)],
    "test": [f"chr{name}" for name in (5, 10, 14, 18, 20, 22)],
}

# ENCODE's registry of cCREs, the list that DART-Eval takes
PORTAL = "https://www.encodeproject.org/files/ENCFF420VPZ/"
DOWNLOADED = Path(__file__).parent.parent / "data" / "ccre" / "ENCFF420VPZ.bed.gz"
OFFICIAL_ROWS = 2_348_854

FIELDS = [  # of an element
    ("chrom", object),
    ("start", int),  # 0-based, as in BED
    ("end", int),
    ("flip", bool),  # whether its window is read on the other strand
    ("kind", object),  # ENCODE's class, such as PLS or dELS; "" if the BED has none
]


# ---- the BED


def find_ccre(folder):
    """The BED where none is named: the ccre.bed in the dataset's folder, or else ENCODE's list,
    downloaded once and checked. Dies if it does not come.
    """
    own = folder / "ccre.bed"
    if own.is_file():
        return own
    if DOWNLOADED.is_file():
        return DOWNLOADED
    headers = {"Accept": "application/json"}
    try:
        reply = requests.get(PORTAL, {"format": "json"}, headers=headers, timeout=60)
        md5 = reply.json()["md5sum"]
    except (requests.RequestException, ValueError, KeyError) as error:
        die(
            f"no answer from encodeproject.org ({type(error).__name__}): try again, "
            "or give --ccre=FILE, a BED of elements"
        )
    download(f"{PORTAL}@@download/{DOWNLOADED.name}", DOWNLOADED, md5)
    return DOWNLOADED


def read_bed(path):
    """A BED file, plain or gzip -> record array of elements with the FIELDS above.

    Dies at a row that is no element, at a damaged file, and if there are no elements.
    """
    rows = []
    opener = gzip.open if str(path).endswith("gz") else open
    try:
        with opener(path, "rt", encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                if not line.isspace() and not line.startswith(("#", "track ", "browser ")):
                    rows.append(read_row(line, f"{path} line {number}"))
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        die(f"{path} is truncated or damaged ({error}): fetch it again")
    if not rows:
        die(f"{path} holds no elements: give --ccre=FILE, a BED of elements")
    elements = np.rec.array(rows, FIELDS)
    # As the official code draws the strands: one draw for each row, before any row is left out.
    elements.flip = np.random.RandomState(0).randint(0, 2, len(rows)) == 0
    return elements


def read_row(line, where):
    """A line of a BED -> (chrom, start, end, False, kind); dies, saying where, if it is none."""
    columns = line.rstrip("\r\n").split("\t")
    start = end = 0
    if len(columns) > 2 and columns[1].isdecimal() and columns[2].isdecimal():
        start = int(columns[1])
        end = int(columns[2])
    if not start < end <= start + WINDOW:
        found = line[:60].strip()
        die(f"{where} is not name, tab, start, tab, end of 1 to {WINDOW} bases: {found!r}")
    kind = columns[9] if len(columns) > 9 else ""
    return columns[0], start, end, False, kind


# ---- which elements


def choose(elements, genome, split, path="the BED"):
    """{part: its rows of elements}, for train, val, test up to `split`, by chromosome.

    path: of the BED, for messages. Dies if an element lies beyond its chromosome's end, and if none
    is on a chromosome of `split`.
    """
    check_ends(elements, genome, path)
    parts = chromosomes(genome, split)
    rows = {}
    for part, names in parts.items():
        rows[part] = np.flatnonzero([name in names for name in elements.chrom])
    if len(rows[split]) == 0:
        names = ", ".join(parts[split]) or "it has none"
        die(
            f"{path} (on {elements.chrom[0]}, ...) has no element on {genome.folder}'s {split} "
            f"chromosomes ({names}): check for names without chr, or choose another "
            "--split, --ccre or --dataset"
        )
    return rows


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


def chromosomes(genome, split):
    """{part: names of its chromosomes in the genome}, for train, val, test up to `split`.

    DART-Eval's parts. But the genome's own ones if it has no chromosome of DART-Eval's names, or
    trains on some that DART-Eval selects or tests on: a model is not tested on what it has seen.
    """
    names = list(CHROMS)
    wanted = names[: names.index(split) + 1]
    official = {part: [c for c in CHROMS[part] if c in genome.chroms] for part in CHROMS}
    own = {}
    for part in CHROMS:
        own[part] = [chrom["name"] for chrom in genome.meta["splits"][part]["chroms"]]
    other_names = not any(official.values())
    overlap = set(own["train"]) & set(official[split])
    other_split = split != "train" and own[split] and overlap
    parts = own if other_names or other_split else official
    return {part: parts[part] for part in wanted}


def spaced(rows, wanted):
    """At most `wanted` of the rows, evenly spaced along them."""
    n = min(wanted, len(rows))
    return rows[np.arange(n) * len(rows) // max(n, 1)]
