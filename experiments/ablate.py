"""Train variants of the recipe beside each other, on the same windows, scored on the same bases.

  python -m experiments.ablate --list
  python -m experiments.ablate --dataset=pieces --out=out-ablate baseline 'muon 0.01' 'no stem'
  python -m experiments.ablate --dataset=pieces --seeds 1 2 -- --n_layer=4 --n_embd=192 --n_head=3

'this + that' is both at once. What stands after -- goes to each run of train.py. A run that out
holds already is not made again. The variants are in experiments/variants.py.
"""

import argparse
import json
import math
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from config import die, find_dataset

ROOT = Path(__file__).resolve().parent.parent
PARTS = ("all", "repeats", "unique", "elements")
SMALL = [  # a screen: 3 layers x 128, 0.98 million bases
    "--block_size=512",
    "--n_layer=3",
    "--n_head=2",
    "--n_embd=128",
    "--batch_tokens=8192",
    "--batch_size=16",
    "--max_iters=120",
    "--eval_interval=120",
    "--eval_tokens=262144",
    "--markov_order=0",
    "--compile=False",
]


def train_variant(name, words):
    """In a process of its own: change the recipe as the variant says, then train."""
    import train
    from experiments.variants import VARIANTS

    given = []
    for part in name.split(" + "):
        variant = VARIANTS[part]
        given += variant.words
        if variant.change:
            variant.change()
    train.main([*SMALL, *words, *given])


def check_words(path, words):
    """Die if a result that is kept was made with other words; path: of the file that holds them,
    which is written if it is not there.
    """
    if path.exists() and json.loads(path.read_text()) != words:
        die(f"{path} says that this was run with other words: give another --out, or remove it")
    path.write_text(json.dumps(words))


def run(name, seed, args, words):
    """The summary.json of a variant, which is trained if it is not there; None if that failed. Dies
    if it was trained with other words.
    """
    folder = Path(args.out).resolve() / f"{name.replace('/', '_')} seed {seed}"
    summary = folder / "summary.json"
    folder.mkdir(parents=True, exist_ok=True)
    check_words(folder / "words.json", [str(args.dataset), *words])
    if not summary.exists():
        own = [f"--dataset={args.dataset}", f"--out_dir={folder}", f"--seed={seed}"]
        command = [sys.executable, "-m", "experiments.ablate", "--train", name, "--", *words, *own]
        env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
        with open(folder / "log", "w") as log:
            done = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, env=env)
        if done.returncode:
            return None
    return json.loads(summary.read_text())


def read_command_line():
    """(arguments, the words after -- that go to train.py)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", help="variants; all of them if none is named")
    parser.add_argument("--list", action="store_true", help="print the variants' names")
    parser.add_argument("--train", action="store_true", help="train one variant, here and now")
    parser.add_argument("--dataset", default="hg38", help="a prepared genome, as train.py has it")
    parser.add_argument("--out", default="out-ablate", help="a folder for the runs")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    mine, words = sys.argv[1:], []
    if "--" in mine:
        at = mine.index("--")
        mine, words = mine[:at], mine[at + 1 :]
    return parser.parse_args(mine), words


def print_row(name, seed, summary):
    if summary is None:
        print(f"{name:50}{seed:6}  failed: see its log", flush=True)
        return
    bits = [summary.get(f"val_bits_{part}") or math.nan for part in PARTS]
    columns = "".join(f"{value:9.4f}" for value in bits) + f"{summary['tokens_per_second']:9,}"
    print(f"{name:50}{seed:6}{columns}", flush=True)


def main():
    args, words = read_command_line()
    if args.train:
        train_variant(args.names[0], words)
        return
    from experiments.variants import VARIANTS

    if args.list:
        print(*VARIANTS, sep="\n")
        return
    args.dataset = Path(find_dataset(args.dataset)).resolve()
    names = args.names or list(VARIANTS)
    for name in names:
        if not set(name.split(" + ")) <= set(VARIANTS):
            die(f"no variant {name!r}: see --list")
    jobs = [(name, seed) for seed in args.seeds for name in names]
    heads = "".join(f"{part[:8]:>9}" for part in PARTS)
    print(f"{'variant':50}{'seed':>6}{heads}{'bases/s':>9}")
    with ThreadPoolExecutor(args.jobs) as pool:
        summaries = pool.map(lambda job: run(*job, args, words), jobs)
        for (name, seed), summary in zip(jobs, summaries):
            print_row(name, seed, summary)


if __name__ == "__main__":
    main()
