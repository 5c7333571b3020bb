"""Does score.py charge an insertion or deletion for its length? Made-up ones in held-out DNA.

  python -m experiments.indels --ckpt=out-pieces/ckpt.pt

A deletion takes bases out at a random place; an insertion puts bases in that stand 10,000 bases
further on, so that it is as much like the genome as its surroundings. Nobody selected them, so a
score should not depend on their length. Scored as score.py does, in windows of equal length, and
beside it as one would at first: each allele with the same bases around it, so that the longer one
has more bases to pay for.
"""

import argparse

import numpy as np
import torch
from tqdm import tqdm

from config import die, find_dataset, main_dataset
from data import Genome, N, decode
from runtime.checkpoint import load_model
from scoring.likelihood import on_strands
from scoring.variants import Variant, score_variants, trim

LENGTHS = (1, 2, 3, 5, 10, 20, 50)
AWAY = 10_000  # bases to where an inserted stretch stands in the genome
AROUND = 200  # bases on either side, in both ways of scoring


def made_up(genome, length, kind, n, rng):
    """n Variants of a kind, "deletion" or "insertion", of so many bases, at random places of the
    test chromosomes with no N around them.
    """
    rows = genome.meta["splits"]["test"]["chroms"]
    sizes = np.array([row["length"] if row["length"] > 3 * AWAY else 0 for row in rows])
    found = []
    while len(found) < n:
        row = rows[rng.choice(len(rows), p=sizes / sizes.sum())]
        at = row.get("start", 0) + int(rng.integers(AWAY, row["length"] - 2 * AWAY))
        here = genome.fetch(row["name"], at - 2 * AROUND, at + 2 * AROUND) & 7
        there = genome.fetch(row["name"], at + AWAY, at + AWAY + length) & 7
        if (here == N).any() or (there == N).any():
            continue
        anchor = decode(here[2 * AROUND : 2 * AROUND + 1])
        if kind == "deletion":
            ref = decode(here[2 * AROUND : 2 * AROUND + 1 + length])
            found.append(Variant(row["name"], at + 1, ".", ref, anchor))
        else:
            found.append(Variant(row["name"], at + 1, ".", anchor, anchor + decode(there)))
    return found


def with_equal_flanks(model, variants, genome, batch_size, bar):
    """(n,) nats: ALT minus REF, each with the same AROUND bases on both sides, mean of strands."""
    sequences = []
    for variant in variants:
        start, end, alt = trim(variant)
        before = genome.fetch(variant.chrom, start - AROUND, start) & 7
        behind = genome.fetch(variant.chrom, end, end + AROUND) & 7
        for allele in (genome.fetch(variant.chrom, start, end) & 7, alt):
            sequences.append(np.concatenate((before, allele, behind)))
    nats = on_strands(model, sequences, "both", batch_size, bar)
    sums = [np.array([values.sum() for values in of_strand]) for of_strand in nats.values()]
    sums = np.mean(sums, 0).reshape(-1, 2)
    return sums[:, 1] - sums[:, 0]


def describe(scores):
    """The mean of (n,) scores with its standard error, and their spread."""
    error = scores.std(ddof=1) / len(scores) ** 0.5
    return f"{scores.mean():9.2f} ± {error:4.2f} ({scores.std(ddof=1):5.2f})"


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ckpt", default="out/ckpt.pt")
    parser.add_argument("--n", type=int, default=100, help="of each kind and length")
    parser.add_argument("--batch_size", type=int, default=8)
    args = parser.parse_args()
    model, checkpoint = load_model(args.ckpt)
    genome = Genome(find_dataset(main_dataset(checkpoint)))
    if model.config.block_size < 2 * AROUND + 1:
        die(f"{args.ckpt}: give a model whose context is at least {2 * AROUND + 1}")
    if all(row["length"] <= 3 * AWAY for row in genome.meta["splits"]["test"]["chroms"]):
        die(f"{genome.folder} holds out no test chromosome of over {3 * AWAY:,} bases")
    rng = np.random.default_rng(0)
    bar = tqdm(disable=True)
    print("nats, mean ± standard error (standard deviation)")
    print(f"{'':20}{'windows of equal length':>28}{'equal flanks':>28}")
    with torch.inference_mode():
        for kind in ("deletion", "insertion"):
            for length in LENGTHS:
                variants = made_up(genome, length, kind, args.n, rng)
                scores = score_variants(
                    model, variants, genome, AROUND, "both", args.batch_size, bar
                )
                equal = (scores["forward"] + scores["reverse"]) / 2
                naive = with_equal_flanks(model, variants, genome, args.batch_size, bar)
                print(
                    f"{kind:10}{length:6} bp  {describe(equal):>28}{describe(naive):>28}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
