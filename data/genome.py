"""The byte format, and a prepared genome opened for reading.

One uint8 per base, chromosomes end to end in their own coordinates, one .bin per split:
  bits 0-2  the base, a token: A 0, C 1, G 2, T 3, anything else 4 ("N"); always in this order
  bit 3     REPEAT, set where the FASTA was lower-case: a soft-masked repeat
  bits 4, 5 ELEMENT and FLANK: never in a file; validation sets them in its windows (regions.py)
  bits 6, 7 free, and ignored by all that reads a base

meta.json beside them says, for each split, each chromosome's name, offset in the .bin, length, md5
of its upper-case letters (SAM's M5) and gaps; and where the FASTA came from. A gap is a run of at
least MIN_GAP N's, [start, end) in the chromosome, 0-based as in BED. What lies between gaps is a
stretch: no window reaches from one stretch into another. Two entries are only there where they are
needed: fasta_name, where the FASTA has another name for the chromosome; and start, where a split
holds a part of it, which then has `length` bases from there on.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from config import die, listed
from data.names import chromosome_key

ALPHABET = "ACGTN"
A, C, G, T, N = range(5)  # tokens
REPEAT = 8
ELEMENT = 16
FLANK = 32
SPLITS = ("train", "val", "test")
FORMAT = 2  # of meta.json; a change that old code cannot follow adds one
READABLE = (1, 2)
MIN_GAP = 50  # shorter runs of N stay inside a stretch

_ENCODE = np.full(256, N, np.uint8)  # letter -> base
for _token, _letter in enumerate("ACGT"):
    _ENCODE[ord(_letter)] = _token
for _code in range(ord("a"), ord("z") + 1):
    _ENCODE[_code] = _ENCODE[ord(chr(_code).upper())] | REPEAT
_DECODE = np.frombuffer(b"ACGTNNNNacgtnnnn", np.uint8)  # a byte's lowest four bits -> letter
_BYTES = np.arange(256, dtype=np.uint8)
_COMPLEMENT = np.where((_BYTES & 7) < N, _BYTES ^ 3, _BYTES)  # A-T and C-G; all higher bits stay


def encode(letters):
    """str, bytes or uint8 array of letters -> uint8 array of bases, same length; IUPAC codes of
    several bases become N.
    """
    if isinstance(letters, str):
        letters = letters.encode("ascii", "replace")
    return _ENCODE[np.frombuffer(letters, np.uint8)]


def decode(bases):
    """uint8 array of bases -> str, lower-case where the repeat bit is set."""
    return _DECODE[np.asarray(bases, np.uint8) & 15].tobytes().decode("ascii")


def reverse_complement(bases):
    """The other strand of (..., T) bases, read 5' to 3'; the bits above stay with their base."""
    return _COMPLEMENT[bases][..., ::-1]


def is_base(raw):
    """Where bytes, an array or a tensor, hold A, C, G or T and not N: bool, the same shape."""
    return (raw & 7) < N


class Genome:
    """A prepared genome, opened for reading. The bases are memory-mapped: none is read before it is
    used.

    meta: what meta.json holds. chroms: name -> {split, offset, length, md5, gaps}. Of a chromosome
    that is cut between splits: split, offset, md5 and gaps of its first part, the length of all.
    fingerprint: one md5 over its letters, whatever their case, and how they are split. Dies if the
    folder holds no prepared genome, or one whose files do not agree.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        try:
            self.meta = json.loads((self.folder / "meta.json").read_text(encoding="utf-8"))
            if self.meta["format"] not in READABLE:
                found = self.meta["format"]
                readable = " and ".join(str(number) for number in READABLE)
                die(f"{folder}: format {found}, this code reads {readable}: prepare it again")
            self._parts = {}  # name -> its rows, one for each split that holds some of it
            for split in SPLITS:
                for row in self._rows(split):
                    part = dict(row, split=split, start=row.get("start", 0))
                    self._parts.setdefault(row["name"], []).append(part)
            self.chroms = {name: _whole(parts) for name, parts in self._parts.items()}
            self._bases = {split: self._open(split) for split in SPLITS}
            self.fingerprint = self._fingerprint()
        except FileNotFoundError as error:
            name = Path(error.filename).name
            die(
                f"{folder} is not a prepared genome ({name} is missing): run python prepare_hg38.py"
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            reason = f"{type(error).__name__}: {error}"
            die(f"{folder}/meta.json is damaged ({reason}): prepare the genome again")
        self._aliases = {}  # other names of a chromosome -> ours
        for name, row in self.chroms.items():
            fasta_name = row.get("fasta_name", name)
            for alias in (fasta_name, chromosome_key(name), chromosome_key(fasta_name)):
                self._aliases.setdefault(alias, name)

    def _rows(self, split):
        """What meta.json says of each chromosome of a split, in the order of the .bin."""
        return self.meta["splits"][split]["chroms"]

    def repeat_counts(self):
        """How many soft-masked bases each split has, for telling maskings of one genome apart."""
        return [self.meta["splits"][split].get("repeats") for split in SPLITS]

    def _fingerprint(self):
        held = []
        for parts in self._parts.values():
            for part in parts:
                cut = [part["start"]] if len(parts) > 1 else []
                held.append((part["split"], part["name"], part["length"], part["md5"], *cut))
        return hashlib.md5(json.dumps(sorted(held)).encode()).hexdigest()

    def _open(self, split):
        """A split's .bin as a memory map. Dies if its size is not what meta.json says; raises
        ValueError unless chromosomes lie end to end, and their gaps inside them in order.
        """
        end = 0
        for chrom in self._rows(split):
            edges = _edges(chrom)
            if chrom["offset"] != end or edges != sorted(edges):
                raise ValueError(f"{chrom['name']}'s place or gaps")
            end += chrom["length"]
        path = self.folder / f"{split}.bin"
        size = path.stat().st_size
        if size != end:
            die(f"{path} holds {size:,} bases, meta.json says {end:,}: prepare the genome again")
        if size == 0:
            return np.zeros(0, np.uint8)  # an empty file cannot be mapped
        return np.memmap(path, np.uint8, "r")

    def bases(self, split):
        """All bases of a split, (n,) uint8, memory-mapped."""
        return self._bases[split]

    def find(self, name):
        """Our name of a chromosome that is named as UCSC, Ensembl, RefSeq, GenBank or the FASTA
        names it, with or without chr; None if there is no such chromosome.
        """
        if name in self.chroms:
            return name
        return self._aliases.get(name) or self._aliases.get(chromosome_key(name))

    def fetch(self, chrom, start, end):
        """Bases [start, end) of a chromosome, 0-based, as a (end - start,) uint8 copy; N beyond its
        ends. Dies if there is no such chromosome.
        """
        name = self.find(chrom)
        if name is None:
            die(f"{self.folder} has no {chrom}: it has {listed(self.chroms)}")
        out = np.full(end - start, N, np.uint8)
        for split, low, high, first in self.places(name, start, end):
            out[first - start : first - start + high - low] = self._bases[split][low:high]
        return out

    def places(self, chrom, start, end):
        """Where [start, end) of a chromosome of ours is held, for each split that has some of it:
        (split, start and end in its .bin, the base of the chromosome that this start is).
        """
        for part in self._parts[chrom]:
            first = max(start, part["start"])
            last = min(end, part["start"] + part["length"])
            if first < last:
                shift = part["offset"] - part["start"]  # from a chromosome's bases to the .bin's
                yield part["split"], first + shift, last + shift, first

    def part_name(self, row):
        """The name of a row of meta.json: chr1, or chr1:0-900 where it is only a part."""
        if len(self._parts[row["name"]]) == 1:
            return row["name"]
        start = row.get("start", 0)
        return f"{row['name']}:{start}-{start + row['length']}"

    def split_at(self, chrom, start, end):
        """The split that holds all of [start, end) of a chromosome of ours; None if none does."""
        for part in self._parts[chrom]:
            if part["start"] <= start and end <= part["start"] + part["length"]:
                return part["split"]
        return None

    def stretches(self, split):
        """(S, 2) int64: [start, end) of each stretch, as positions in the split's .bin."""
        rows = []
        for chrom in self._rows(split):
            shift = chrom["offset"] - chrom.get("start", 0)
            edges = _edges(chrom)
            for start, end in zip(edges[::2], edges[1::2]):
                if start < end:
                    rows.append((shift + start, shift + end))
        return np.array(rows, np.int64).reshape(-1, 2)


def _whole(parts):
    """What Genome.chroms says of a chromosome, from the rows of its parts."""
    end = max(part["start"] + part["length"] for part in parts)
    first = min(parts, key=lambda part: part["start"])
    return dict(first, length=end) if len(parts) > 1 else first


def _edges(chrom):
    """Where the stretches of a chromosome, or of a part of it, start and end, in turn: its start, a
    gap's start, its end, ..., its end.
    """
    start = chrom.get("start", 0)
    edges = [start]
    for gap_start, gap_end in chrom["gaps"]:
        edges += [gap_start, gap_end]
    edges.append(start + chrom["length"])
    return edges
