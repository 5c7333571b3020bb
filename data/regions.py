"""Regions of a genome that a BED names, such as its regulatory elements (cCREs): to train on, and
to measure a loss on.
"""

from pathlib import Path

import numpy as np
import requests

from config import die, listed
from data.bed import read_bed
from data.download import download
from data.files import check_regular

# ENCODE's registry of cCREs of hg38, the list that DART-Eval takes
PORTAL = "https://www.encodeproject.org/files/ENCFF420VPZ/"
DOWNLOADED = Path(__file__).parent / "ccre" / "ENCFF420VPZ.bed.gz"
CCRE = "ccre.bed"  # in a prepared genome's folder: the elements that it came with
ELEMENT = 16  # bits of a base that mark_elements sets; files never hold them
FLANK = 32
BESIDE = 350  # bases to either side of an element that are its flanks


def known_ccre(folder, assembly):
    """The BED of regulatory elements that a prepared genome has: CCRE in its folder, of hg38 else
    ENCODE's list if it is downloaded; None if there is none.
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
    """The regions of a BED as places in a split's .bin.

    names: of chromosomes, as the BED has them; on_genome: whether the genome has any of them.
    by_kind: {class of the BED's column 10, "" if it has none: (R, 2) int64 [start, end)}; what lies
    on other splits is left out, by the same coordinates as in the FASTA. Dies at a BED that is none
    or of another assembly.
    """

    def __init__(self, path, genome, split, setting="regions"):
        check_regular(Path(path), setting)
        self.path = path
        places = {}
        ours = {}  # names as the BED has them -> ours
        parts = {}
        for row in genome.meta["splits"][split]["chroms"]:
            parts[row["name"]] = (row.get("start", 0), row["length"], row["offset"])
        for chrom, start, end, kind in read_bed(path, []):
            if chrom not in ours:
                ours[chrom] = genome.find(chrom)
            name = ours[chrom]
            if name is None:
                continue
            if end > genome.chroms[name]["length"]:
                die(
                    f"{path}: {chrom}:{start}-{end} is beyond the end of {name}: give the BED of "
                    f"{genome.folder}'s assembly"
                )
            if name in parts:
                first, length, offset = parts[name]
                low = max(start - first, 0)
                high = min(end - first, length)
                if low < high:
                    places.setdefault(kind, []).append((offset + low, offset + high))
        self.names = list(ours)
        self.on_genome = any(ours.values())
        self.by_kind = {kind: np.array(places[kind], np.int64) for kind in sorted(places)}

    def all(self):
        """(R, 2) int64 [start, end) of all of them."""
        return np.concatenate([np.zeros((0, 2), np.int64), *self.by_kind.values()])

    def die_of_none(self, genome, split):
        """End with a line on why no region lies on a split."""
        held = listed([row["name"] for row in genome.meta["splits"][split]["chroms"]], 5)
        die(
            f"{self.path} (on {listed(self.names, 5) or 'no chromosome'}) has no region on "
            f"{genome.folder}'s {split} chromosomes ({held or 'it has none'}): give another BED"
        )


def widen(places, flank, stretches):
    """(R, 2) places, each with `flank` bases to either side, as stretches for Windows: (S, 2).

    Those that touch are one, so that each base is in one of them; none reaches over the ends of the
    stretches that it lies on.
    """
    places = places[np.argsort(places[:, 0])] + (-flank, flank)
    reach = np.maximum.accumulate(places[:, 1])  # where all so far end
    begins = np.append(True, places[1:, 0] > reach[:-1])
    first = np.flatnonzero(begins)
    low = places[first, 0]
    high = reach[np.append(first[1:], len(places)) - 1]
    # each with each stretch that it meets
    from_stretch = np.searchsorted(stretches[:, 1], low, "right")
    to_stretch = np.searchsorted(stretches[:, 0], high, "left")
    meets = np.maximum(to_stretch - from_stretch, 0)
    mine = np.repeat(np.arange(len(low)), meets)
    stretch = np.concatenate([np.arange(a, b) for a, b in zip(from_stretch, to_stretch)])
    low = np.maximum(low[mine], stretches[stretch, 0])
    high = np.minimum(high[mine], stretches[stretch, 1])
    return np.stack((low, high), 1)


def mark_elements(places, n):
    """(n,) uint8 for a .bin of n bases: ELEMENT where one of the (R, 2) places is, FLANK on up to
    BESIDE bases beside them, 0 elsewhere.
    """
    marks = np.zeros(n, np.uint8)
    for start, end in places.tolist():
        marks[max(start - BESIDE, 0) : end + BESIDE] = FLANK
    for start, end in places.tolist():
        marks[start:end] = ELEMENT
    return marks
