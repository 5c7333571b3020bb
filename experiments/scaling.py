"""Loss over model size and bases seen, a curve through it, and what the curve says of a larger run.

  python -m experiments.scaling --dataset=pieces --out=out-scaling
  python -m experiments.scaling --dataset=pieces --out=out-scaling --scale=gpu --jobs=4

Trains each of a scale's sizes for each of its budgets with config/laptop.py's other settings (a run
that is there is not made again), fits L = E + A / N^a + B / D^b (Hoffmann et al. 2022, eq. 2), N
weights in matrices and D bases seen, and prints what it predicts for hg38_small, with the range
that leaving out any one run gives. From a few million bases to billions is a long way: a
prediction, not a result.
"""

import argparse
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import torch

from config import find_dataset
from model import GPT, GPTConfig

ROOT = Path(__file__).resolve().parent.parent

SIZES = (
    dict(n_layer=2, n_head=1, n_embd=64),
    dict(n_layer=3, n_head=2, n_embd=128),
    dict(n_layer=4, n_head=3, n_embd=192),
    dict(n_layer=6, n_head=3, n_embd=384),
    dict(n_layer=12, n_head=6, n_embd=768),
)
SCALES = {  # sizes; steps of 8,192 bases
    "cpu": (SIZES[:3], (100, 300, 1000)),
    "gpu": (SIZES[1:], (300, 1000, 2000)),
}
TARGET = (85e6, 2050 * 2**20)  # config/hg38_small.py, the first of its two passes
PARTS = ("all", "repeats", "unique")


def curve(p, log_n, log_d):
    """log L at log N and log D, for the parameters p = (log A, log B, log E, a, b)."""
    terms = (p[0] - p[3] * log_n, p[1] - p[4] * log_d, p[2].expand_as(log_n))
    return torch.logsumexp(torch.stack(terms), 0)


def to_log(values):
    return torch.tensor(values, dtype=torch.float64).log()


def fit_from(start, log_n, log_d, log_l):
    """(squared error of log L, the parameters) where a search from `start` ends."""
    p = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    search = torch.optim.LBFGS(
        [p],
        max_iter=500,
        tolerance_grad=1e-12,
        tolerance_change=1e-14,
        line_search_fn="strong_wolfe",
    )

    def loss():
        search.zero_grad()
        error = (curve(p, log_n, log_d) - log_l).square().sum() * 1e6
        error.backward()
        return error

    search.step(loss)
    p.requires_grad_(False)
    return float((curve(p, log_n, log_d) - log_l).square().sum()), p


def fit(N, D, L):
    """The parameters of the curve through losses L at N weights and D bases: the best of several
    starts.
    """
    starts = product((0.0, 3.0), (0.0, 3.0), (0.5,), (0.3,), (0.3,))
    found = [fit_from(start, to_log(N), to_log(D), to_log(L)) for start in starts]
    return min(found, key=lambda pair: pair[0])[1]


def predict(p, N, D):
    """L at N weights and D bases."""
    return float(curve(p, to_log([float(N)]), to_log([float(D)])).exp())


def run(size, steps, args):
    """[weights, bases, bits of all, repeats, unique] of a run, which is made if it is not there."""
    out = args.out / f"{size['n_layer']}x{size['n_embd']} {steps}"
    if not (out / "summary.json").exists():
        settings = dict(
            size,
            dataset=args.dataset,
            out_dir=out,
            max_iters=steps,
            eval_interval=steps,
            markov_order=0,
            seed=args.seed,
        )
        words = [f"--{key}={value}" for key, value in settings.items()]
        out.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "train.py", "config/laptop.py", *words]
        env = dict(os.environ, OMP_NUM_THREADS=str(args.threads))
        with open(out / "log", "w") as log:
            subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, check=True, env=env)
    summary = json.loads((out / "summary.json").read_text())
    weights = sum(p.numel() for p in GPT(GPTConfig(block_size=512, **size)).matrices())
    return [weights, summary["tokens"], *(summary[f"val_bits_{part}"] for part in PARTS)]


def print_runs(rows):
    print(f"\n{'weights':>12}{'bases':>14}{'all':>9}{'repeats':>9}{'unique':>9}")
    for weights, bases, *bits in sorted(rows):
        print(f"{weights:12,}{bases:14,}" + "".join(f"{b:9.4f}" for b in bits))


def print_fit(part, N, D, L):
    """The curve through one kind of loss, its largest miss, and what it says of TARGET."""
    p = fit(N, D, L)
    said = predict(p, *TARGET)
    without = []
    for i in range(len(L)):
        rest = [values[:i] + values[i + 1 :] for values in (N, D, L)]
        without.append(predict(fit(*rest), *TARGET))
    miss = max(abs(predict(p, n, d) - bits) for n, d, bits in zip(N, D, L))
    a, b, e = p[:3].exp().tolist()
    print(
        f"{part}: {e:.3f} + {a:.3g} / N^{p[3]:.3f} + {b:.3g} / D^{p[4]:.3f}, "
        f"misses a run by {miss:.4f} at most; hg38_small after a pass: {said:.3f} "
        f"({min(without):.3f}-{max(without):.3f} leaving out any one run)"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dataset", default="hg38", help="a prepared genome, as train.py has it")
    parser.add_argument("--out", type=Path, default=Path("out-scaling"))
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    args = parser.parse_args()
    args.dataset = Path(find_dataset(args.dataset)).resolve()
    args.out = args.out.resolve()
    sizes, budgets = SCALES[args.scale]
    jobs = list(product(reversed(budgets), reversed(sizes)))  # the longest first
    with ThreadPoolExecutor(args.jobs) as pool:
        rows = list(pool.map(lambda job: run(job[1], job[0], args), jobs))
    print_runs(rows)
    N, D, *losses = (list(column) for column in zip(*rows))
    for part, L in zip(PARTS, losses):
        print_fit(part, N, D, L)


if __name__ == "__main__":
    main()
