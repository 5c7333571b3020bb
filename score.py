"""Score sequences, regions and variants with a trained model, or take its embeddings.

  python score.py --fasta=sequences.fa --out=scores.tsv
  python score.py --bed=regions.bed --out=scores.tsv
  python score.py --bed=regions.bed --flank=512 --per_base --out=bits.bedgraph
  python score.py --vcf=variants.vcf.gz --out=scores.tsv
  python score.py --saturate=chr21:22000000-22001000 --out=saturation.tsv
  python score.py --fasta=sequences.fa --embed --out=states.npy

One of the four inputs; "-" is standard input, and as --out standard output. A sequence's score is
its log-likelihood, in nats; N's are not counted. A variant's score is the log-likelihood of the
genome around it with ALT minus that with REF: below 0, ALT is the less likely. The output has the
input's order. Notes go to standard error. docs/scoring.md says what each column is.
"""

import math
import os
import sys
import tempfile

# torch reads this as it loads: threads that wait leave their core to others
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch
from tqdm import tqdm

from config import configure, die, find_dataset, main_dataset
from dart.notes import about_names
from data import ALPHABET, Genome, N
from data.locus import parse_locus, read_locus
from runtime.checkpoint import load_model
from runtime.device import pick_device
from runtime.output import check_output, open_array, open_output, write_row
from scoring.embeddings import POOLS
from scoring.embeddings import embed as embed_sequences
from scoring.likelihood import STRANDS, on_strands
from scoring.saturation import saturate as saturate_region
from scoring.sequences import from_bed, from_fasta, in_chunks, open_bed, open_input
from scoring.variants import batched, check_all, read_variants, score_variants

ckpt = "out/ckpt.pt"  # the model
fasta = ""  # score its records; names may come again
bed = ""  # score its regions of the genome
vcf = ""  # score its variants of the genome
saturate = ""  # score every other base at each place of a locus: chr21:22000000-22001000
out = "-"  # the file to write; -: standard output
per_base = False  # of a BED or FASTA: bits of each base, as bedGraph
embed = False  # of a BED or FASTA: the model's states instead of scores, as .npy
layer = -1  # of embed: after this many blocks; -1: after all
pool = ""  # of embed: mean | last | none; "": mean
strand = ""  # both | forward | reverse; "": both, of embed forward
flank = -1  # bases beside it read too; -1: of bed 0, of vcf half a context, of saturate an eighth
dataset = ""  # a prepared genome; "": the one that the checkpoint was trained on
batch_size = 0  # windows at once through the model; 0: 128 on a GPU, 8 on a CPU (its cache)
device = "auto"  # auto | cuda | cpu | mps | cuda:1 ...
dtype = "float32"  # auto, bfloat16 and float16 are faster on a GPU, and rough: docs/scoring.md
# ---- end of settings

LN2 = math.log(2)
AT_LEAST = {"flank": -1, "layer": -1, "batch_size": 0}
INPUTS = ("fasta", "bed", "vcf", "saturate")
BATCHES = 4  # whose rows are written together


# ---- what may be wrong


def check_settings(settings):
    """Die at a setting that cannot be."""
    given = [key for key in INPUTS if settings[key]]
    if len(given) != 1:
        die(f"give one of --fasta, --bed, --vcf and --saturate, not {len(given)} of them: --help")
    if strand not in ("", *STRANDS):
        die(f"--strand={strand}: give one of {', '.join(STRANDS)}")
    if pool not in ("", *POOLS):
        die(f"--pool={pool}: give one of {', '.join(POOLS)}")
    for key, low in AT_LEAST.items():
        if settings[key] < low:
            die(f"--{key}={settings[key]}: give at least {low}")
    if saturate and parse_locus(saturate) is None:
        die(f"--saturate={saturate}: give a locus, such as chr21:22000000-22001000")
    check_together()
    for path in (out, names_of_rows()) if embed else (out,):
        check_output(path, inputs=(fasta, bed, vcf, ckpt))


def check_together():
    """Die at settings that do not go with each other, rather than leave one of them out."""
    if (pool or layer >= 0) and not embed:
        die("--pool and --layer are of --embed")
    if fasta and (flank > 0 or dataset):
        die("--flank and --dataset are of a genome: the records of a FASTA are read as they are")
    if (per_base or embed) and not (fasta or bed):
        die("--per_base and --embed are of --fasta or --bed")
    if per_base and embed:
        die("give --per_base or --embed, not both")
    if embed and not out.endswith(".npy"):
        die(f"--embed writes an array: name a file, such as --out=states.npy, not {out!r}")
    if saturate and strand:
        die("--saturate writes both strands: leave out --strand")


def check_model(model):
    """Die if the model has not the layer, or not the context, that is asked for."""
    config = model.config
    if layer > config.n_layer:
        die(f"--layer={layer}: give 0 to {config.n_layer} for {ckpt}, or -1 for the last")
    if vcf and not 1 <= flank_of_variant(model) <= (config.block_size - 1) // 2:
        most = (config.block_size - 1) // 2
        die(f"--flank={flank}: give 1 to {most} for {ckpt}, whose context is {config.block_size}")
    if saturate and not 1 <= behind_a_base(model) <= config.block_size // 4:
        most = config.block_size // 4
        die(f"--flank={flank}: give 1 to {most} for {ckpt}, whose context is {config.block_size}")


def behind_a_base(model):
    """Bases behind a replaced one whose likelihood it changes, for saturate: an eighth of the
    context, unless told. Of a context of 512 what it moves there had a correlation of .999 with
    what it moves in all (experiments/scores.py).
    """
    return model.config.block_size // 8 if flank < 0 else flank


def flank_of_variant(model):
    """Bases on either side of a variant: as many as the context holds, unless told."""
    return (model.config.block_size - 1) // 2 if flank < 0 else flank


def windows_at_once(kind):
    """Windows in a batch for the model, on a kind of device."""
    if batch_size:
        return batch_size
    if kind == "cpu":
        return 8
    return 42 if saturate else 128  # of each window three copies are kept


def chosen_strand():
    """ "both", "forward" or "reverse"."""
    return strand or ("forward" if embed else "both")


def say(line):
    print(line, file=sys.stderr)


# ---- sequences


def score_sequences(model, sequences, labels, at_once, file, bar):
    """Write a row for each Sequence; labels: the names of their own columns."""
    strands = STRANDS[chosen_strand()]
    kinds = [*strands, ""] if len(strands) == 2 else strands
    heads = []
    for head in ("sum", "mean", "bits"):
        heads += [f"{head}_{kind}" if kind else head for kind in kinds]
    write_row(file, *labels, "known", *heads)
    for chunk in in_chunks(sequences, BATCHES * at_once * model.config.block_size):
        bases = [sequence.bases for sequence in chunk]
        nats = on_strands(model, bases, chosen_strand(), at_once, bar)
        for i, sequence in enumerate(chunk):
            counted = slice(sequence.start, sequence.end)
            sums = [float(nats[name][i][counted].sum(dtype=np.float64)) for name in strands]
            if len(sums) == 2:
                sums.append(sum(sums) / 2)
            n = int(sequence.known.sum())
            if n == 0:
                sums = [math.nan] * len(sums)
            means = [total / n if n else math.nan for total in sums]
            bits = [-mean / LN2 for mean in means]
            write_row(file, *sequence.labels, n, *sums, *means, *bits)


def write_bedgraph(model, sequences, at_once, file, bar):
    """Write the bits that each known base costs, of two strands their mean, as bedGraph."""
    last = None  # the place of the last region
    in_order = True
    for chunk in in_chunks(sequences, BATCHES * at_once * model.config.block_size):
        bases = [sequence.bases for sequence in chunk]
        nats = on_strands(model, bases, chosen_strand(), at_once, bar)
        for i, sequence in enumerate(chunk):
            counted = slice(sequence.start, sequence.end)
            bits = np.mean([values[i][counted] for values in nats.values()], 0) / -LN2
            for j in np.flatnonzero(sequence.known).tolist():
                at = sequence.at + j
                file.write(f"{sequence.chrom}\t{at}\t{at + 1}\t{bits[j]:.4f}\n")
            place = (sequence.chrom, sequence.at)
            if last and place < last:
                in_order = False
            last = (sequence.chrom, sequence.at + sequence.end - sequence.start)
    if not in_order:
        say(
            "the sequences overlap or are not in order, which bedGraphToBigWig refuses: "
            "docs/scoring.md says how to sort; of a BED merge what overlaps first"
        )


def names_of_rows():
    """The TSV beside the array of --embed."""
    return f"{out.removesuffix('.npy')}.names.tsv"


def write_embeddings(model, sequences, labels, at_once, bar):
    """Write an array of states to `out`, and beside it a TSV of which rows are whose."""
    after = None if layer < 0 else layer
    with open_output(names_of_rows()) as file, open_array(out) as add:
        write_row(file, *labels, "first_row", "rows")
        for chunk in in_chunks(sequences, BATCHES * at_once * model.config.block_size):
            found = embed_sequences(
                model, chunk, pool or "mean", after, chosen_strand(), at_once, bar
            )
            for sequence, states in zip(chunk, found):
                rows = np.atleast_2d(states)
                first_row = add(rows)
                write_row(file, *sequence.labels, first_row, len(rows))


def run_sequences(model, genome, path, at_once, bar):
    """Score or embed what --fasta or --bed holds. Returns the chromosomes of a BED's regions.

    All of it is read once before: a mistake in its last line ends it at once, and the bar knows how
    much there is.
    """
    if fasta:
        labels = ("name", "length")
        n = sum(len(sequence.bases) for sequence in from_fasta(path))
        if n == 0:
            die(f"--fasta={fasta} holds no DNA: give another FASTA")
        sequences = from_fasta(path)
        chroms = []
    else:
        labels = ("chrom", "start", "end", "name")
        regions = open_bed(path, genome)
        n = sum(end - start + 2 * max(0, flank) for _, start, end, _, _ in regions)
        sequences = from_bed(regions, genome, max(0, flank))
        chroms = [name for *_, name in regions]
    bar.reset(n * len(STRANDS[chosen_strand()]))
    if embed:
        write_embeddings(model, sequences, labels, at_once, bar)
        return chroms
    with open_output(out) as file:
        if per_base:
            write_bedgraph(model, sequences, at_once, file, bar)
        else:
            score_sequences(model, sequences, labels, at_once, file, bar)
    return chroms


# ---- variants


def run_variants(model, genome, path, at_once, bar):
    """Write a row for each ALT of a VCF. Dies if most REFs are not the genome's. Returns the
    chromosomes of those that have a score.
    """
    strands = STRANDS[chosen_strand()]
    heads = [f"llr_{name}" for name in strands]
    if len(strands) == 2:
        heads.append("llr")
    around = flank_of_variant(model)
    n, chroms, skipped = check_all(path, genome, around)
    if skipped.counts:
        say(f"without a score: {skipped.summary()}")
    bar.reset(n * len(strands) * 2 * (2 * around + 1))
    with open_output(out) as file:
        write_row(file, "chrom", "pos", "id", "ref", "alt", *heads, "note")
        for chunk in batched(read_variants(path), BATCHES * at_once):
            scores = score_variants(model, chunk, genome, around, chosen_strand(), at_once, bar)
            for i, variant in enumerate(chunk):
                cells = [float(scores[name][i]) for name in strands]
                if len(cells) == 2:
                    cells.append(sum(cells) / 2)
                write_row(file, *variant.labels, *cells, variant.note or ".")
    return chroms


def run_saturation(model, genome, at_once, precision, bar):
    """Write a row for every other base at each place of a locus. Returns its chromosome."""
    torch.backends.cuda.enable_cudnn_sdp(False)  # it may plan anew for every length of the cache
    chrom, start, end = parse_locus(saturate)
    bases = read_locus(saturate, genome, "saturate")
    name = genome.find(chrom)
    after = behind_a_base(model)
    bar.reset(2 * (end - start))
    forward, reverse = saturate_region(
        model, genome, name, start, end, after, at_once, precision, bar
    )
    with open_output(out) as file:
        write_row(file, "chrom", "start", "end", "ref", "alt", "llr_forward", "llr_reverse", "llr")
        for i, base in enumerate(bases.tolist()):
            for other in range(4):
                if base == N or base == other:
                    continue
                pair = float(forward[i, other]), float(reverse[i, other])
                place = (name, start + i, start + i + 1, ALPHABET[base], ALPHABET[other])
                write_row(file, *place, *pair, sum(pair) / 2)
    return [name]


# ---- the command


def main(words=None):
    """Score. words: of a command line, those that Python was started with by default."""
    settings = configure(globals(), words)
    check_settings(settings)
    torch_device, precision, autocast = pick_device(device, dtype)
    torch.set_float32_matmul_precision("highest")  # float32 means it
    model, checkpoint = load_model(ckpt, torch_device)
    check_model(model)
    at_once = windows_at_once(torch_device.type)
    genome = None
    if not fasta:
        genome = Genome(find_dataset(dataset or main_dataset(checkpoint)))
    counting = tqdm(unit=" bases", unit_scale=True, disable=None, leave=False, delay=1)
    with tempfile.TemporaryDirectory() as folder, autocast, counting as bar:
        if saturate:
            chroms = run_saturation(model, genome, at_once, precision, bar)
        elif vcf:
            path = open_input(vcf, "vcf", folder)
            chroms = run_variants(model, genome, path, at_once, bar)
        else:
            path = open_input(fasta or bed, "fasta" if fasta else "bed", folder)
            chroms = run_sequences(model, genome, path, at_once, bar)
    if chroms:
        say(about_names(chroms, checkpoint["data"], "the places scored"))


if __name__ == "__main__":
    main()
