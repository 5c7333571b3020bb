"""The byte format: one uint8 per base.

One uint8 per base, chromosomes end to end in their own coordinates, one .bin per split (train, val, test):
  bits 0-2  the base: A 0, C 1, G 2, T 3, anything else 4 ("N"); the order of tokens is A, C, G, T, N everywhere
  bit 3     (value 8) set where the FASTA was lower-case: a soft-masked repeat
meta.json beside them says, per split, each chromosome's name, offset in the .bin, length, md5 of its upper-case sequence
(SAM's M5), and its gaps: runs of at least MIN_GAP N's as [start, end), 0-based; and where the FASTA came from.
"""
import hashlib
import json
from pathlib import Path

import numpy as np

from config import die

ALPHABET, N, REPEAT = "ACGTN", 4, 8
SPLITS = ("train", "val", "test")
FORMAT = 1          # of meta.json; a change that old files cannot follow adds one
MIN_GAP = 50        # shorter runs of N stay inside a stretch

_ENCODE = np.full(256, N, np.uint8)
for _i, _c in enumerate("ACGT"):
    _ENCODE[ord(_c)] = _i
for _c in range(ord("a"), ord("z") + 1):
    _ENCODE[_c] = _ENCODE[_c - 32] | REPEAT
_DECODE = np.frombuffer(b"ACGTNNNNacgtnnnn", np.uint8)
_COMPLEMENT = np.array([3, 2, 1, 0, 4, 5, 6, 7, 11, 10, 9, 8, 12, 13, 14, 15], np.uint8)


def encode(letters):
    """str, bytes or uint8 array of letters -> uint8 array of bases, same length; IUPAC codes become N."""
    if isinstance(letters, str):
        letters = letters.encode("ascii", "replace")
    return _ENCODE[np.frombuffer(letters, np.uint8)]


def decode(bases):
    """uint8 array of bases -> str, lower-case where the repeat bit is set."""
    return _DECODE[np.asarray(bases, np.uint8) & 15].tobytes().decode("ascii")


def reverse_complement(bases):
    """The other strand of (..., T) bases, read 5' to 3'; the repeat bit stays with its base."""
    return _COMPLEMENT[bases][..., ::-1]


def _edges(chrom):
    """Where a chromosome's stretches start and end, in turn, one list."""
    return [0, *(e for gap in chrom["gaps"] for e in gap), chrom["length"]]


class Genome:
    """A prepared genome, opened for reading; nothing is loaded until it is touched.

    .meta: meta.json. .chroms: name -> {split, offset, length, md5, gaps}. .fingerprint: one md5 over what it holds and how
    it is split. Dies with one line if the folder holds no prepared genome, or one whose files do not agree.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        try:
            self.meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
            if self.meta["format"] != FORMAT:
                die(f"{folder}: format {self.meta['format']}, this code reads {FORMAT}: prepare it again")
            self.chroms = {c["name"]: dict(c, split=split) for split in SPLITS for c in self.meta["splits"][split]["chroms"]}
            self._bases = {split: self._map(split) for split in SPLITS}
            for split in SPLITS:
                end = 0
                for c in self.meta["splits"][split]["chroms"]:
                    edges = _edges(c)
                    if c["offset"] != end or edges != sorted(edges) or len(edges) % 2:
                        raise ValueError(f"{c['name']}'s place or gaps")
                    end += c["length"]
            held = sorted((c["split"], name, c["length"], c["md5"]) for name, c in self.chroms.items())
        except FileNotFoundError as error:
            die(f"{folder} is not a prepared genome ({Path(error.filename).name} is missing): run python prepare_hg38.py")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            die(f"{folder}/meta.json is damaged ({type(error).__name__}: {error}): prepare the genome again")
        self.fingerprint = hashlib.md5(json.dumps(held).encode()).hexdigest()

    def _map(self, split):
        path, size = self.folder / f"{split}.bin", sum(c["length"] for c in self.meta["splits"][split]["chroms"])
        if path.stat().st_size != size:
            die(f"{path} holds {path.stat().st_size:,} bases, meta.json says {size:,}: prepare the genome again")
        return np.memmap(path, np.uint8, "r") if size else np.zeros(0, np.uint8)

    def bases(self, split):
        """All bases of a split, (n,) uint8, memory-mapped."""
        return self._bases[split]

    def fetch(self, chrom, start, end):
        """Bases [start, end) of a chromosome, 0-based, as a (end - start,) uint8 copy; N beyond its ends."""
        if chrom not in self.chroms:
            die(f"{self.folder} has no {chrom}: it has {', '.join(self.chroms)}")
        c = self.chroms[chrom]
        out = np.full(end - start, N, np.uint8)
        lo, hi = max(start, 0), min(end, c["length"])
        if lo < hi:
            out[lo - start:hi - start] = self._bases[c["split"]][c["offset"] + lo:c["offset"] + hi]
        return out

    def stretches(self, split):
        """What lies between gaps: (S, 2) int64 [start, end) positions in the split's .bin."""
        rows = []
        for c in self.meta["splits"][split]["chroms"]:
            edges = _edges(c)
            rows += [(c["offset"] + a, c["offset"] + b) for a, b in zip(edges[::2], edges[1::2]) if b > a]
        return np.array(rows, np.int64).reshape(-1, 2)
