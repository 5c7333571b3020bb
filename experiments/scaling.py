"""Loss over model size and bases seen, a curve through it, and what the curve says of a larger run.

  python -m tests.scaling --dataset=pieces --out=out-scaling
  python -m tests.scaling --dataset=pieces --out=out-scaling --scale=gpu --jobs=4

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
from tests.conftest import ROOT

SIZES = (dict(n_layer=2, n_head=1, n_embd=64), dict(n_layer=3, n_head=2, n_embd=128), dict(n_layer=4, n_head=3, n_embd=192),
         dict(n_layer=6, n_head=3, n_embd=384), dict(n_layer=12, n_head=6, n_embd=768))
SCALES = {"cpu": (SIZES[:3], (100, 300, 1000)), "gpu": (SIZES[1:], (300, 1000, 2000))}  # sizes, steps of 8,192 bases
TARGET = (85e6, 2050 * 2 ** 20)  # config/hg38_small.py, the first of its two passes


def fit(N, D, L):
    """The curve's (log A, log B, log E, a, b): the best of several starts; squared errors of log L.
    """
    N, D, L = (torch.tensor(v, dtype=torch.float64).log() for v in (N, D, L))
    best = None
    for start in product((0.0, 3.0), (0.0, 3.0), (0.5,), (0.3,), (0.3,)):
        p = torch.tensor(start, dtype=torch.float64, requires_grad=True)
        search = torch.optim.LBFGS([p], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-14, line_search_fn="strong_wolfe")

        def loss():
            search.zero_grad()
            error = (curve(p, N, D) - L).square().sum() * 1e6
            error.backward()
            return error
        search.step(loss)
        p.requires_grad_(False)
        error = float((curve(p, N, D) - L).square().sum())
        if best is None or error < best[0]:
            best = error, p
    return best[1]


def curve(p, N, D):
    """log L at log N and log D."""
    return torch.logsumexp(torch.stack((p[0] - p[3] * N, p[1] - p[4] * D, p[2].expand_as(N))), 0)


def predict(p, N, D):
    return float(curve(p, *(torch.tensor([float(v)], dtype=torch.float64).log() for v in (N, D))).exp())


def run(job):
    size, steps, args = job
    out = args.out / "{n_layer}x{n_embd} {0}".format(steps, **size)
    if not (out / "summary.json").exists():
        words = [f"--{k}={v}" for k, v in dict(size, dataset=args.dataset, out_dir=out, max_iters=steps, eval_interval=steps, markov_order=0, seed=args.seed).items()]
        out.mkdir(parents=True, exist_ok=True)
        with open(out / "log", "w") as log:
            subprocess.run([sys.executable, "train.py", "config/laptop.py", *words], cwd=ROOT, stdout=log, stderr=log, check=True, env=dict(os.environ, OMP_NUM_THREADS=str(args.threads)))
    summary = json.loads((out / "summary.json").read_text())
    weights = sum(p.numel() for p in GPT(GPTConfig(block_size=512, **size)).matrices())
    return [weights, summary["tokens"], *(summary[f"val_bits_{k}"] for k in ("all", "repeats", "unique"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="hg38", help="a prepared genome, as train.py has it")
    parser.add_argument("--out", type=Path, default=Path("out-scaling"))
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    args = parser.parse_args()
    args.dataset, args.out = Path(find_dataset(args.dataset)).resolve(), args.out.resolve()
    sizes, budgets = SCALES[args.scale]
    with ThreadPoolExecutor(args.jobs) as pool:  # the longest first, so that none is left to run alone
        rows = list(pool.map(run, [(size, steps, args) for steps, size in product(reversed(budgets), reversed(sizes))]))
    print(f"{'weights':>10}{'bases':>12}{'all':>8}{'repeats':>9}{'unique':>8}")
    for row in rows:
        print("{:10,}{:12,}{:8.4f}{:9.4f}{:8.4f}".format(*row))
    N, D, *losses = zip(*rows)
    for name, L in zip(("all", "repeats", "unique"), losses):
        p = fit(N, D, L)
        left_out = [predict(fit(*(v[:i] + v[i + 1:] for v in (N, D, L))), *TARGET) for i in range(len(rows))]
        error = max(abs(predict(p, n, d) - l) for n, d, l in zip(N, D, L))
        A, B, E = p[:3].exp().tolist()
        print(f"{name:8} L = {E:.3f} + {A:.3g} / N^{p[3]:.3f} + {B:.3g} / D^{p[4]:.3f}, off by at most {error:.4f} | hg38_small after a pass: {predict(p, *TARGET):.3f} bits, "
              f"{min(left_out):.3f} to {max(left_out):.3f} with one run left out")


if __name__ == "__main__":
    main()
