"""Reading a FASTA: its text in blocks, its records, and a record's letters as the bytes of
genome.py. The file is read once, a quarter of a megabyte at a time, so that any genome needs little
memory.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, groupby
from operator import itemgetter

import numpy as np

try:  # the same as Python's own and three times as fast: pip install isal
    from isal import igzip as gzip
    from isal.isal_zlib import error as InflateError
except ImportError:
    import gzip
    from zlib import error as InflateError

from config import die
from data.genome import MIN_GAP, REPEAT, N, encode

BLOCK = 2**18  # bytes of text at a time: small enough for a CPU's cache
LONGEST_HEADER = 2**18  # bytes; what goes on for longer without a line end is no header
GZIP_MAGIC = b"\x1f\x8b"  # how a gzip file begins
LETTERS = b"ACGTNRYSWKMBDHV"  # the bases, N, and IUPAC's codes of several bases
C, G = 1, 2  # tokens
NOT_DNA = 255
TO_BASES = bytearray([NOT_DNA] * 256)  # bytes.translate with it encodes twice as fast as numpy
for _letter in LETTERS + LETTERS.lower():
    TO_BASES[_letter] = encode(bytes([_letter]))[0]
HASHER = ThreadPoolExecutor(1)  # md5 is a fifth of the work: it is done beside the rest


def read_fasta(path, bar, seen):
    """Yield (name, pieces) for each record of a FASTA, plain or gzip: pieces are its lines as
    bytes, with their line ends, cut anywhere.

    bar: is told how many bytes of the file are read. seen: names of the records before, which must
    not come again; this file's are added. Dies if the file is no FASTA.
    """
    pieces = cut_at_headers(read_blocks(path, bar), path, seen)
    for name, group in groupby(pieces, itemgetter(0)):
        if name is not None:
            yield name, (letters for _, letters in group)


def read_blocks(path, bar):
    """Yield a file's text, gunzipped if it is gzip, at most BLOCK bytes at a time. Dies if the gzip
    is damaged.
    """
    with open(path, "rb") as file:
        is_gzip = file.read(2) == GZIP_MAGIC
        file.seek(0)
        text = gzip.open(file) if is_gzip else file
        try:
            while block := text.read(BLOCK):
                bar.update(file.tell() - bar.n)
                yield block
        except EOFError:
            die(f"{path}: truncated gzip, its end is missing: fetch it again")
        except (gzip.BadGzipFile, InflateError) as error:
            die(f"{path}: damaged gzip ({error}): fetch it again")


def cut_at_headers(blocks, path, seen):
    """Yield (name, letters) again and again: letters are what a block holds of the record called
    name. Each record is yielded at least once, though its letters may be empty.
    """
    name = None  # no header yet
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
        if (name is None and letters.strip()) or len(kept) > LONGEST_HEADER:
            page = " (a web page?)" if letters.lstrip().startswith(b"<") else ""
            die(f"{path}: not a FASTA, it does not start with '>' and a name{page}: fetch it again")
        yield name, letters
        for record in records:
            header, _, letters = record.partition(b"\n")
            name = read_name(header, path, seen)
            yield name, letters
    if name is None:
        die(f"{path}: empty, no FASTA record in it: fetch it again")


def read_name(header, path, seen):
    """The name in a header (its first word), added to seen; dies if it is missing or seen
    already.
    """
    words = header.decode("utf-8", "replace").split()
    if not words:
        die(f"{path}: a record without a name: mend the FASTA")
    name = words[0]
    if name in seen:
        die(f"{path}: two records named {name}: mend the FASTA")
    seen.add(name)
    return name


def encode_record(name, pieces, file, path):
    """Write the bases of a record, as read_fasta gives it, to an open file, one byte each.

    Returns ({name, length, md5, gaps}, {bases, N, repeats, gc}) as meta.json has them. The md5 is
    of the upper-case letters (SAM's M5); repeats and gc do not count N. Dies if there is no
    sequence, or a letter that is not DNA's.
    """
    md5 = hashlib.md5()
    hashed = HASHER.submit(md5.update, b"")  # no letters yet
    runs = RunsOfN()
    repeats = 0
    gc = 0
    for piece in pieces:
        letters = without_white_space(piece)
        if not letters:
            continue
        bases = np.frombuffer(letters.translate(TO_BASES), np.uint8)
        if bases.max() == NOT_DNA:
            at = int(bases.argmax())
            die(
                f"{path}: {name} has {chr(letters[at])!r} at base {runs.length + at:,}: "
                "not DNA (a protein? a damaged file?)"
            )
        file.write(bases)
        hashed.result()  # no more than one piece waits in memory
        upper = np.frombuffer(letters, np.uint8) & 0xDF  # without the bit that makes lower case
        hashed = HASHER.submit(md5.update, upper)
        runs.add(bases)
        repeats += int(np.count_nonzero(bases & (REPEAT | N) == REPEAT))
        token = bases & 7
        gc += int(np.count_nonzero(token == C) + np.count_nonzero(token == G))
    hashed.result()
    if runs.length == 0:
        die(f"{path}: {name} has no sequence: is the file truncated?")
    found = runs.found()
    sizes = found[:, 1] - found[:, 0]
    gaps = found[sizes >= MIN_GAP].tolist()
    row = dict(name=name, length=runs.length, md5=md5.hexdigest(), gaps=gaps)
    counts = dict(bases=runs.length, N=int(sizes.sum()), repeats=repeats, gc=gc)
    return row, counts


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
        unknown = bases & N != 0  # the bit that only N has
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
