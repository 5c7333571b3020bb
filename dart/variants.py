"""Task 5, zero-shot: variants of one base that change how open the chromatin is. Does the model
score them further from zero than other variants, and on the side of their effect?

The score is that of DART-Eval for causal models: the log-probability, given the bases before, of
the effect allele minus that of the other allele.
"""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from config import die, listed
from dart.metrics import auroc, average_precision, correlation, ranks, with_interval
from dart.progress import bar
from dart.zero_shot import differences
from data import ALPHABET, N, encode, reverse_complement
from data.files import check_regular, read_lines

WINDOW = 2114  # bases; the variant is base 1057 of them, counted from 0
MOST_UNKNOWN = 0.01  # share of variants of which the genome may have neither allele

FIELDS = [  # of a variant
    ("chrom", object),
    ("pos", int),  # 0-based
    ("other_allele", np.uint8),  # A 0 to T 3
    ("effect_allele", np.uint8),  # a positive effect: this one is the more open
    ("effect", float),  # nan if the file has none
    ("significant", bool),
]


@dataclass
class Kind:
    """One of DART-Eval's two files: its columns (lower-case), and what its label says of controls.

    used: the row counts if all of these are true. Either allele may be the reference.
    """

    name: str
    assembly: str
    chrom: str
    pos: str  # 1-based
    other_allele: str
    effect_allele: str
    effect: str
    label: str
    control: tuple
    used: tuple

    @property
    def columns(self):
        """All that are read."""
        alleles = (self.other_allele, self.effect_allele)
        return (self.chrom, self.pos, *alleles, self.effect, self.label, *self.used)


# The effect alleles are those of the official notebooks, which correlate allele 2 minus allele 1
# with the caQTLs' beta, but allele 1 minus allele 2 with the dsQTLs' estimate.
CAQTL = Kind(
    name="African caQTLs",
    assembly="hg38",
    chrom="chr_hg38",
    pos="pos_hg38",
    other_allele="allele1",
    effect_allele="allele2",
    effect="beta",
    label="label",
    control=("false", "0", "0.0"),
    used=("isused", "in_peaks"),
)
DSQTL = Kind(
    name="Yoruban dsQTLs",
    assembly="hg19",
    chrom="var.chrom",
    pos="var.pos",
    other_allele="var.allele2",
    effect_allele="var.allele1",
    effect="obs.estimate",
    label="var.label",
    control=("-1", "-1.0"),
    used=("var.isused",),
)
KINDS = (CAQTL, DSQTL)
TRUE = ("true", "t", "1", "1.0")
MISSING = ("", "na", "nan", "null", "none")


# ---- the file


def read_variants(path, said=None):
    """A TSV of DART-Eval, compressed or not -> (record array of variants with the FIELDS above,
    Kind).

    Only rows that the official evaluation uses: those that the file marks as used, and that it
    labels as significant or as a control. said: a list that gets lines on what is left out. Dies at
    a missing column, at a row that cannot be read, and if no variant is left.
    """
    said = [] if said is None else said
    path = Path(path)
    check_regular(path, "--variants")
    lines = read_lines(path)
    header = next(lines, "")
    names = [name.strip().strip('"').lower() for name in header.split("\t")]
    kind = find_kind(names, header, path)
    rows = []
    left_out = Counter()
    n_rows = 0
    for number, line in enumerate(lines, 2):
        if not line.strip():
            continue
        n_rows += 1
        cells = [cell.strip().strip('"') for cell in line.split("\t")]
        where = f"{path} line {number}"
        if len(cells) != len(names):
            die(f"{where} has {len(cells)} columns, the header has {len(names)}: fetch it again")
        row, why_not = read_row(dict(zip(names, cells)), kind, where)
        if why_not:
            left_out[why_not] += 1
        else:
            rows.append(row)
    for why_not, n in left_out.items():
        said.append(f"{n:,} of {n_rows:,} rows are left out: {why_not}")
    if not rows:
        die(f"{path} holds no variants that are used ({n_rows:,} rows): fetch it again")
    return np.rec.array(rows, FIELDS), kind


def find_kind(names, header, path):
    """The Kind that a file's columns are of; dies if some of the nearest kind's are missing."""
    if not header.strip():
        die(f"{path} is empty: give --variants=FILE, a TSV of DART-Eval's Task 5")
    kind = max(KINDS, key=lambda kind: sum(column in names for column in kind.columns))
    missing = [column for column in kind.columns if column not in names]
    if len(names) == 1 and "," in header:
        die(f"{path} has commas between its columns: give tabs (tr , '\\t' < {path} > FILE)")
    if missing:
        die(
            f"{path} has no column {listed(missing)} as a TSV of {kind.name} has; it has "
            f"{listed(names, 10)}: give --variants=FILE, a TSV of DART-Eval's Task 5"
        )
    return kind


def read_row(cells, kind, where):
    """{column: text} -> (a variant as FIELDS has it, "") or (None, why the row is left out).

    Dies, saying where, if a cell cannot be read.
    """
    if not all(cells[column].lower() in TRUE for column in kind.used):
        return None, f"not marked as used ({', '.join(kind.used)})"
    label = cells[kind.label].lower()
    if label not in TRUE + kind.control:
        return None, "neither significant nor a control"
    alleles = [cells[kind.other_allele].upper(), cells[kind.effect_allele].upper()]
    if not all(len(allele) == 1 and allele in "ACGT" for allele in alleles):
        return None, "an allele is not one base"
    pos = read_number(cells, kind.pos, where)
    if not pos.is_integer() or pos < 1:
        die(f"{where}: {kind.pos} is {cells[kind.pos]!r}, not a position, counted from 1")
    if cells[kind.effect].lower() in MISSING:
        effect = math.nan
    else:
        effect = read_number(cells, kind.effect, where)
    other, tested = encode("".join(alleles)).tolist()
    return (cells[kind.chrom], int(pos) - 1, other, tested, effect, label in TRUE), ""


def read_number(cells, column, where):
    """The number in a column; dies, saying where, if there is none."""
    try:
        return float(cells[column])  # R writes 100000 as 1e+05
    except ValueError:
        die(f"{where}: {column} is {cells[column]!r}, not a number: fetch the file again")


# ---- the genome


def check_reference(genome, variants, path="the TSV"):
    """(the variants that lie on the genome, with its names of their chromosomes; lines on the
    others and on those of which it has neither allele).

    The latter stay, for the official code scores them too. Dies if they are over 1 %, for then the
    genome is another one, and if no variant is left.
    """
    kept, said = keep_inside(genome, variants)
    if len(kept) == 0:
        there = listed(genome.chroms, 5)
        die(f"no variant of {path} lies on {genome.folder} ({there}): choose another --dataset")
    places = zip(kept.chrom, kept.pos.tolist())
    here = np.array([genome.fetch(chrom, pos, pos + 1)[0] & 7 for chrom, pos in places])
    unknown = (here != kept.other_allele) & (here != kept.effect_allele)
    n = int(unknown.sum())
    if n > MOST_UNKNOWN * len(kept):
        first = kept[unknown][0]
        assemblies = ", ".join(f"{kind.name}: {kind.assembly}" for kind in KINDS)
        die(
            f"{path}: at {n:,} of {len(kept):,} variants {genome.folder} has neither allele, first "
            f"at {first.chrom}:{first.pos + 1}: give --dataset=FOLDER of the TSV's assembly "
            f"({assemblies}), and positions counted from 1"
        )
    if n:
        said.append(f"{n:,} variants of which the genome has neither allele, scored all the same")
    return kept, said


def keep_inside(genome, variants):
    """(the variants that lie on the genome, with its names of their chromosomes; lines on the
    others).
    """
    named = {name: genome.find(name) for name in dict.fromkeys(variants.chrom)}
    has_name = np.array([named[name] is not None for name in variants.chrom], bool)
    kept = variants[has_name]  # a copy
    kept.chrom = [named[name] for name in kept.chrom]
    lengths = np.array([genome.chroms[name]["length"] for name in kept.chrom], int)
    inside = kept.pos < lengths
    said = []
    missing = [name for name, ours in named.items() if ours is None]
    if missing:
        n = int((~has_name).sum())
        names = listed(missing, 5)
        said.append(f"{n:,} variants are on names that are not in the genome, left out: {names}")
    if not inside.all():
        n = int((~inside).sum())
        said.append(f"{n:,} variants lie beyond their chromosome's end, left out")
    return kept[inside], said


def make_windows(genome, variants, length=WINDOW):
    """((M, 2, length) uint8 bases A 0 to T 3: the genome around each variant with its other allele
    and with its effect allele, at base length // 2; how many windows hold N or hang over a
    chromosome's end, which is read as A, as the official code does).

    The official code fails at windows that hang over a chromosome's start.
    """
    at = length // 2
    windows = np.empty((len(variants), 2, length), np.uint8)
    places = zip(variants.chrom, (variants.pos - at).tolist())
    for i, (chrom, start) in enumerate(bar(places, "windows", len(variants))):
        windows[i] = genome.fetch(chrom, start, start + length) & 7
    windows[:, 0, at] = variants.other_allele
    windows[:, 1, at] = variants.effect_allele
    holes = int((windows[:, 0] == N).any(1).sum())
    windows[windows == N] = ALPHABET.index("A")
    return windows, holes


# ---- the score


def score_variants(candidate, windows, batch_size=128, context=WINDOW, whole=False):
    """(M, 2, T) windows -> (M, 2) nats: the scores of the variants, read on one strand (official)
    and on the other.

    context: how many tokens the model can read, its start symbol included. whole: the difference
    between the log-probabilities of the whole windows, of the middle `context` bases, and not of
    the alleles alone.
    """
    T = windows.shape[2]
    if candidate.model is None:
        return np.zeros((len(windows), 2))
    columns = []
    for strand, at in ((windows, T // 2), (reverse_complement(windows), T - 1 - T // 2)):
        if whole:
            start = max(0, at - context // 2)
            middle = strand[:, :, start : start + context]
            columns.append(-differences(candidate, middle, batch_size))
        else:
            columns.append(score_alleles(candidate, strand, at, batch_size, context))
    return np.stack(columns, 1)


@torch.inference_mode()
def score_alleles(candidate, windows, at, batch_size, context):
    """(M, 2, T) windows that differ in base `at` alone -> (M,) nats: the log-probability of the
    second's base there minus that of the first's, given the (at most context - 1) bases before.
    """
    start = max(0, at - context + 1)
    before = torch.from_numpy(np.ascontiguousarray(windows[:, 0, start:at]))
    alleles = torch.from_numpy(np.ascontiguousarray(windows[:, :, at])).long()
    scores = []
    for rows in bar(torch.arange(len(before)).split(batch_size), candidate.name):
        tokens = F.pad(before[rows].to(candidate.device).long(), (1, 0), value=N)
        with candidate.autocast:
            logits = candidate.model(tokens)[:, -1]
        both = logits.cpu().double().gather(1, alleles[rows])
        scores.append(both[:, 1] - both[:, 0])  # what makes logits probabilities cancels
    return torch.cat(scores).numpy()


def judge_variants(candidate, windows, variants, batch_size=128, context=WINDOW, whole=False):
    """{"one_strand": the official metrics, "both_strands": those of the mean score of both}.

    windows: (M, 2, T), of the M variants; the rest as score_variants has it.
    """
    scores = score_variants(candidate, windows, batch_size, context, whole)
    return {
        "one_strand": variant_metrics(scores[:, 0], variants),
        "both_strands": variant_metrics(scores.mean(1), variants),
    }


# ---- the metrics


def variant_metrics(scores, variants):
    """Metrics of (M,) scores of M variants.

    auroc, auprc (average precision, which is `share_significant` by chance): significant variants
    against controls, by the size of the score whatever its sign. pearson, spearman: of the score
    with the effect, over the `correlated` significant variants whose effect is known. All but auprc
    have a value and its 95 % interval; None where there are too few variants or all are equal.
    """
    significant = variants.significant
    size = abs(scores)
    known = significant & np.isfinite(variants.effect)
    effect = variants.effect[known]
    n = int(known.sum())
    return {
        "variants": len(scores),
        "significant": int(significant.sum()),
        "share_significant": float(significant.mean()),
        "auroc": auroc(size, significant),
        "auprc": average_precision(size, significant),
        "correlated": n,
        "pearson": with_interval(correlation(scores[known], effect), n, 1.0),
        # 1.06: Fieller, Hartley and Pearson, Biometrika 44 (1957), for ranks
        "spearman": with_interval(correlation(ranks(scores[known]), ranks(effect)), n, 1.06),
    }
