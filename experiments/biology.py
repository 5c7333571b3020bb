"""Does it know biology? Is a change of a functional site less likely, to a model, than the same
change elsewhere?

  python -m experiments.biology --ckpt=out/ckpt.pt --gtf=genes.gtf.gz

Asked of the genes of a GTF or GFF3 that lie on held-out parts of the genome. Sites: splice donors
(the GT that an intron begins with) and acceptors (the AG that it ends with), start and stop
codons, coding bases by their place in the codon, changes of a protein's letter (missense) and to a
stop codon (nonsense). A site's score is the mean, over all changes of one of its bases and over
both strands, of the log-likelihood of the DNA around it with the change minus that without it.

Each site has a control: the same letters with the same neighbours on either side, read on the
gene's strand, as lower-case (repeats) or upper-case as they are, changed in the same way, where
nothing is annotated: in introns for donors and acceptors, outside of exons, at most 5 kb from a
gene, for codons. Missense and nonsense changes have synonymous ones. The same gene's if it has one
left, otherwise another's; none is used twice. So order-1 composition and the mutation's kind are
matched; what lies further away (a splice site's pyrimidines, an exon's GC) is not: the Markov
models, counted on the training bases, say how far that goes.
"""

import argparse
import json
from collections import defaultdict
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from tqdm import tqdm

from config import die, find_dataset, main_dataset
from dart.metrics import auroc
from dart.notes import about_genome, about_names
from data import SPLITS, Genome, N, reverse_complement
from data.corpus import all_data
from data.files import check_regular
from experiments.gtf import (
    STOPS,
    add_longest_frames,
    is_complete,
    read_transcripts,
    reads,
)
from markov import Markov
from runtime.checkpoint import load_model
from runtime.output import check_output
from scoring.likelihood import log_likelihoods

MARGIN = 5000  # bases on either side of a gene that may hold controls
FEWEST_JUNCTIONS = 0.8  # share that must be GT and AG, or the GTF is of another assembly
EXON, SITE = 1, 2  # marks of a base
SPLICE = {"donor": ("GT",), "acceptor": ("AG",)}
CODONS = {"start codon": ("ATG",), "stop codon": STOPS}
CODING = ("codon base 1", "codon base 2", "codon base 3")
CHANGED = ("missense", "nonsense")  # against synonymous
KINDS = (*SPLICE, *CODONS, *CODING, *CHANGED)
# The amino acids of the 64 codons, AAA, AAC ... TTT: NCBI's translation table 1; *: stop
AMINO = b"KNKNTTTTRSRSIIMIQHQHPPPPRRRRLLLLEDEDAAAAGGGGVVVV*Y*YSSSS*CWCLFLF"
AMINO = np.frombuffer(AMINO, np.uint8)
RESAMPLED = 2000  # times that the genes are drawn again, for an interval


@dataclass(eq=False)
class Strip:
    """A gene and what lies around it, read on the gene's strand.

    bases: (n,) uint8 with repeat bits. start, end: on the chromosome. free: (n,) bool, may hold
    controls: no exon, no site of any gene. introns: those of them inside of the gene. sites: kind
    -> indices of sites' first bases. cds: indices of the coding bases of its longest complete
    transcript.
    """

    gene: str
    chrom: str
    strand: str
    start: int
    end: int
    bases: np.ndarray
    free: np.ndarray
    introns: np.ndarray
    sites: dict = field(default_factory=partial(defaultdict, set))
    cds: np.ndarray = field(default_factory=partial(np.zeros, 0, int))

    def index(self, place, length=1):
        """Where `length` bases begin that lie at a place of the chromosome, and right of it."""
        return self.end - place - length if self.strand == "-" else place - self.start

    def place(self, at):
        """The place on the chromosome of the base that an index is of."""
        return self.end - 1 - at if self.strand == "-" else self.start + at


@dataclass
class Place:
    """Bases of a strip to change. changes: [(which of them, base), ...], one at a time."""

    strip: Strip
    at: int
    length: int
    changes: list


# ---- the genes


def mark_bases(genome, transcripts):
    """{chromosome of ours: (its length,) uint8}: which bases are in an EXON, and which are a SITE
    where exons join, of any transcript.
    """
    marks = {}
    for transcript in transcripts:
        name = genome.find(transcript.chrom)
        if name is None:
            continue
        if name not in marks:
            marks[name] = np.zeros(genome.chroms[name]["length"], np.uint8)
        for start, end in transcript.exons:
            marks[name][start:end] |= EXON
        for places in transcript.splice_sites():
            for place in places:
                marks[name][place : place + 2] |= SITE
    return marks


def make_strips(genome, transcripts, splits, flank):
    """[Strip, ...] of the genes that lie, with all around them, in one of the splits."""
    marks = mark_bases(genome, transcripts)
    genes = defaultdict(list)
    for transcript in transcripts:
        name = genome.find(transcript.chrom)
        if name is not None:
            genes[transcript.gene, name, transcript.strand].append(transcript)
    strips = []
    around = MARGIN + flank
    for (gene, name, strand), members in genes.items():
        start = min(member.start for member in members) - around
        end = max(member.end for member in members) + around
        if genome.split_at(name, start, end) not in splits:
            continue
        free = marks[name][start:end] == 0
        free[:flank] = free[-flank:] = False  # a window must fit around it
        introns = free.copy()
        introns[:around] = introns[-around:] = False
        bases = genome.fetch(name, start, end)
        if (bases & 7 == N).all():
            continue
        if strand == "-":
            bases = reverse_complement(bases)
            free, introns = free[::-1], introns[::-1]
        strips.append(Strip(gene, name, strand, start, end, bases, free, introns))
        add_sites(strips[-1], members)
    return strips


def add_sites(strip, transcripts):
    """Write a gene's sites, and the coding bases of its longest complete transcript."""
    for transcript in transcripts:
        for kind, places in zip(SPLICE, transcript.splice_sites()):
            strip.sites[kind].update(strip.index(place, 2) for place in places)
        cds = strip.index(transcript.coding())
        if not is_complete(strip.bases[cds]):
            continue
        for kind, codon in zip(CODONS, (cds[:3], cds[-3:])):
            if codon[2] - codon[0] == 2:  # not separated by an intron
                strip.sites[kind].add(int(codon[0]))
        if len(cds) > len(strip.cds):
            strip.cds = cds


def check_junctions(strips, path):
    """The share of introns' ends that are GT and AG, and how many there are; dies if most are not,
    for then the genome is another one.
    """
    right = []
    for strip in strips:
        for kind, words in SPLICE.items():
            ends = [strip.bases[at : at + 2] for at in strip.sites[kind]]
            right += [reads(bases, *words) for bases in ends if (bases & 7 < N).all()]
    share = float(np.mean(right)) if right else 1.0
    if share < FEWEST_JUNCTIONS:
        die(
            f"{path}: only {share:.0%} of {len(right):,} ends of introns are GT or AG: give "
            "--dataset=FOLDER of the genome that the file describes"
        )
    return share, len(right)


# ---- sites and their controls


def all_changes(bases):
    """[(k, base), ...]: each of (length,) bases replaced by each of the three others."""
    return [(k, new) for k, old in enumerate(bases & 7) for new in range(4) if new != old]


def find_like(bases, allowed, wanted):
    """Where (n,) bases have the bytes of `wanted` and all of them but the first and the last, the
    neighbours, are allowed: indices of the one behind the first.
    """
    n = len(bases) - len(wanted) + 1
    hit = np.ones(n, bool)
    for k, base in enumerate(wanted):
        hit &= bases[k : k + n] == base
        if 0 < k < len(wanted) - 1:
            hit &= allowed[k : k + n]
    return np.flatnonzero(hit) + 1


def find_control(site, strips, area, used, rng):
    """A Place with the letters and neighbours of a site in the `area`, free or introns, of its own
    strip or else of another; None if all are used. used: a set, which gets it.
    """
    wanted = site.strip.bases[site.at - 1 : site.at + site.length + 1]
    others = (strips[i] for i in rng.permutation(len(strips)))
    for strip in (site.strip, *others):
        for at in rng.permutation(find_like(strip.bases, getattr(strip, area), wanted)):
            key = (strip.chrom, strip.strand, strip.place(int(at)))
            if key not in used:
                used.add(key)
                return Place(strip, int(at), site.length, site.changes)
    return None


def pair_motifs(strips, kind, words, area, most, rng):
    """[(site, control), ...]: at most `most` Places of a kind that spell one of the words."""
    found = [(strip, at) for strip in strips for at in sorted(strip.sites[kind])]
    length = len(words[0])
    pairs = []
    used = set()
    for i in rng.permutation(len(found)):
        strip, at = found[i]
        bases = strip.bases[at : at + length]
        if len(pairs) == most:
            break
        if reads(bases, *words):
            site = Place(strip, at, length, all_changes(bases))
            control = find_control(site, strips, area, used, rng)
            if control:
                pairs.append((site, control))
    return pairs


def coding_changes(strips):
    """Every change of a base of the strips' coding bases, start and stop codons left out, as an
    array of rows: owner (number of the strip), at, codon (which base of it, 0 to 2), new (the
    base), change (synonymous "", or one of CHANGED), like (equal where the letters around, the
    repeat bits and the new base are).
    """
    fields = [("owner", int), ("at", int), ("codon", int), ("new", int)]
    parts = []
    for owner, strip in enumerate(strips):
        if ((strip.bases[strip.cds] & 7) == N).any():
            continue  # its codons are not known
        at = strip.cds[3:-3]
        n = len(at)
        codons = (strip.bases[at] & 7).astype(int).reshape(-1, 3) @ [16, 4, 1]
        for step in (1, 2, 3):
            part = np.recarray(n, [*fields, ("change", "U8"), ("like", int)])
            old = (strip.bases[at] & 7).astype(int)
            part.owner = owner
            part.at = at
            part.codon = np.arange(n) % 3
            part.new = (old + step) % 4
            before = AMINO[codons.repeat(3)]
            after = AMINO[codons.repeat(3) + (part.new - old) * 4 ** (2 - part.codon)]
            part.change = np.where(after == ord("*"), "nonsense", "missense")
            part.change[after == before] = ""
            around = [strip.bases[at + k].astype(int) for k in (-1, 0, 1)]
            part.like = ((around[0] * 16 + around[1]) * 16 + around[2]) * 4 + part.new
            parts.append(part)
    return np.concatenate(parts).view(np.recarray)


def pair_coding(strips, changes, which, most, rng):
    """[(site, control), ...] of a codon's base `which`, 0 to 2, one change of each."""
    pairs = []
    used = set()
    rows = rng.permutation(np.flatnonzero(changes.codon == which))
    for row in changes[rows[: 2 * most]]:
        site = Place(strips[row.owner], int(row.at), 1, [(0, int(row.new))])
        control = find_control(site, strips, "free", used, rng)
        if control and len(pairs) < most:
            pairs.append((site, control))
    return pairs


def pair_changed(strips, changes, kind, most, rng):
    """[(site, control), ...] of changes of a kind, each with a synonymous one."""
    silent = changes[changes.change == ""]
    free = np.ones(len(silent), bool)
    pairs = []
    rows = rng.permutation(np.flatnonzero(changes.change == kind))
    for row in changes[rows[: 2 * most]]:
        found = np.flatnonzero((silent.like == row.like) & free)
        own = found[silent.owner[found] == row.owner]
        if len(found) == 0 or len(pairs) == most:
            continue
        chosen = rng.choice(own if len(own) else found)
        free[chosen] = False
        other = silent[chosen]
        change = [(0, int(row.new))]
        site = Place(strips[row.owner], int(row.at), 1, change)
        pairs.append((site, Place(strips[other.owner], int(other.at), 1, change)))
    return pairs


def make_pairs(strips, most, seed):
    """{kind: [(site, control), ...]} of all KINDS, at most `most` of each."""
    pairs = {}
    for areas, words_of in (("introns", SPLICE), ("free", CODONS)):
        for kind, words in words_of.items():
            rng = np.random.default_rng([seed, KINDS.index(kind)])
            pairs[kind] = pair_motifs(strips, kind, words, areas, most, rng)
    changes = coding_changes(strips)
    for kind in (*CODING, *CHANGED):
        rng = np.random.default_rng([seed, KINDS.index(kind)])
        if kind in CODING:
            pairs[kind] = pair_coding(strips, changes, CODING.index(kind), most, rng)
        else:
            pairs[kind] = pair_changed(strips, changes, kind, most, rng)
    return pairs


# ---- their scores


def score(model, places, flank, batch_size, bar):
    """(n,) float64 nats: of each Place, the mean over its changes and over both strands of the
    log-likelihood of it and `flank` bases on either side with the change minus that without.

    The same as scoring.variants has, but the unchanged window is read once for all changes.
    """
    windows = []
    for place in places:
        end = place.at + place.length + flank
        own = place.strip.bases[place.at - flank : end] & 7
        windows.append(own)
        for which, new in place.changes:
            changed = own.copy()
            changed[flank + which] = new
            windows.append(changed)
    sums = np.zeros(len(windows))
    for strand in (windows, [reverse_complement(window) for window in windows]):
        nats = log_likelihoods(model, strand, batch_size, bar)
        sums += [values.sum(dtype=np.float64) / 2 for values in nats]
    scores = []
    at = 0
    for place in places:
        n = len(place.changes)
        scores.append(sums[at + 1 : at + 1 + n].mean() - sums[at])
        at += 1 + n
    return np.array(scores)


def as_model(markov):
    """A Markov model with what log_likelihoods asks of a GPT: its context and its device."""
    markov.config = SimpleNamespace(block_size=2**20)
    markov.cos = torch.zeros(0)
    return markov


def judge(pairs, nats):
    """What (2, n) nats of the sites and of the controls of n pairs say.

    auroc: that a site's is the lower one, with Hanley and McNeil's interval. nats: the mean of
    site minus control, with an interval from drawing the sites' genes again and again.
    """
    n = len(pairs)
    genes = np.unique([site.strip.gene for site, _ in pairs], return_inverse=True)[1]
    counts = np.bincount(genes)
    sums = np.bincount(genes, nats[0] - nats[1])
    drawn = np.random.default_rng(0).multinomial(
        len(counts), np.full(len(counts), 1 / len(counts)), RESAMPLED
    )
    low, high = np.quantile(drawn @ sums / (drawn @ counts), (0.025, 0.975))
    return {
        "sites": n,
        "genes": len(counts),
        "own_gene": sum(site.strip is control.strip for site, control in pairs) / n,
        "auroc": auroc(-nats.ravel(), np.arange(2 * n) < n),
        "nats": {"value": float(sums.sum() / n), "low": float(low), "high": float(high)},
    }


def judge_all(model, pairs, flank, batch_size, name):
    """{kind: what judge says} of the kinds that have pairs."""
    found = {}
    with tqdm(desc=name, unit=" bases", unit_scale=True, disable=None, leave=False) as bar:
        for kind, some in pairs.items():
            if some:
                places = [site for site, _ in some] + [control for _, control in some]
                nats = score(model, places, flank, batch_size, bar).reshape(2, -1)
                found[kind] = judge(some, nats)
    return found


def print_table(model, baselines):
    """One row a kind: the model, and the Markov model with the highest AUROC for that kind."""

    def cells(row):
        a, d = row["auroc"], row["nats"]
        area = f"{a['value']:.3f} [{a['low']:.3f}, {a['high']:.3f}]"
        return f"{area}  {d['value']:+.3f} [{d['low']:+.3f}, {d['high']:+.3f}]"

    heads = f"{'AUROC [95 %]':21}  {'nats [95 %]':23}"
    print(f"{'':13}{'sites':>6}{'genes':>6}{'own':>6}  {heads}  best Markov: {heads}".rstrip())
    for kind, row in model.items():
        order = max(baselines, key=lambda order: baselines[order][kind]["auroc"]["value"])
        counts = f"{row['sites']:6,}{row['genes']:6,}{row['own_gene']:6.0%}"
        print(
            f"{kind:13}{counts}  {cells(row)}  order {order:>2}     {cells(baselines[order][kind])}"
        )


# ---- the command


def read_words():
    """The settings of the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ckpt", required=True, help="the model")
    parser.add_argument("--gtf", type=Path, required=True, help="GTF or GFF3, compressed or not")
    parser.add_argument("--dataset", default="", help="prepared genome; that of the training")
    parser.add_argument("--splits", nargs="+", default=["val", "test"], choices=SPLITS)
    parser.add_argument("--longest_frame", action="store_true", help="of exons, where no CDS is")
    parser.add_argument("--max_sites", type=int, default=200, help="of each kind")
    parser.add_argument("--flank", type=int, default=63, help="bases read on either side")
    parser.add_argument("--order", type=int, default=12, help="highest of the Markov models")
    parser.add_argument("--seed", type=int, default=1, help="which sites, and which controls")
    parser.add_argument("--batch_size", type=int, default=16, help="windows at a time")
    parser.add_argument("--out", type=Path, help="a JSON with all orders")
    args = parser.parse_args()
    if min(args.max_sites, args.flank, args.order, args.batch_size) < 1 or args.seed < 0:
        die("--max_sites, --flank, --order and --batch_size are 1 or more, --seed 0 or more")
    if args.order > args.flank:
        die(f"--order={args.order}: give at most --flank={args.flank}")
    if args.order > 14:
        die(f"--order={args.order}: give at most 14, its counts fill 4 GB")
    check_regular(args.gtf, "--gtf")
    return args


def held_out(genome, transcripts, splits):
    """The transcripts that lie in one of the splits."""
    kept = []
    for transcript in transcripts:
        name = genome.find(transcript.chrom)
        if name and genome.split_at(name, transcript.start, transcript.end) in splits:
            kept.append(transcript)
    return kept


def describe(strips, pairs, args, genome, data):
    """Print what is asked of what; data: what the checkpoint says of its data."""
    share, n = check_junctions(strips, args.gtf)
    print(f"{len(strips):,} genes on {', '.join(args.splits)}; ", end="")
    print(f"{share:.1%} of {n:,} ends of introns are GT or AG")
    chroms = [site.strip.chrom for some in pairs.values() for site, _ in some]
    print(about_genome(genome, data))
    if genome.fingerprint not in [about.get("fingerprint") for about in all_data(data)]:
        print(about_names(chroms, data, "the genes"))
    if "train" in args.splits:
        print("warning: these genes are not held out")


def main():
    args = read_words()
    check_output(str(args.out or "-"))
    model, checkpoint = load_model(args.ckpt)
    if 2 * args.flank + 3 > model.config.block_size:
        most = (model.config.block_size - 3) // 2
        die(f"--flank={args.flank}: give at most {most} for {args.ckpt}")
    genome = Genome(find_dataset(args.dataset or main_dataset(checkpoint)))
    if len(genome.bases("train")) == 0:
        die(f"{genome.folder} has no training bases, of which Markov models are counted")
    transcripts = read_transcripts(args.gtf)
    if args.longest_frame:
        add_longest_frames(held_out(genome, transcripts, args.splits), genome)
    strips = make_strips(genome, transcripts, args.splits, args.flank)
    if not strips:
        die(f"{args.gtf} has no gene on the {' and '.join(args.splits)} split of {genome.folder}")
    pairs = make_pairs(strips, args.max_sites, args.seed)
    if not any(pairs.values()):
        die(f"{args.gtf} has no site with a control on {genome.folder}")
    describe(strips, pairs, args, genome, checkpoint["data"])
    found = judge_all(model, pairs, args.flank, args.batch_size, "model")
    markov = as_model(Markov(genome.bases("train"), args.order))
    baselines = {}
    for order in range(1, args.order + 1):
        name = f"Markov {order}"
        baselines[order] = judge_all(markov.at_order(order), pairs, args.order, 512, name)
    print_table(found, baselines)
    if args.out:
        args.out.write_text(json.dumps({"model": found, "markov": baselines}, indent=1))


if __name__ == "__main__":
    main()
