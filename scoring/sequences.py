"""The sequences to score: records of a FASTA, or regions of a genome that a BED names."""

import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config import die
from data.bed import bed_columns, read_row
from data.fasta import NOT_DNA, TO_BASES, die_of_letter, read_fasta, without_white_space
from data.files import check_regular


@dataclass
class Sequence:
    """Bases to read, of which [start, end) are counted and the others are only read.

    labels: what stands before its scores in the output. chrom, at: where its counted bases lie, in
    the genome's names.
    """

    labels: tuple
    bases: np.ndarray  # (n,) uint8, without repeat bits
    start: int
    end: int
    chrom: str
    at: int

    @property
    def known(self):
        """(end - start,) bool: which of the counted bases are A, C, G or T."""
        return self.bases[self.start : self.end] < 4


class Skipped:
    """Rows that have no score: how many for which reason, and which were the first."""

    def __init__(self):
        self.counts = Counter()
        self.first = {}  # reason -> the first row

    def add(self, reason, row):
        self.counts[reason] += 1
        self.first.setdefault(reason, row)

    def summary(self):
        """On each reason: how many rows, and the first of them."""
        texts = [f"{n:,} {why} (first {self.first[why]})" for why, n in self.counts.items()]
        return "; ".join(texts)


# ---- where they come from


def open_input(path, setting, folder):
    """The path of a file to read; of "-" a copy of standard input in `folder`, since a file is
    looked at before it is read. Dies if it is no file.
    """
    if path != "-":
        check_regular(Path(path), f"--{setting}")
        return Path(path)
    copy = Path(folder) / "standard input"
    with open(copy, "wb") as file:
        shutil.copyfileobj(sys.stdin.buffer, file)
    return copy


def from_fasta(path):
    """Yield a Sequence for each record of a FASTA. Dies if it is none, and at letters that are not
    DNA's.
    """
    for name, _, pieces in read_fasta(path, None):
        letters = b"".join(map(without_white_space, pieces))
        bases = np.frombuffer(letters.translate(TO_BASES), np.uint8)
        wrong = np.flatnonzero(bases == NOT_DNA)
        if len(wrong):
            die_of_letter(chr(letters[wrong[0]]), int(wrong[0]), name, path)
        yield Sequence((name, len(bases)), bases & 7, 0, len(bases), name, 0)


def open_bed(path, genome):
    """[(chrom, start, end, name, the genome's name of chrom), ...]: the regions of a BED.

    Regions of no bases, on names that are not in the genome, or over a chromosome's end are left
    out, with a line on standard error. Dies at a row that is none, and if no region is left.
    """
    regions = []
    skipped = Skipped()
    said = []
    for number, columns in bed_columns(path, said):
        chrom, start, end, _ = read_row(columns, f"{path} line {number}")
        where = f"{chrom}:{start}-{end}"
        name = genome.find(chrom)
        if name is None:
            skipped.add("not on the genome", where)
        elif start == end:
            skipped.add("of no bases", where)
        elif end > genome.chroms[name]["length"]:
            skipped.add("over the end of the chromosome", where)
        else:
            label = columns[3].strip() if len(columns) > 3 else "."
            regions.append((chrom, start, end, label, name))
    if skipped.counts:
        said.append(f"regions left out: {skipped.summary()}")
    if not regions:
        reason = "; ".join(said) or "it holds no rows"
        die(f"{path} has no region on {genome.folder}: {reason}")
    for line in said:
        print(line, file=sys.stderr)
    return regions


def from_bed(regions, genome, flank):
    """Yield a Sequence for each region that open_bed gives; flank: bases to either side that are
    read and not counted.
    """
    for *labels, name in regions:
        _, start, end, _ = labels
        bases = genome.fetch(name, start - flank, end + flank) & 7
        yield Sequence(tuple(labels), bases, flank, flank + end - start, name, start)


def in_chunks(sequences, size):
    """Yield lists of sequences, of `size` bases or of one sequence at least."""
    chunk = []
    n = 0
    for sequence in sequences:
        chunk.append(sequence)
        n += len(sequence.bases)
        if n >= size:
            yield chunk
            chunk = []
            n = 0
    if chunk:
        yield chunk
