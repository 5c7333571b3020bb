"""Write the toy genome: toy.fa.gz, ccre.bed (ENCODE's ten columns) and oracle.json. What it is made of: __init__.py here.

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
seed = 1          # another seed is another genome
scale = 1.0       # of the chromosomes' lengths; 1 is about 4.2 million bases

configure(globals())

if seed < 0 or not 0.05 <= scale <= 50:
    die(f"seed {seed}, scale {scale}: give a seed of 0 or more and a scale from 0.05 to 50")
print(f"writing the toy genome into {out} ...", flush=True)
start, genome, fasta, bed = time.time(), generate(seed, scale), [], []
for name, (bases, _, elements) in genome.items():
    text = decode(bases)
    fasta += [f">{name}", *(text[i:i + 50] for i in range(0, len(text), 50))]
    for low, high, island in elements:
        color, kind = ("255,0,0", "PLS") if island else ("255,205,0", "dELS")
        bed.append(f"{name}\t{low}\t{high}\tTOY{len(bed) + 1:07}\t0\t.\t{low}\t{high}\t{color}\t{kind}")
floor = {"about": "bits per base under the process that made the genome, given its latents: a bound that no model can reach",
         "seed": seed, **{split: oracle(*map(genome.get, SPLITS[split])) for split in SPLITS},
         "chroms": {name: oracle(row) for name, row in genome.items()}}
folder = Path(out)
folder.mkdir(parents=True, exist_ok=True)
(folder / "toy.fa.gz").write_bytes(gzip.compress("\n".join([*fasta, ""]).encode(), 6, mtime=0))  # no date: the same bytes
(folder / "ccre.bed").write_text("\n".join([*bed, ""]))
(folder / "oracle.json").write_text(json.dumps(floor, indent=1) + "\n")
print(f"toy.fa.gz, ccre.bed, oracle.json: {sum(len(row[0]) for row in genome.values()):,} bases, {len(bed):,} elements, "
      f"oracle on val {floor['val']['all']:.3f} bits per base, in {time.time() - start:.1f} s")
