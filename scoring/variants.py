"""Variants of a VCF: read one by one, and laid out as windows with either allele."""

from dataclasses import dataclass

import numpy as np

from config import die
from data import N, decode, encode, reverse_complement
from data.files import read_lines
from scoring.likelihood import STRANDS, log_likelihoods
from scoring.sequences import Skipped

COLUMNS = ("CHROM", "POS", "ID", "REF", "ALT")
DISAGREES = "REF is not the genome's"


@dataclass
class Variant:
    """A REF and one ALT of a row. note: why it has no score, or ""."""

    chrom: str
    pos: int  # as the VCF has it, 1-based
    id: str
    ref: str
    alt: str
    note: str = ""

    @property
    def labels(self):
        return self.chrom, self.pos, self.id, self.ref, self.alt

    @property
    def where(self):
        return f"{self.chrom}:{self.pos} {shortened(self.ref)}>{shortened(self.alt)}"


def shortened(allele):
    """An allele, of which a long one is cut."""
    return allele if len(allele) <= 20 else f"{allele[:17]}..."


def read_variants(path):
    """Yield a Variant for each ALT of each row of a VCF, compressed or not, in the file's order;
    dies at a row that is none.
    """
    empty = True
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith("#") or not line.strip():
            continue
        columns = line.split("\t")
        numbers = len(columns) > 2 and all(cell.strip().isdecimal() for cell in columns[1:3])
        is_row = len(columns) >= len(COLUMNS) and columns[1].strip().isdecimal()
        if empty and is_row and numbers and not columns[3].strip().isalpha():
            is_row = False  # start and end, and a name where REF should be
        if not is_row:
            found = " ".join(columns)[:60].strip()
            text = (
                f"{path} line {number} is not {', '.join(COLUMNS)}, separated by tabs, as in VCF: "
                f"{found!r}"
            )
            if numbers:
                text += "; a BED of regions is --bed"
            die(text)
        empty = False
        chrom, pos, name, ref, alts = (column.strip() for column in columns[: len(COLUMNS)])
        for alt in alts.split(","):
            yield Variant(chrom, int(pos), name, ref, alt)
    if empty:
        die(f"{path} holds no variants: give another VCF")


def batched(variants, n):
    """Yield lists of n variants, the last one of what is left."""
    batch = []
    for variant in variants:
        batch.append(variant)
        if len(batch) == n:
            yield batch
            batch = []
    if batch:
        yield batch


def check(variant, genome, flank):
    """Why a variant cannot be scored, or ""; flank: bases on either side."""
    name = genome.find(variant.chrom)
    start = variant.pos - 1
    if name is None:
        return "not on the genome"
    if start < 0 or start + len(variant.ref) > genome.chroms[name]["length"]:
        return "off the end of the chromosome"
    if not variant.ref:
        return "REF is no sequence"
    if variant.alt in ("", ".", "*", "<*>", "<NON_REF>"):
        return "ALT is no sequence"
    if any(letter in variant.alt for letter in "<>[]"):
        return "symbolic ALT"
    if set((variant.ref + variant.alt).upper()) - set("ACGT"):
        return "letters other than A, C, G, T"
    held = decode(genome.fetch(name, start, start + len(variant.ref)) & 7)
    if variant.ref.upper() != held:
        return DISAGREES
    if variant.ref.upper() == variant.alt.upper():
        return "ALT is REF"
    low, high, alt = trim(variant)
    if max(high - low, len(alt)) > flank:
        return f"longer than the {flank} bases on a side"
    windows = allele_windows(variant, genome, flank)
    if not all(same_known(pair) for pair in windows.values()):
        return "N, or the chromosome's end, in one of its windows"
    return ""


def same_known(windows):
    """Whether two alleles' windows, (2, T), hold as many known bases: otherwise their
    log-likelihoods do not compare.
    """
    known = (windows < N).sum(1)
    return known[0] == known[1]


def check_all(path, genome, flank):
    """(how many variants of a VCF can be scored, the genome's names of their chromosomes, the
    others as Skipped).

    Dies if none can, and if REF is wrong more often than right: the VCF is of another assembly.
    """
    n = 0
    chroms = {}
    skipped = Skipped()
    for variant in read_variants(path):
        note = check(variant, genome, flank)
        if note:
            skipped.add(note, variant.where)
        else:
            n += 1
            chroms[genome.find(variant.chrom)] = True
    n_wrong = skipped.counts[DISAGREES]
    if n_wrong > n:
        die(
            f"{path}: REF is not what {genome.folder} has at {n_wrong:,} of {n_wrong + n:,} "
            f"variants, first {skipped.first[DISAGREES]}: give --dataset=FOLDER of the VCF's "
            "assembly, and a VCF that counts from 1 and has the genome's base as REF"
        )
    if n == 0:
        die(f"{path} has no variant that can be scored: {skipped.summary()}")
    return n, list(chroms), skipped


def trim(variant):
    """(start, end, bases): the genome's [start, end), 0-based, that the ALT's bases stand for,
    without what both alleles begin or end with.
    """
    ref = variant.ref.upper()
    alt = variant.alt.upper()
    while ref and alt and ref[-1] == alt[-1]:
        ref = ref[:-1]
        alt = alt[:-1]
    start = variant.pos - 1
    while ref and alt and ref[0] == alt[0]:
        ref = ref[1:]
        alt = alt[1:]
        start += 1
    return start, start + len(ref), encode(alt)


def allele_windows(variant, genome, flank):
    """{strand: (2, 2 flank + 1) uint8}: the genome around a variant with its REF and with its ALT.

    All windows are of the same length, or an insertion would be charged for its length (an
    unlikely base costs, whatever it is). Forward they begin `flank` bases before the variant, and
    so hold the same bases up to it; reverse they end `flank` bases behind it. Around a single base
    both are the same window, the base in its middle.
    """
    start, end, alt = trim(variant)
    length = 2 * flank + 1
    name = genome.find(variant.chrom)
    before = genome.fetch(name, start - length, start) & 7
    behind = genome.fetch(name, end, end + length) & 7
    ref = genome.fetch(name, start, end) & 7
    windows = {"forward": [], "reverse": []}
    for allele in (ref, alt):
        windows["forward"].append(np.concatenate((before[-flank:], allele, behind))[:length])
        windows["reverse"].append(np.concatenate((before, allele, behind[:flank]))[-length:])
    return {name: np.stack(pair) for name, pair in windows.items()}


def score_variants(model, variants, genome, flank, strand, batch_size, bar):
    """{strand: (n,) float64 nats}: the log-likelihood of the genome around each of n Variants with
    its ALT minus that with its REF; nan where its note, which is written here, says why.

    flank: bases on either side, at most (block_size - 1) / 2; the rest as on_strands has it.
    """
    pairs = {}  # number of a variant -> its windows
    for i, variant in enumerate(variants):
        variant.note = check(variant, genome, flank)
        if not variant.note:
            pairs[i] = allele_windows(variant, genome, flank)
    scores = {}
    for name in STRANDS[strand]:
        both = [allele for windows in pairs.values() for allele in windows[name]]
        if name == "reverse":
            both = [reverse_complement(window) for window in both]
        nats = log_likelihoods(model, both, batch_size, bar)
        sums = np.array([values.sum(dtype=np.float64) for values in nats]).reshape(-1, 2)
        scores[name] = np.full(len(variants), np.nan)
        scores[name][list(pairs)] = sums[:, 1] - sums[:, 0]
    return scores
