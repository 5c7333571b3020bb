"""Regions of a genome that a BED names, such as its regulatory elements (cCREs): to train on, and
to measure a loss on.
"""

from functools import cache
from pathlib import Path

import numpy as np
import requests

from config import die, listed
from data.bed import read_bed
from data.download import download
from data.files import check_regular
from data.genome import ELEMENT, FLANK, SPLITS

# ENCODE's registry of cCREs of hg38, the list that DART-Eval takes
PORTAL = "https://www.encodeproject.org/files/ENCFF420VPZ/"
DOWNLOADED = Path(__file__).parent / "ccre" / "ENCFF420VPZ.bed.gz"
CCRE = "ccre.bed"  # in a prepared genome's folder: the elements that it came with
FLANK_BASES = 350  # to either side of an element that are its flanks as a loss is measured


def known_ccre(folder, assembly):
    """The BED of regulatory elements of a prepared genome: CCRE in its folder; without that, for
    hg38, ENCODE's list if it is downloaded; None if there is none.
    """
    own = folder / CCRE
    if own.is_file():
        return own
    if assembly == "hg38" and DOWNLOADED.is_file():
        return DOWNLOADED
    return None


def download_ccre():
    """ENCODE's list, downloaded (30 MB) and checked; dies if it does not come."""
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


class Regions:
    """The regions of a BED as places in a genome's .bin files.

    names: of chromosomes, as the BED has them; on_genome: whether the genome has any of them.
    Dies at a BED that is none, or of another assembly. setting: what the user named it by.
    """

    def __init__(self, path, genome, setting="regions"):
        check_regular(Path(path), setting)
        self.path = path
        self.genome = genome
        self.places = {split: {} for split in SPLITS}  # split -> class -> list of (start, end)
        self.said = []  # lines on what is left out
        ours = {}  # names as the BED has them -> ours
        n_unknown = 0
        rows = read_bed(path, self.said)
        if not rows:
            die(f"{path} holds no regions: give another BED")
        for chrom, start, end, kind in rows:
            kind = kind.split(",")[0]  # as ENCODE has it: PLS,CTCF-bound is PLS
            if chrom not in ours:
                ours[chrom] = genome.find(chrom)
            name = ours[chrom]
            if name is None:
                n_unknown += 1
                continue
            if end > genome.chroms[name]["length"]:
                die(
                    f"{path}: {chrom}:{start}-{end} is beyond the end of {name}: give the BED of "
                    "this genome's assembly"
                )
            for split, low, high, _ in genome.places(name, start, end):
                self.places[split].setdefault(kind, []).append((low, high))
        self.names = list(ours)
        self.on_genome = any(ours.values())
        if n_unknown:
            unknown = listed([name for name in ours if ours[name] is None], 5)
            self.said.append(f"{n_unknown:,} are on names that are not in the genome: {unknown}")

    def by_kind(self, split):
        """{class: (R, 2) int64 [start, end) in the .bin} of the regions on a split. The class is
        what the BED's column 10 has before a comma, "" if it has none.
        """
        held = self.places[split]
        return {kind: np.array(held[kind], np.int64) for kind in sorted(held)}

    def summary(self):
        """A line on how many regions lie where, and on what is left out."""
        counts = [f"{len(self.all(split)):,} {split}" for split in SPLITS]
        return "; ".join([f"{self.path}: regions, {', '.join(counts)}", *self.said])

    def all(self, split):
        """(R, 2) int64 [start, end) in the .bin of all regions on a split."""
        return np.concatenate([np.zeros((0, 2), np.int64), *self.by_kind(split).values()])

    def die_of_none(self, split):
        """End with a line on why no region lies on a split."""
        rows = self.genome.meta["splits"][split]["chroms"]
        held = listed([row["name"] for row in rows], 5)
        die(
            f"{self.path} (on {listed(self.names, 5) or 'no chromosome'}) has no region on "
            f"{self.genome.folder}'s {split} chromosomes ({held or 'it has none'}): give another "
            "BED"
        )


@cache
def read_regions(path, genome):
    """The Regions of a BED, which are read once: ENCODE's list takes some seconds."""
    return Regions(path, genome)


def region_file(setting, genome):
    """The BED of the setting `regions`; dies if it is auto and the genome came with none."""
    if setting != "auto":
        return Path(setting)
    path = known_ccre(genome.folder, genome.meta["assembly"])
    if not path:
        die(
            f"regions = auto: {genome.folder} came with no elements: give --regions=FILE, a BED, "
            "or put one into that folder as ccre.bed"
        )
    return path


def training_regions(setting, flank, by_class, genome):
    """{class: the stretches to read of its regions on the training chromosomes}; {} if the setting
    `regions` is empty. Not by_class: all in one, without a name. Regions of held-out chromosomes
    are in none. Dies if none is left.
    """
    if not setting:
        return {}
    found = read_regions(region_file(setting, genome), genome)
    stretches = genome.stretches("train")
    by_kind = {}
    read = found.by_kind("train") if by_class else {"": found.all("train")}
    for kind, places in read.items():
        wide = widen(places, flank, stretches)
        if len(wide):
            by_kind[kind] = wide
    if not by_kind:
        found.die_of_none("train")
    return by_kind


def widen(places, flank, stretches):
    """(R, 2) places, each with `flank` bases to either side, as stretches for Windows: (S, 2)
    int64.

    Those that touch are one, so that each base is in one of them; none reaches over the ends of the
    stretch that its place lies on. stretches: in order, as Genome.stretches gives them.
    """
    stretches = stretches.tolist()
    pieces = []  # (number of the stretch, start, end)
    first = 0  # the first stretch that does not end before the place
    for start, end in sorted(places.tolist()):
        while first < len(stretches) and stretches[first][1] <= start:
            first += 1
        number = first
        while number < len(stretches) and stretches[number][0] < end:
            low, high = stretches[number]
            pieces.append((number, max(start - flank, low), min(end + flank, high)))
            number += 1
    joined = []
    last = None  # the stretch of the last one
    for number, low, high in sorted(pieces):
        if number == last and low <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], high)
        else:
            joined.append([low, high])
        last = number
    return np.array(joined, np.int64).reshape(-1, 2)


def mark_elements(places, stretches, n):
    """(n,) uint8 for a .bin of n bases: ELEMENT where one of the (R, 2) places is, FLANK on up to
    FLANK_BASES bases beside them on the same stretch, 0 elsewhere.
    """
    marks = np.zeros(n, np.uint8)
    for start, end in widen(places, FLANK_BASES, stretches).tolist():
        marks[start:end] = FLANK
    for start, end in places.tolist():
        marks[start:end] = ELEMENT
    return marks
