"""Reading a BED file as people have it: compressed or not, separated by tabs or spaces, with or
without headers.
"""

import re
from functools import cache

from config import die
from data.files import read_lines

POSITION = re.compile(r" *[0-9]{1,12} *")


def read_bed(path, said):
    """The rows of a BED that hold bases: a list of (chrom, start, end, kind), 0-based, half-open.

    kind: column 10 where it is text, as in ENCODE's list of cCREs (PLS, dELS, ...), else "". said:
    a list that gets a line on each thing that is skipped. Dies at a row that is none, and at a
    damaged file.
    """
    rows = []
    n_empty = 0
    for number, columns in bed_columns(path, said):
        row = read_row(columns, f"{path} line {number}")
        if row[1] == row[2]:
            n_empty += 1
        else:
            rows.append(row)
    if n_empty:
        said.append(f"{n_empty:,} rows of no bases are skipped")
    return rows


def bed_columns(path, said):
    """Yield (number of the line, its columns) of each line of a BED that is a row; said: a list
    that gets a line on a header that names the columns. Dies at a damaged file, and at one of
    another format.
    """
    first = True
    for number, line in enumerate(read_lines(path), 1):
        if first:
            check_format(line, path)
        if not line.strip() or line.startswith(("#", "track ", "track\t", "browser ", "browser\t")):
            continue
        columns = line.split("\t") if "\t" in line else line.split()
        if first and is_header(columns):
            said.append(f"line {number} of {path} is taken for a header: {line.strip()[:60]!r}")
        else:
            yield number, columns
        first = False


def check_format(line, path):
    """Die if one of the first lines of a file is of a format that is mistaken for BED."""
    columns = line.split("\t")
    other = ""
    if line.startswith(">"):
        other = "a FASTA"
    elif line.startswith("##fileformat=VCF"):
        other = "a VCF"
    elif line.startswith("##gff") or (
        len(columns) > 8 and columns[3].isdecimal() and not columns[1].strip().isdecimal()
    ):
        other = "a GTF or GFF"
    if other:
        die(f"{path} is {other}, and a BED is wanted: name, start, end, counted from 0")


def is_header(columns):
    """Whether a row names its columns, such as chrom, start, end."""
    return len(columns) > 2 and not any(char.isdecimal() for char in columns[1] + columns[2])


def read_row(columns, where):
    """A row of a BED -> (chrom, start, end, kind); dies, saying where, if it is none.

    kind: column 10 where it is text; a narrowPeak has a number there.
    """
    is_row = len(columns) > 2 and columns[0] != ""
    is_row = is_row and all(POSITION.fullmatch(text) for text in columns[1:3])
    if not is_row or int(columns[1]) > int(columns[2]):
        found = " ".join(columns)[:60].strip()
        die(f"{where} is not name, start, end with start below end, as in BED: {found!r}")
    kind = columns[9].strip() if len(columns) > 9 else ""
    return columns[0], int(columns[1]), int(columns[2]), "" if is_number(kind) else kind


@cache
def is_number(text):
    """Whether a text is a number; a BED has few classes, so each is looked at once."""
    try:
        float(text)
    except ValueError:
        return False
    return True
