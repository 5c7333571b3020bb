"""Reading a FASTA: its records, and a record's letters as the bytes of genome.py. The file is read
once, a quarter of a megabyte at a time, so that any genome needs little memory.
"""

import hashlib
import shlex
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby

import numpy as np

from config import die
from data.bins import count_bases
from data.files import read_blocks
from data.genome import MIN_GAP, N, encode

LONGEST_HEADER = 2**18  # bytes; what goes on for longer without a line end is no header
LETTERS = b"ACGTNRYSWKMBDHV"  # the bases, N, and IUPAC's codes of several bases
NOT_DNA = 255
TO_BASES = bytearray([NOT_DNA] * 256)  # bytes.translate with it encodes twice as fast as numpy
for _letter in LETTERS + LETTERS.lower():
    TO_BASES[_letter] = encode(bytes([_letter]))[0]
HASHER = ThreadPoolExecutor(1)  # md5 is a fifth of the work: it is done beside the rest

# How text begins that is no FASTA -> what it is.
OTHER_TEXTS = {
    "@HD\t": "SAM, aligned reads and not a genome",
    "@SQ\t": "SAM, aligned reads and not a genome",
    "@": "FASTQ, reads and not a genome",
    "LOCUS ": "a GenBank flat file: fetch it as FASTA, or convert it: seqret FILE fasta::x.fa",
    "ID   ": "an EMBL flat file: fetch it as FASTA, or convert it: seqret FILE fasta::x.fa",
    "##fileformat=VCF": "VCF, variants and not a genome",
    "##gff": "GFF, annotation and not a genome",
    "##maf": "MAF, an alignment and not a genome",
    "CLUSTAL": "an alignment of Clustal and not a genome",
    "#NEXUS": "Nexus, an alignment and not a genome",
    "<": "a web page? fetch it again",
    "version https://git-lfs": "a pointer of git-lfs: fetch the file itself: git lfs pull",
    ";": "a FASTA with comments: remove them: grep -v '^;' FILE > mended.fa",
}


# ---- its records


def read_fasta(path, bar, seen=None):
    """Yield (name, description, pieces) for each record of a FASTA: pieces are its lines as bytes,
    with their line ends, cut anywhere.

    bar: is told how many bytes of the file are read. seen: names of the records before, which must
    not come again; this file's are added. None: a name may come again. Dies if the file is no
    FASTA.
    """
    pieces = cut_at_headers(read_blocks(path, bar), path, seen)
    for _, group in groupby(pieces, lambda piece: piece[0]):
        _, header, letters = next(group)
        if header is not None:
            yield *header, chain([letters], (more for _, _, more in group))


def cut_at_headers(blocks, path, seen):
    """Yield (number of the record, (name, description), letters) again and again: letters are what
    a block holds of that record. Each record is yielded at least once, though its letters may be
    empty. The header is None before the first one.
    """
    header = None
    number = 0
    kept = b"\n"  # what is read again with the next block; a line end, so that ">" may follow
    for block in chain(blocks, [b"\n"]):  # the last line may lack its end
        text = kept + block
        # To look for one byte is a hundred times as fast, and most blocks hold no header.
        letters, *records = text.split(b"\n>") if b">" in text else [text]
        kept = b""
        if records and b"\n" not in records[-1]:
            kept = b"\n>" + records.pop()  # a header that goes on in the next block
        elif text.endswith(b"\n"):
            kept = b"\n"
        if (header is None and letters.strip()) or len(kept) > LONGEST_HEADER:
            die_of_no_fasta(letters.lstrip(), path)
        yield number, header, letters
        for record in records:
            line, _, letters = record.partition(b"\n")
            header = read_header(line, path, seen)
            number += 1
            yield number, header, letters
    if header is None:
        die(f"{path}: empty, no FASTA record in it: fetch it again")


def die_of_no_fasta(text, path):
    """Die, saying what it is that begins like this."""
    start = text[:1000].decode("utf-8", "replace")
    for beginning, what in OTHER_TEXTS.items():
        if start.startswith(beginning):
            what = what.replace("FILE", str(path))
            die(f"{path}: not a FASTA, it does not start with '>' and a name, but {what}")
    first, _, _ = start.partition("\n")
    columns = first.split("\t")
    if len(columns) > 2 and columns[1].isdecimal() and columns[2].strip().isdecimal():
        die(f"{path}: not a FASTA but a BED: give a FASTA (score.py reads regions by --bed)")
    if first and not first.upper().strip("ACGTN \t"):
        die(
            f"{path}: not a FASTA, it does not start with '>' and a name: put a line before the "
            f"letters: {unpacked(path)} | sed '1i >chr1' > named.fa"
        )
    die(f"{path}: not a FASTA, it does not start with '>' and a name: fetch it again")


def read_header(line, path, seen):
    """(name, description) of a header: its first word, added to seen, and the rest. Dies if the
    name is missing or seen already; seen: a set, or None.
    """
    words = line.decode("utf-8", "replace").split(maxsplit=1)
    if not words:
        die(f"{path}: a record without a name: mend the FASTA")
    name = words[0]
    if seen is not None and name in seen:
        die(
            f"{path}: two records named {name} (a name is a header's first word). Two genomes? "
            "Prepare each by itself, and train on --dataset=ONE,OTHER. One? Number the names: "
            f"{unpacked(path)} | awk '/^>/ {{$1 = $1 \"_\" ++n}} 1' > mended.fa"
        )
    if seen is not None:
        seen.add(name)
    return name, words[1].strip() if len(words) > 1 else ""


def unpacked(path):
    """A command that writes a file's text."""
    for end, command in ((".gz", "gzip -dc"), (".bz2", "bzip2 -dc"), (".xz", "xz -dc")):
        if str(path).endswith(end):
            return f"{command} {shlex.quote(str(path))}"
    return f"cat {shlex.quote(str(path))}"


# ---- its letters


def count_letters(pieces):
    """How many letters a record has, as read_fasta gives it."""
    return sum(len(without_white_space(piece)) for piece in pieces)


def encode_record(name, pieces, file, path):
    """Write the bases of a record, as read_fasta gives it, to an open file, one byte each.

    Returns {name, length, md5, gaps}, as meta.json has them, and counts: {bases, N, repeats, gc}.
    The md5 is of the upper-case letters (SAM's M5); repeats and gc do not count N. Dies at a
    letter that is not DNA's.
    """
    md5 = hashlib.md5()
    hashed = None  # the hashing of the last piece
    runs = RunsOfN()
    counts = Counter()
    for piece in pieces:
        letters = without_white_space(piece)
        if not letters:
            continue
        bases = np.frombuffer(letters.translate(TO_BASES), np.uint8)
        if bases.max() == NOT_DNA:
            at = int(bases.argmax())
            die_of_letter(chr(letters[at]), runs.length + at, name, path)
        file.write(bases)
        if hashed:
            hashed.result()  # no more than one piece waits in memory
        upper = np.frombuffer(letters, np.uint8) & 0xDF  # without the bit that makes lower case
        hashed = HASHER.submit(md5.update, upper)
        runs.add(bases)
        counts.update(count_bases(bases))
    if hashed:
        hashed.result()
    found = runs.found()
    sizes = found[:, 1] - found[:, 0]
    gaps = found[sizes >= MIN_GAP].tolist()
    return dict(name=name, length=runs.length, md5=md5.hexdigest(), gaps=gaps, counts=counts)


def die_of_letter(letter, at, name, path):
    """Die at a letter that is not DNA's, base `at` of a record, saying what it is and how to mend
    the file.
    """
    what = f"{path}: {name} has {letter!r} at base {at:,}"
    if letter in "EFILPQZJO*efilpqzjo":
        die(f"{what}: not DNA (a protein? a damaged file?)")
    if letter in "Uu":
        what = f"{path}: {name} is not DNA but RNA: {letter} at base {at:,}: write T for U"
        edit = "y/Uu/Tt/"
    elif letter in "Xx?":
        what += ", not DNA: if it stands for an unknown base, write N"
        edit = "y/Xx?/NnN/"
    elif letter in "-.~":
        what += ", not DNA but a gap of an alignment: remove the gaps"
        edit = "s/[-.~]//g"
    elif letter in "0123456789":
        what += ", not DNA: remove the numbers"
        edit = "s/[0-9]//g"
    else:
        die(f"{what}: not DNA (a damaged file?): fetch it again")
    die(f"{what}: {unpacked(path)} | sed '/^>/!{edit}' > mended.fa")


def without_white_space(piece):
    """A piece of a record without line ends, spaces and tabs."""
    letters = piece.replace(b"\n", b"")  # three times as fast as translate, and mostly all there is
    if any(white in letters for white in (b" ", b"\t", b"\r")):
        letters = letters.translate(None, b" \t\r")
    return letters


class RunsOfN:
    """Finds the runs of N in bases that come piece by piece; a run may go on in the next piece."""

    def __init__(self):
        self.length = 0  # bases so far
        self.inside = False  # whether the last of them was N
        self.edges = []  # where runs start and end, in turn

    def add(self, bases):
        """The next bases, (n,) uint8, n at least 1."""
        unknown = (bases & N) != 0  # the bit that only N has
        if self.inside or unknown.any():  # most pieces hold none
            edges = np.flatnonzero(np.diff(unknown, prepend=self.inside)) + self.length
            self.edges += edges.tolist()
            self.inside = bool(unknown[-1])
        self.length += len(bases)

    def found(self):
        """(R, 2) int64 [start, end) of each run."""
        edges = self.edges
        if self.inside:
            edges = edges + [self.length]
        return np.array(edges, np.int64).reshape(-1, 2)
