"""Write the toy genome: toy.fa.gz, ccre.bed (ENCODE's ten columns) and oracle.json. What it is made
of: __init__.py here.

  python -m data.toy
"""

import gzip
import json
import time
from pathlib import Path

from config import configure, die
from data import decode
from data.toy import SPLITS, generate, oracle

out = "data/toy"  # the folder to write
seed = 1  # another seed is another genome
scale = 1.0  # of the chromosomes' lengths; 1 is about 4.2 million bases
# ---- end of settings

LINE = 50  # letters in a line of the FASTA
COLORS = {"PLS": "255,0,0", "dELS": "255,205,0"}  # ENCODE's, of promoters and of distal enhancers
ABOUT = (
    "bits per base under the process that made the genome, given its latents: "
    "a bound that no model can reach"
)


def main():
    if seed < 0 or not 0.05 <= scale <= 50:
        die(f"seed {seed}, scale {scale}: give a seed of 0 or more and a scale from 0.05 to 50")
    print(f"writing the toy genome into {out} ...", flush=True)
    start = time.time()
    genome = generate(seed, scale)
    fasta = fasta_of(genome)
    bed = bed_of(genome)
    floor = floor_of(genome)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    packed = gzip.compress(fasta.encode(), 6, mtime=0)  # without the date: the same bytes again
    (folder / "toy.fa.gz").write_bytes(packed)
    (folder / "ccre.bed").write_text(bed)
    (folder / "oracle.json").write_text(json.dumps(floor, indent=1) + "\n")
    n_bases = sum(len(bases) for bases, _, _ in genome.values())
    n_elements = bed.count("\n")
    print(
        f"toy.fa.gz, ccre.bed, oracle.json: {n_bases:,} bases, {n_elements:,} elements, oracle on "
        f"val {floor['val']['all']:.3f} bits per base, in {time.time() - start:.1f} s"
    )


def fasta_of(genome):
    """The text of toy.fa.gz."""
    lines = []
    for name, (bases, _, _) in genome.items():
        letters = decode(bases)
        lines.append(f">{name}")
        lines += [letters[i : i + LINE] for i in range(0, len(letters), LINE)]
    return "\n".join([*lines, ""])


def bed_of(genome):
    """The text of ccre.bed: elements in islands are called promoters, the others enhancers."""
    lines = []
    for name, (_, _, elements) in genome.items():
        for start, end, in_island in elements:
            kind = "PLS" if in_island else "dELS"
            accession = f"TOY{len(lines) + 1:07}"
            row = [name, start, end, accession, 0, ".", start, end, COLORS[kind], kind]
            lines.append("\t".join(map(str, row)))
    return "\n".join([*lines, ""])


def floor_of(genome):
    """What oracle.json holds: the oracle's bits of each split and of each chromosome."""
    floor = {"about": ABOUT, "seed": seed}
    for split, names in SPLITS.items():
        floor[split] = oracle(*[genome[name] for name in names])
    floor["chroms"] = {name: oracle(parts) for name, parts in genome.items()}
    return floor


if __name__ == "__main__":
    configure(globals())
    main()
