"""nanoGPT and this repository on the same DNA: how many bases, and seconds, until the same loss?

  git clone https://github.com/karpathy/nanoGPT && git -C nanoGPT checkout 3adf61e
  python -m experiments.against_nanogpt --nanogpt=nanoGPT --dataset=pieces --out=out-nanogpt
  python -m experiments.against_nanogpt --nanogpt=nanoGPT --dataset=hg38 --out=out-gpu --scale=gpu

Bases: nanoGPT's own train.py, unmodified, on the training bases without N as its uint16 .bin; its
learning rate is the best of --rates at an eighth of the budget. Ours has a quarter of the budget.
Both are scored as train.py does, on the same validation bases; nanoGPT, which knows no start
symbol, gets a window's first base as uniform. Seconds: one training step of each, in turns, same
dtype and same compile (python -m experiments.bench train). What out holds already is not run again.
"""

import argparse
import json
import math
import os
import pickle
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import numpy as np
import torch

from config import find_dataset
from data import Genome, N, eval_windows
from experiments.nanogpt import Scored, commit_of, import_nanogpt
from markov import Markov
from model import GPT, GPTConfig, base_nll

ROOT = Path(__file__).resolve().parent.parent
# heads: nanoGPT's; our_heads: as in config/laptop.py and config/hg38_mini.py
# tokens: bases that nanoGPT sees; scored, final: bases scored on the way and at the end
SCALES = {
    "cpu": dict(
        size=dict(n_layer=4, n_embd=192, block_size=512),
        heads=3,
        our_heads=1,
        batch=16,
        tokens=9_830_400,
        scored=2**17,
        final=2**23,
    ),
    "gpu": dict(
        size=dict(n_layer=6, n_embd=384, block_size=1024),
        heads=3,
        our_heads=3,
        batch=64,
        tokens=104_857_600,
        scored=2**21,
        final=2**24,
    ),
}
# nanoGPT's train.py as it is, but that every seed is shifted and every checkpoint kept
LAUNCH_NANOGPT = """
import runpy, sys, torch
seed, save, shift = torch.manual_seed, torch.save, int(sys.argv.pop(1))
torch.manual_seed = lambda s: seed(s + shift)
def keep(held, path):
    save({k: held[k] for k in ("model", "model_args", "iter_num")}, f"{path}.{held['iter_num']}")
torch.save = keep
runpy.run_path("train.py", run_name="__main__")
"""


# ---- scoring


def seen_before(windows, k=8):
    """(M, T) windows -> (M, T) bool: the k bases before this one stand earlier in the window too:
    copying can help.
    """
    seen = np.zeros(windows.shape, bool)
    length = windows.shape[1] - k
    code = sum((windows[:, j : length + j] & 7).astype(np.int64) * 5**j for j in range(k))
    for row, codes in zip(seen, code):
        _, first, which = np.unique(codes, return_index=True, return_inverse=True)
        row[k:] = first[which] < np.arange(len(codes))
    return seen


def score(model, windows, seen, device="cpu", rows=64):
    """[all, seen before, not seen before]: bits per base over (M, T) windows."""
    bases = torch.from_numpy(windows & 7)
    with torch.no_grad():
        nats = [base_nll(model, x.to(device).long()).double().cpu() for x in bases.split(rows)]
    bits = torch.cat(nats).numpy() / math.log(2)
    real = (windows & 7) < N
    groups = (real, real & seen, real & ~seen)
    return [float(bits[group].mean()) for group in groups]


def tokens_to(target, points):
    """Tokens at which a curve [(tokens, bits, ...)] first reaches target, by straight lines.

    Infinity if it does not.
    """
    before_tokens, before_bits = 0, 2.0
    for tokens, bits, *_ in points:
        if bits <= target:
            share = (before_bits - target) / (before_bits - bits)
            return before_tokens + (tokens - before_tokens) * share
        before_tokens, before_bits = tokens, bits
    return math.inf


def bits_at(seconds, curve, speed):
    """Bits of a curve [(tokens, bits, ...)] at a time; speed: its bases a second.

    Past its end it keeps its last value.
    """
    times = [0.0] + [point[0] / speed for point in curve]
    bits = [2.0] + [point[1] for point in curve]
    return float(np.interp(seconds, times, bits))


def always_ahead(ours, theirs, our_speed, their_speed, after=60.0):
    """Whether our curve is below theirs at each of the seconds of their points, from `after` on."""
    moments = [after, 0.0]
    moments += [point[0] / our_speed for point in ours]
    moments += [point[0] / their_speed for point in theirs]
    for t in moments:
        if t >= after and bits_at(t, ours, our_speed) >= bits_at(t, theirs, their_speed):
            return False
    return True


# ---- the runs


class Comparison:
    """Both repositories on one genome: training data, scored bases, and where the runs lie."""

    def __init__(self, args):
        scale = SCALES[args.scale]
        self.args = args
        self.gpu = args.scale == "gpu"
        self.device = "cuda" if self.gpu else "cpu"
        self.size = scale["size"]
        self.scale = scale
        self.batch = scale["batch"]
        self.final_tokens = args.final or scale["final"]
        self.per_step = self.batch * self.size["block_size"]  # bases
        self.steps = int((args.tokens or scale["tokens"]) // self.per_step)  # of nanoGPT's
        self.out = args.out.resolve()
        self.nanogpt = import_nanogpt(args.nanogpt)
        self.genome = Genome(find_dataset(args.dataset))
        self.windows = eval_windows(
            self.genome.bases("val"),
            self.genome.stretches("val"),
            self.size["block_size"],
            scale["scored"],
        )
        self.seen = seen_before(self.windows)
        self.size_words = [f"--{key}={value}" for key, value in self.size.items()]
        self.env = dict(os.environ)
        if not self.gpu:
            self.env["OMP_NUM_THREADS"] = str(max(1, (os.cpu_count() or 2) // args.jobs))

    def make_clone(self):
        """A copy of nanoGPT's files with our training bases as its data, N left out."""
        clone = self.out / "clone"
        folder = clone / "data" / "dna"
        if (folder / "train.bin").exists():
            return
        folder.mkdir(parents=True)
        for file in ("train.py", "model.py", "configurator.py"):
            (clone / file).write_bytes((self.args.nanogpt / file).read_bytes())
        for split in ("val", "train"):
            stretches = self.genome.stretches(split)
            bases = np.concatenate([self.genome.bases(split)[a:b] & 7 for a, b in stretches])
            bases[bases < N].astype(np.uint16).tofile(folder / f"{split}.bin")
        (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 5}))

    def curve(self, folder, load):
        """[[tokens, all, seen, not seen]] of the checkpoints that a run kept; deletes them."""
        kept = folder / "curve.json"
        if not kept.exists():
            points = []
            for path in sorted(folder.glob("ckpt.pt.*"), key=step_of):
                bits = score(load(path), self.windows, self.seen, self.device)
                points.append([step_of(path) * self.per_step, *bits])
            kept.write_text(json.dumps(points))
            for path in folder.glob("ckpt.pt.*"):
                path.unlink()
        return json.loads(kept.read_text())

    def theirs(self, rate, seed, steps, points=8):
        """The curve of nanoGPT's train.py at a learning rate, with that many points."""
        folder = self.out / f"nanogpt lr {rate} seed {seed} steps {steps}"
        if not (folder / "curve.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            words = [
                *self.size_words,
                f"--n_head={self.scale['heads']}",
                f"--out_dir={folder}",
                "--dataset=dna",
                f"--batch_size={self.batch}",
                "--gradient_accumulation_steps=1",
                f"--max_iters={steps}",
                f"--lr_decay_iters={steps}",
                "--warmup_iters=100",
                f"--learning_rate={rate}",
                f"--min_lr={rate / 10}",
                f"--eval_interval={max(1, steps // points)}",
                "--eval_iters=1",
                "--log_interval=10",
                f"--device={self.device}",
                f"--dtype={'bfloat16' if self.gpu else 'float32'}",
                f"--compile={self.gpu or self.args.compile}",
            ]
            command = [sys.executable, "-c", LAUNCH_NANOGPT, str(seed), *words]
            self.start(command, folder, self.out / "clone")
        return self.curve(folder, lambda path: Scored(self.nanogpt, path, self.device))

    def ours(self, seed, steps):
        """The curve of our train.py, with ten points."""
        folder = self.out / f"ours seed {seed} steps {steps}"
        if not (folder / "summary.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            words = [
                *self.size_words,
                f"--n_head={self.scale['our_heads']}",
                f"--dataset={self.genome.folder.resolve()}",
                f"--out_dir={folder}",
                f"--seed={seed}",
                f"--max_iters={steps}",
                f"--batch_tokens={self.per_step}",
                f"--batch_size={self.batch}",
                f"--eval_interval={steps}",
                f"--eval_tokens={self.final_tokens}",
                "--markov_order=0",
                f"--device={self.device}",
                f"--dtype={'auto' if self.gpu else 'float32'}",
                f"--compile={'auto' if self.gpu else self.args.compile}",
            ]
            every = str(max(1, steps // 10))
            module = "experiments.against_nanogpt"
            self.start([sys.executable, "-m", module, "--train", every, *words], folder, ROOT)
        return self.curve(folder, self.load_ours)

    def load_ours(self, path):
        held = torch.load(path, map_location=self.device, weights_only=True)
        model = GPT(GPTConfig(**held["model_args"])).to(self.device).eval()
        model.load_state_dict(held["model"])
        return model

    def start(self, command, folder, cwd):
        """Run a training to its end, its output in folder/log."""
        with open(folder / "log", "w") as log:
            subprocess.run(command, cwd=cwd, stdout=log, stderr=log, env=self.env, check=True)

    def markov(self):
        """{order: [all, seen before, not seen before]} of Markov models on the same bases."""
        kept = self.out / f"markov {self.args.scale}.json"
        if not kept.exists():
            markov = Markov(self.genome.bases("train"), 12)
            found = {}
            for order in range(12, 0, -1):
                found[order] = score(markov.at_order(order), self.windows, self.seen)
            kept.write_text(json.dumps(found))
        return json.loads(kept.read_text())


def step_of(path):
    """The step of a kept checkpoint, ckpt.pt.STEP."""
    return int(path.suffix[1:])


def train_and_keep(every, words):
    """In a process of its own: our train.py, with every so manieth step's checkpoint kept."""
    import train

    def keep_too(learner, batch, weight_sum, team):
        result = train_step(learner, batch, weight_sum, team)
        keep_too.step += 1
        if keep_too.step % every == 0:
            held = dict(model=learner.model.state_dict(), model_args=train.model_settings())
            torch.save(held, Path(train.out_dir) / f"ckpt.pt.{keep_too.step}")
        return result

    train_step = train.train_step
    keep_too.step = 0
    train.train_step = keep_too
    train.main(["--init_from=scratch", *words])


def both_train(comparison):
    """Train both, several runs at a time.

    Returns {rate: bits after an eighth of the budget}, the best rate, nanoGPT's curves, ours.
    """
    args, steps = comparison.args, comparison.steps
    with ThreadPoolExecutor(args.jobs) as pool:
        ours = [pool.submit(comparison.ours, seed, steps // 4) for seed in args.seeds]
        if len(args.rates) > 1:
            short = {
                rate: pool.submit(comparison.theirs, rate, args.their_seeds[0], steps // 8, 1)
                for rate in args.rates
            }
            tuned = {rate: future.result()[-1][1] for rate, future in short.items()}
        else:
            tuned = {args.rates[0]: math.nan}
        rate = min(tuned, key=tuned.get)
        tried = ", ".join(f"{r:g} {bits:.4f}" for r, bits in tuned.items())
        print(f"nanoGPT's learning rate: {tried} -> {rate:g}", flush=True)
        theirs = list(pool.map(lambda seed: comparison.theirs(rate, seed, steps), args.their_seeds))
        return tuned, rate, theirs, [future.result() for future in ours]


def compare(theirs, ours, args):
    """Rows of the table: each of nanoGPT's runs with each of ours."""
    rows = []
    pairs = product(zip(args.their_seeds, theirs), zip(args.seeds, ours))
    for (their_seed, their_curve), (seed, our_curve) in pairs:
        tokens, target = min(their_curve, key=lambda point: point[1])[:2]
        reached = tokens_to(target, our_curve)
        rows.append(
            dict(
                nanogpt_seed=their_seed,
                seed=seed,
                nanogpt_bits=target,
                nanogpt_tokens=tokens,
                our_tokens=reached,
                token_ratio=tokens / reached,
                our_bits=our_curve[-1][1],
            )
        )
    return rows


def print_table(rows, theirs, ours, speed_ratio):
    """The rows, and what they say together.

    speed_ratio: our bases a second over theirs, None if not known.
    """
    header = f"{'seeds':>6}{'nanoGPT best':>14}{'at bases':>13}{'ours there at':>15}"
    print(f"\n{header}{'fewer bases':>13}{'ours at its end':>17}")
    for row in rows:
        print(
            f"{row['nanogpt_seed']:3}{row['seed']:3}{row['nanogpt_bits']:14.4f}"
            f"{row['nanogpt_tokens']:13,}{row['our_tokens']:15,.0f}"
            f"{row['token_ratio']:12.1f}x{row['our_bits']:17.4f}"
        )
    ratios = sorted(row["token_ratio"] for row in rows)
    span = f"from {ratios[0]:.1f} to {ratios[-1]:.1f}"
    print(f"times fewer bases: median {statistics.median(ratios):.1f}, {span}")
    if speed_ratio:
        print(f"times less time: median {statistics.median(ratios) * speed_ratio:.1f}")
        ahead = all(always_ahead(b, a, speed_ratio, 1.0, 0.0) for a, b in product(theirs, ours))
        print(f"ahead at every moment: {ahead}")


def read_command_line():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nanogpt", required=True, type=Path, help="a clone of nanoGPT")
    parser.add_argument("--dataset", default="hg38", help="a prepared genome")
    parser.add_argument("--out", default="out-nanogpt", type=Path, help="a folder for the runs")
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="ours")
    parser.add_argument("--their_seeds", type=int, nargs="+", help="nanoGPT's, if not the same")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3, 4e-3, 8e-3])
    parser.add_argument("--tokens", type=float, help="nanoGPT's bases, instead of the scale's")
    parser.add_argument("--final", type=int, help="bases to score at the end, likewise")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--compile", action="store_true", help="on a CPU too")
    parser.add_argument("--speed_ratio", type=float, help="our bases a second over nanoGPT's")
    args = parser.parse_args()
    args.their_seeds = args.their_seeds or args.seeds
    return args


def main():
    if sys.argv[1:2] == ["--train"]:
        train_and_keep(int(sys.argv[2]), sys.argv[3:])
        return
    args = read_command_line()
    comparison = Comparison(args)
    if comparison.gpu:
        torch.set_float32_matmul_precision("high")
    else:
        torch.set_num_threads(1)  # checkpoints are scored here, several at a time
    commit = commit_of(args.nanogpt)
    scored = int(((comparison.windows & 7) < N).sum())
    print(
        f"nanoGPT {commit}, {comparison.steps} steps of {comparison.per_step:,} bases, "
        f"torch {torch.__version__}, scored on {scored:,} bases, "
        f"{comparison.seen.mean():.1%} of them after eight that stand earlier in the window"
    )
    comparison.make_clone()
    tuned, rate, theirs, ours = both_train(comparison)
    rows = compare(theirs, ours, args)
    print_table(rows, theirs, ours, args.speed_ratio)
    report = dict(
        commit=commit,
        scale=args.scale,
        torch=str(torch.__version__),
        rates={str(key): value for key, value in tuned.items()},
        rate=rate,
        rows=rows,
        speed_ratio=args.speed_ratio,
        nanogpt=theirs,
        ours=ours,
        markov=comparison.markov(),
    )
    (comparison.out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
