"""The pieces of hg38 that the figures of this repository are of, cut from a prepared hg38.

  python prepare_hg38.py
  python -m experiments.pieces --dataset=hg38 --out=hg38_pieces.fa.gz

Each piece is under its chromosome's name and at its own coordinates: what lies before it is N. Only
two of them are soft-masked, as in the files that were used: in the others no base is lower-case.
"""

import argparse
import gzip

from tqdm import tqdm

from config import die, find_dataset
from data import Genome, N, decode
from runtime.output import check_output

PIECES = {  # chromosome: (start, end, soft-masked), 0-based, half-open, as in BED
    "chr1": (0, 2_500_000, False),
    "chr2": (0, 2_333_275, True),
    "chr10": (87_000_000, 91_000_000, True),
    "chr16": (0, 2_648_800, False),
    "chr20": (0, 10_000_000, False),
    "chr21": (19_999_999, 23_000_000, False),
}
LINE = 60  # letters


def letters_of(genome, chrom, start, end, soft_masked):
    """The letters of a piece, behind as many N as there are bases before it."""
    bases = genome.fetch(chrom, start, end)
    if not soft_masked:
        bases = bases & 7
    return decode([N]) * start + decode(bases)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="hg38", help="a prepared hg38, all of it")
    parser.add_argument("--out", default="hg38_pieces.fa.gz")
    args = parser.parse_args()
    genome = Genome(find_dataset(args.dataset))
    check_output(args.out)
    missing = [chrom for chrom in PIECES if genome.find(chrom) is None]
    if missing:
        die(f"{genome.folder} has no {', '.join(missing)}: give a prepared hg38 that is whole")
    with gzip.open(args.out, "wt", compresslevel=6) as file:
        for chrom, piece in tqdm(PIECES.items()):
            letters = letters_of(genome, chrom, *piece)
            file.write(f">{chrom}\n")
            for first in range(0, len(letters), LINE):
                file.write(letters[first : first + LINE] + "\n")
    print(f"wrote {args.out}")


if __name__ == "__main__":
    main()
