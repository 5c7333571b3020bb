"""Motifs of transcription factors, read from MEME's files and from JASPAR's."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from config import die
from data.files import check_regular, read_lines

LETTERS = ("A", "C", "G", "T")
WIDTH = re.compile(r"\bw= *(\d+)")  # of a MEME matrix: how many rows it says that it has
LENGTH = re.compile(r"\balength= *(\d+)")  # of its alphabet
ALPHABETS = ("ACGT", "ACGU")  # that MEME has for DNA and for RNA
TRANSLATE = str.maketrans("acgtuU", "ACGTTT")


@dataclass
class Motif:
    """What a transcription factor binds.

    name: its ID and its name, as the file has them. matrix: (L, 4) float64, for each position how
    often A, C, G and T are there, as probabilities or as counts.
    """

    name: str
    matrix: np.ndarray


def consensus(motif):
    """(L,) uint8 bases: the most frequent one at each position, of equal ones the first by the
    alphabet, as DART-Eval has it.
    """
    return motif.matrix.argmax(1).astype(np.uint8)


def read_motifs(path, setting="--motifs"):
    """The motifs of a file, compressed or not, in its order: a list of Motif.

    Reads MEME's text (minimal or a whole report; letter-probability matrices), JASPAR's .jaspar
    (rows such as A [ 1 2 3 ]) and its raw .pfm (four rows of numbers, of A, C, G and T). U is T.
    Motifs of the same name are all kept. setting: what the user named the file by, for messages.
    Dies if the file is none of these, if it holds no motif, and at a matrix that is none.
    """
    path = Path(path)
    check_regular(path, setting)
    lines = [line.strip() for line in read_lines(path)]
    rows = [line for line in lines if line and not line.startswith("#")]
    if not rows:
        die(f"{path} is empty: give {setting}=FILE, motifs in MEME's or JASPAR's format")
    if any(line.startswith(("MEME version", "MOTIF")) for line in lines):
        motifs = read_meme(path, lines)
    elif rows[0].startswith(">") and len(rows) > 1 and set(rows[1].upper()) <= set("ACGTN"):
        die(f"{path} is a FASTA: give {setting}=FILE, motifs in MEME's or JASPAR's format")
    elif rows[0].startswith(">"):
        motifs = read_jaspar(path, lines)
    else:
        die(
            f"{path} is no file of motifs, it begins with {rows[0][:40]!r}: give {setting}=FILE in "
            "MEME's format (MEME version 4, then MOTIF ...) or JASPAR's (>MA0004.1 Arnt)"
        )
    if not motifs:
        die(f"{path} holds no motifs: give {setting}=FILE with some")
    return motifs


def read_numbers(words, where):
    """A row of a matrix; dies unless all are numbers that are 0 or more. where: for messages."""
    try:
        numbers = [float(word) for word in words]
    except ValueError:
        die(f"{where}: not numbers alone: {' '.join(words)[:40]!r}")
    if not all(0 <= number < math.inf for number in numbers):
        die(f"{where}: probabilities or counts are 0 or more: {' '.join(words)[:40]!r}")
    return numbers


def make_motif(path, name, rows):
    """A Motif of (L, 4) rows; dies if there are none, or if no letter is at a position."""
    matrix = np.array(rows, np.float64).reshape(-1, 4)
    if len(matrix) == 0:
        die(f"{path}: motif {name} has no matrix: take it out, or fetch the file again")
    none = np.flatnonzero(matrix.sum(1) == 0)
    if len(none) > 0:
        die(f"{path}: motif {name} has zeros alone at position {none[0] + 1}: take it out")
    return Motif(name, matrix)


# ---- MEME


def check_alphabet(path, line):
    """Die unless an ALPHABET line of a MEME file says DNA or RNA."""
    text = line.removeprefix("ALPHABET").strip().removeprefix("=")
    name = text.strip().strip('"').upper()
    if name not in (*ALPHABETS, "DNA", "RNA"):
        die(f"{path}: its alphabet is {name[:40]}: motifs of DNA are wanted")


def read_meme(path, lines):
    """The motifs of a MEME file's lines, without spaces at their ends; dies as read_motifs does."""
    motifs = []
    name = None  # of a motif that has no matrix yet
    i = 0
    while i < len(lines):
        line = lines[i]
        i += 1
        if line.startswith("ALPHABET"):
            check_alphabet(path, line)
        elif line.startswith("MOTIF"):
            if name is not None:
                make_motif(path, name, [])
            name = " ".join(line.split()[1:]) or f"motif {len(motifs) + 1}"
        elif line.startswith("letter-probability matrix") and name is not None:
            rows = read_meme_matrix(path, lines, i)
            i += len(rows)
            motifs.append(make_motif(path, name, rows))
            name = None
    if name is not None:
        make_motif(path, name, [])
    return motifs


def read_meme_matrix(path, lines, first):
    """(L, 4) numbers, a position a line from lines[first] on; the line before is their header.

    As many as its w= says, else up to a line that does not begin with a number.
    """
    header = lines[first - 1]
    length = LENGTH.search(header)
    if length and length[1] != "4":
        die(f"{path}:{first}: an alphabet of {length[1]} letters: motifs of DNA are wanted")
    width = WIDTH.search(header)
    rows = []
    for i in range(first, len(lines)):
        line = lines[i]
        if not line[:1].isdigit() and not line.startswith(("-", ".")):
            break
        if width and len(rows) == int(width[1]):
            break
        where = f"{path}:{i + 1}"
        words = line.split()
        if len(words) != 4:
            die(f"{where}: a row of {len(words)} numbers, not of four, for A, C, G and T")
        rows.append(read_numbers(words, where))
    if width and len(rows) != int(width[1]):
        die(f"{path}:{first}: a matrix of {len(rows)} rows that says w= {width[1]}: fetch it again")
    return rows


# ---- JASPAR


def read_jaspar(path, lines):
    """The motifs of a JASPAR file's lines, without spaces at their ends; dies as read_motifs
    does.
    """
    motifs = []
    name = None
    block = []  # (number of the line, the line) of the rows of the motif that is being read
    for i, line in enumerate([*lines, ">"]):
        if line.startswith(">"):
            if name is not None:
                motifs.append(make_motif(path, name, read_jaspar_matrix(path, name, block)))
            name = " ".join(line[1:].split()) or f"motif {len(motifs) + 1}"
            block = []
        elif line and not line.startswith("#"):
            block.append((i + 1, line))
    return motifs


def read_jaspar_matrix(path, name, block):
    """(L, 4) numbers from four rows, (number of the line, the line), of L numbers each: of A, C, G
    and T if the rows do not name their letters.
    """
    if len(block) != len(LETTERS):
        die(
            f"{path}: motif {name} has {len(block)} rows, not four, for A, C, G and T "
            "(JASPAR's formats have a letter a row)"
        )
    rows = {}
    for default, (number, line) in zip(LETTERS, block):
        where = f"{path}:{number}"
        words = line.replace("[", " ").replace("]", " ").split()
        letter = default
        if words and words[0].isalpha():
            letter = words.pop(0).translate(TRANSLATE)
        if letter not in LETTERS or letter in rows:
            die(f"{where}: a row of {letter[:40]!r}: each of A, C, G and T has one")
        rows[letter] = read_numbers(words, where)
    lengths = [len(rows[letter]) for letter in LETTERS]
    if len(set(lengths)) != 1:
        die(f"{path}: motif {name} has rows of different lengths: {', '.join(map(str, lengths))}")
    return np.array([rows[letter] for letter in LETTERS]).T
