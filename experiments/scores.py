"""What score.py's shortcuts cost, on single-base changes in held-out DNA.

  python -m experiments.scores --ckpt=out-pieces/ckpt.pt

How far behind a change the likelihood still moves; what bfloat16 moves; and how --saturate, which
shares its windows, differs from --vcf, which has one for each change.
"""

import argparse

import numpy as np
import torch
from tqdm import tqdm

from config import find_dataset, main_dataset
from data import Genome, decode
from runtime.checkpoint import load_model
from scoring.likelihood import log_likelihoods
from scoring.saturation import saturate
from scoring.variants import Variant, allele_windows, check, score_variants

REACHES = (1, 16, 32, 64, 128)  # the changed base and those behind it
BAR = tqdm(disable=True)


def random_changes(genome, chrom, n, flank, rng):
    """n Variants of one base each, at random places of a chromosome with no N around them."""
    found = []
    low, high = flank, genome.chroms[chrom]["length"] - flank
    while len(found) < n:
        pos = int(rng.integers(low, high))
        around = genome.fetch(chrom, pos - flank, pos + flank + 1) & 7
        if (around > 3).any():
            continue
        alt = (int(around[flank]) + int(rng.integers(1, 4))) % 4
        letters = decode(np.array([around[flank], alt]))
        found.append(Variant(chrom, pos + 1, ".", letters[0], letters[1]))
    return found


def compare(name, scores, exact):
    """Print how (n,) scores differ from the exact ones."""
    r = np.corrcoef(scores, exact)[0, 1]
    error = np.sqrt(np.mean((scores - exact) ** 2))
    most = abs(scores - exact).max()
    print(
        f"{name:40} r {r:.4f}, off by {error:.3f} (RMS), {most:.3f} at most, of {exact.std():.3f}"
    )


def compare_reaches(model, genome, changes, flank, batch_size):
    """How much of a change's effect, on the forward strand, is in the bases right behind it."""
    windows = [allele for change in changes for allele in forward(change, genome, flank)]
    nats = np.stack(log_likelihoods(model, windows, batch_size, BAR)).astype(np.float64)
    effect = (nats[1::2] - nats[::2])[:, flank:]
    for reach in REACHES:
        compare(f"the first {reach} of {flank + 1} bases", effect[:, :reach].sum(1), effect.sum(1))


def forward(change, genome, flank):
    """(2, 2 flank + 1) bases around a change, with either allele."""
    return allele_windows(change, genome, flank)["forward"]


def both_strands(scores):
    """The mean of two strands' scores."""
    return (scores["forward"] + scores["reverse"]) / 2


def compare_saturation(model, genome, chrom, start, n, flank, batch_size):
    """All changes of n bases by saturate, against a window for each of them."""
    after = model.config.block_size // 8
    found = saturate(model, genome, chrom, start, start + n, after, batch_size, torch.float32, BAR)
    mean = (found[0] + found[1]) / 2
    letters = decode(genome.fetch(chrom, start, start + n) & 7)
    changes = []
    scores = []
    for i, ref in enumerate(letters):
        for j, alt in enumerate("ACGT"):
            change = Variant(chrom, start + i + 1, ".", ref, alt)
            if not check(change, genome, flank):
                changes.append(change)
                scores.append(mean[i, j])
    exact = both_strands(score_variants(model, changes, genome, flank, "both", batch_size, BAR))
    compare(f"saturate, {len(changes)} changes", np.array(scores), exact)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ckpt", default="out/ckpt.pt")
    parser.add_argument("--chrom", default="chr21", help="a held-out chromosome")
    parser.add_argument("--n", type=int, default=400, help="changes; an eighth of them in bfloat16")
    parser.add_argument("--batch_size", type=int, default=8)
    args = parser.parse_args()
    model, checkpoint = load_model(args.ckpt)
    genome = Genome(find_dataset(main_dataset(checkpoint)))
    flank = (model.config.block_size - 1) // 2
    changes = random_changes(genome, args.chrom, args.n, flank, np.random.default_rng(0))
    compare_reaches(model, genome, changes, flank, args.batch_size)
    some = changes[: args.n // 8]
    exact = both_strands(score_variants(model, some, genome, flank, "both", args.batch_size, BAR))
    with torch.autocast("cpu", torch.bfloat16):
        rough = score_variants(model, some, genome, flank, "both", args.batch_size, BAR)
    compare(f"bfloat16, {len(some)} changes", both_strands(rough), exact)
    start = changes[0].pos
    compare_saturation(model, genome, args.chrom, start, 150, flank, args.batch_size)


if __name__ == "__main__":
    main()
