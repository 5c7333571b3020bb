"""nanoGPT and this repository on the same DNA: how many bases, steps and seconds until the same loss?

  git clone https://github.com/karpathy/nanoGPT && git -C nanoGPT checkout 3adf61e
  python -m tests.against_nanogpt --nanogpt=nanoGPT --dataset=pieces --out=out-nanogpt
  python -m tests.against_nanogpt --nanogpt=nanoGPT --dataset=hg38 --out=out-nanogpt --scale=gpu

Bases: nanoGPT's own train.py, unmodified, on the training bases without N as its uint16 .bin; its learning rate is the best of
--rates at an eighth of the budget. Ours has a quarter of the budget. Both are scored as train.py does, on the same validation
bases; nanoGPT, which knows no start symbol, gets a window's first base as uniform. Seconds: nanoGPT's model under our loop and
its own optimiser against ours, in turns, same dtype and same compile (its train.py computes in float32 on a CPU, which would
flatter us where bfloat16 is faster). What out holds already is not run again.
"""
import argparse
import importlib.util
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
import torch.nn.functional as F
from torch import nn

from config import die, find_dataset
from data import N, Genome, eval_windows
from model import GPT, GPTConfig, base_nll
from markov import Markov
from tests.ablate import edited_copy

SCALES = {  # the model, windows of a step, the bases that nanoGPT sees, the bases scored along the way and at the end
    "cpu": dict(n_layer=4, n_head=3, n_embd=192, block_size=512, batch=16, tokens=9_830_400, scored=2**17, final=2**23),
    "gpu": dict(n_layer=6, n_head=3, n_embd=384, block_size=1024, batch=64, tokens=104_857_600, scored=2**21, final=2**24),
}
# its train.py as it is: every seed shifted, every checkpoint kept
LAUNCH = """import runpy, sys, torch
seed, keep, shift = torch.manual_seed, torch.save, int(sys.argv.pop(1))
torch.manual_seed = lambda s: seed(s + shift)
torch.save = lambda held, path: keep({k: held[k] for k in ("model", "model_args", "iter_num")}, f"{path}.{held['iter_num']}")
runpy.run_path("train.py", run_name="__main__")"""
# nanoGPT's model and optimiser in our loop
OURS = (
    ("model.py", "def base_nll(", '''class GPT(nn.Module):
    def __init__(self, c):
        import nanogpt
        super().__init__()
        self.config, self.inner = c, nanogpt.GPT(nanogpt.GPTConfig(c.block_size, 5, c.n_layer, c.n_head, c.n_embd, c.dropout, False))
        self.lm_head = self.inner.lm_head

    def matrices(self):
        return [p for p in self.inner.transformer.h.parameters() if p.ndim == 2]

    def forward(self, idx, cache=None):
        t = self.inner.transformer
        x = t.drop(t.wte(idx) + t.wpe(torch.arange(idx.size(1), device=idx.device)))
        for block in t.h:
            x = block(x)
        return self.inner.lm_head(t.ln_f(x))[..., :N].float()


def base_nll('''),
    ("train.py", "optimizers = [muon, adam]", "optimizers = [model.inner.configure_optimizers(0.1, learning_rate, (0.9, 0.95), dev.type)]"),
    ("train.py", "    return min(1.0, (step + 1)", "    return min((step + 1) / 100, 0.55 + 0.45 * math.cos(math.pi * step / max_iters))\n    return min(1.0, (step + 1)"))


KEEP = (  # our train.py, with every so manieth checkpoint kept
    ("train.py", "log_interval = 10 ", "keep = 20  # steps\nlog_interval = 10 "),
    ("train.py", "        if step and (step % eval_interval == 0", "        if step and step % keep == 0:\n            save_checkpoint(f\"{last}.{step}\", dict(model=model.state_dict(), model_args=model_args))\n        if step and (step % eval_interval == 0"))


class Scored(nn.Module):
    """A nanoGPT checkpoint with the interface of our models."""

    def __init__(self, nanogpt, path, device):
        super().__init__()
        held = torch.load(path, map_location="cpu", weights_only=True)
        self.inner = nanogpt.GPT(nanogpt.GPTConfig(**held["model_args"]))
        self.inner.load_state_dict({k.removeprefix("_orig_mod."): v for k, v in held["model"].items()})
        self.to(device).eval()

    def forward(self, idx):
        seen = idx[:, 1:].contiguous()
        logits = self.inner(seen, seen)[0][..., :N].float()
        return F.pad(logits, (0, 0, 1, 0))


def seen_before(windows, k=8):
    """(M, T) windows -> (M, T) bool: the k bases before this one stand earlier in the window too, so that copying is possible."""
    seen = np.zeros(windows.shape, bool)
    code = sum((windows[:, j:windows.shape[1] - k + j] & 7).astype(np.int64) * 5 ** j for j in range(k))
    for row, codes in zip(seen, code):
        _, first, which = np.unique(codes, return_index=True, return_inverse=True)
        row[k:] = first[which] < np.arange(len(codes))
    return seen


def score(model, windows, seen, device="cpu", rows=64):
    """(all, seen before, not seen before): bits per base over (M, T) windows."""
    with torch.no_grad():
        bases = torch.from_numpy(windows & 7)
        bits = torch.cat([base_nll(model, x.to(device).long()).double().cpu() for x in bases.split(rows)]).numpy() / math.log(2)
    real = windows & 7 < N
    return [float(bits[group].mean()) for group in (real, real & seen, real & ~seen)]


def tokens_to(target, points):
    """Tokens at which a curve [(tokens, bits, ...)] first reaches target, between its points by a straight line; infinity if it does not."""
    before = (0, 2.0)
    for point in points:
        if point[1] <= target:
            return before[0] + (point[0] - before[0]) * (before[1] - target) / (before[1] - point[1])
        before = point
    return math.inf


def always_ahead(ours, theirs, our_speed, their_speed, after=60.0):
    """Whether ours, a curve [(tokens, bits, ...)], is below theirs at each of the seconds of its points from `after` on; past its end it keeps its last value."""
    seconds = [[0] + [p[0] / speed for p in points] for points, speed in ((ours, our_speed), (theirs, their_speed))]
    mine, other = (lambda t, i=i, points=points: np.interp(t, seconds[i], [2.0] + [p[1] for p in points]) for i, points in enumerate((ours, theirs)))
    return all(mine(t) < other(t) for t in (after, *sum(seconds, [])) if t >= after)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nanogpt", required=True, type=Path, help="a clone of nanoGPT")
    parser.add_argument("--dataset", default="hg38")
    parser.add_argument("--out", default="out-nanogpt", type=Path)
    parser.add_argument("--scale", choices=SCALES, default="cpu")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--their_seeds", type=int, nargs="+", help="nanoGPT's, if not the same")
    parser.add_argument("--rates", type=float, nargs="+", default=[5e-4, 1e-3, 2e-3, 4e-3, 8e-3])
    parser.add_argument("--tokens", type=float, help="instead of the scale's")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time; on a CPU one thread each")
    parser.add_argument("--turns", type=int, default=3, help="of timing both models; 0: none yet")
    args = parser.parse_args()
    if not (args.nanogpt / "model.py").is_file():
        die(f"{args.nanogpt} is no clone of nanoGPT: git clone https://github.com/karpathy/nanoGPT")
    s, gpu = SCALES[args.scale], args.scale == "gpu"
    device, jobs = "cuda" if gpu else "cpu", args.jobs
    if gpu:
        torch.set_float32_matmul_precision("high")
    per_step = s["batch"] * s["block_size"]
    steps = int((args.tokens or s["tokens"]) // per_step)
    out = args.out.resolve()
    genome = Genome(find_dataset(args.dataset))
    windows = eval_windows(genome.bases("val"), genome.stretches("val"), s["block_size"], s["scored"])
    commit = "of unknown commit"
    if (args.nanogpt / ".git").exists():  # git would answer for a repository around it
        commit = subprocess.run(["git", "-C", args.nanogpt, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()[:7]
    spec = importlib.util.spec_from_file_location("nanogpt", args.nanogpt / "model.py")
    nanogpt = importlib.util.module_from_spec(spec)
    sys.modules["nanogpt"] = nanogpt
    spec.loader.exec_module(nanogpt)
    seen = seen_before(windows)
    print(f"nanoGPT {commit}, {steps} steps of {per_step:,} bases, torch {torch.__version__}, scored on {int((windows & 7 < N).sum()):,} bases, "
          f"{seen.mean():.1%} of them after eight that stand earlier in the window")

    # ---- its data: the same training bases, N left out
    clone = out / "clone"
    folder = clone / "data" / "dna"
    if not (folder / "train.bin").exists():
        folder.mkdir(parents=True)
        for file in ("train.py", "model.py", "configurator.py"):
            (clone / file).write_bytes((args.nanogpt / file).read_bytes())
        for split in ("val", "train"):
            bases = np.concatenate([genome.bases(split)[a:b] & 7 for a, b in genome.stretches(split)])
            bases[bases < N].astype(np.uint16).tofile(folder / f"{split}.bin")
        (folder / "meta.pkl").write_bytes(pickle.dumps({"vocab_size": 5}))

    env = dict(os.environ, **({} if gpu else {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 2) // jobs))}))
    size = [f"--{k}={s[k]}" for k in ("n_layer", "n_head", "n_embd", "block_size")]

    def scored(run, load):
        """[(tokens, all, seen, not seen)] of the checkpoints that a run has kept, which are deleted, or what was found before."""
        if not (run / "curve.json").exists():
            points = []
            for path in sorted(run.glob("ckpt.pt.*"), key=lambda p: int(p.suffix[1:])):
                points.append([int(path.suffix[1:]) * per_step, *score(load(path), windows, seen, device)])
            (run / "curve.json").write_text(json.dumps(points))
            for path in run.glob("ckpt.pt.*"):
                path.unlink()
        return json.loads((run / "curve.json").read_text())

    def theirs(rate, seed, steps, points=8):
        run = out / f"nanogpt lr {rate} seed {seed} steps {steps}"
        if not (run / "curve.json").exists():
            run.mkdir(parents=True, exist_ok=True)
            words = [*size, f"--out_dir={run}", "--dataset=dna", f"--batch_size={s['batch']}", "--gradient_accumulation_steps=1", f"--max_iters={steps}",
                     f"--lr_decay_iters={steps}", "--warmup_iters=100", f"--learning_rate={rate}", f"--min_lr={rate / 10}", f"--eval_interval={max(1, steps // points)}",
                     "--eval_iters=1", "--log_interval=10", f"--device={device}", f"--dtype={'bfloat16' if gpu else 'float32'}", f"--compile={gpu}"]
            with open(run / "log", "w") as log:
                subprocess.run([sys.executable, "-c", LAUNCH, str(seed), *words], cwd=clone, stdout=log, stderr=log, env=env, check=True)
        return scored(run, lambda path: Scored(nanogpt, path, device))

    def ours(seed, steps):
        run = out / f"ours seed {seed} steps {steps}"
        if not (run / "out" / "summary.json").exists():
            edited_copy(run, KEEP)
            words = [*size, f"--dataset={genome.folder.resolve()}", "--out_dir=out", f"--seed={seed}", f"--max_iters={steps}", f"--batch_tokens={per_step}",
                     f"--batch_size={s['batch']}", f"--eval_interval={steps}", f"--eval_tokens={s['final']}", "--markov_order=0", f"--device={device}"]
            with open(run / "log", "w") as log:
                subprocess.run([sys.executable, "train.py", *words, f"--keep={max(1, steps // 10)}"], cwd=run, stdout=log, stderr=log, env=env, check=True)

        def load(path):
            held = torch.load(path, map_location=device, weights_only=True)
            model = GPT(GPTConfig(**held["model_args"])).to(device).eval()
            model.load_state_dict(held["model"])
            return model
        return scored(run / "out", load)

    def rate_of(model, turn):
        """Bases per second of nanoGPT's model or ours in our loop, in the log's last lines."""
        run = out / f"speed {model} {turn}"
        words = [*size, f"--dataset={genome.folder.resolve()}", "--out_dir=out", f"--batch_tokens={per_step}", f"--batch_size={s['batch']}", f"--device={device}", "--markov_order=0",
                 "--init_from=scratch", f"--eval_tokens={s['block_size']}", f"--max_iters={150 if gpu else 15}", f"--log_interval={50 if gpu else 5}"]
        if not run.exists():
            edited_copy(run, OURS if model == "nanoGPT" else ())
            (run / "nanogpt.py").write_bytes((args.nanogpt / "model.py").read_bytes())
        done = subprocess.run([sys.executable, "train.py", *words], cwd=run, check=True, capture_output=True, text=True)
        return statistics.median(float(line.split("bases/s")[0].split("|")[-1].replace(",", "")) for line in done.stdout.splitlines() if "bases/s" in line and "step 1/" not in line)

    # ---- run, in parallel on a CPU
    with ThreadPoolExecutor(jobs) as pool:
        mine = [pool.submit(ours, seed, steps // 4) for seed in args.seeds]
        tuned = {r: pool.submit(theirs, r, args.seeds[0], steps // 8, 1) for r in args.rates}
        tuned = {r: future.result()[-1][1] for r, future in tuned.items()}
        rate = min(tuned, key=tuned.get)
        print("nanoGPT's learning rate:", ", ".join(f"{r:g} {b:.4f}" for r, b in tuned.items()), f"-> {rate:g}", flush=True)
        its = list(pool.map(lambda seed: theirs(rate, seed, steps), args.their_seeds or args.seeds))
        mine = [future.result() for future in mine]
    turns = [(rate_of("ours", turn), rate_of("nanoGPT", turn)) for turn in range(args.turns)]
    speed = statistics.median(a / b for a, b in turns) if turns else None
    counted = out / f"markov {args.scale}.json"
    if not counted.exists():
        markov, markovs = Markov(genome.bases("train"), 12), {}
        for markov.order in range(12, 0, -1):
            markovs[markov.order] = score(markov, windows, seen)
        counted.write_text(json.dumps(markovs))
    markovs = json.loads(counted.read_text())

    # ---- what came of it
    rows = []
    print(f"\n{'seeds':>6}{'nanoGPT best':>14}{'at bases':>13}{'ours there at':>15}{'fewer bases':>13}{'less time':>11}{'ours at ' + f'{steps // 4 * per_step:,}':>19}")
    for (its_seed, a), (seed, b) in product(zip(args.their_seeds or args.seeds, its), zip(args.seeds, mine)):  # each of its runs with each of ours
        tokens, target = min(a, key=lambda p: p[1])[:2]
        reached = tokens_to(target, b)
        rows.append(dict(nanogpt_seed=its_seed, seed=seed, nanogpt_bits=target, nanogpt_tokens=tokens, our_tokens=reached, token_ratio=tokens / reached,
                         time_ratio=tokens / reached * speed if turns else None, our_bits=b[-1][1]))
        less = f"{tokens / reached * speed:10.1f}x" if turns else f"{'not timed':>11}"
        print(f"{its_seed:3}{seed:3}{target:14.4f}{tokens:13,}{reached:15,.0f}{tokens / reached:12.1f}x{less}{b[-1][1]:19.4f}")
    for name in ("token_ratio", "time_ratio") if turns else ("token_ratio",):  # in steps as in tokens: both take the same ones
        values = sorted(row[name] for row in rows)
        print(f"{name}: median {statistics.median(values):.1f}x, from {values[0]:.1f}x to {values[-1]:.1f}x")
    if turns:
        ours_speed, its_speed = (statistics.median(pair) for pair in zip(*turns))
        print("ahead at every moment after the first minute:", all(always_ahead(b, a, ours_speed, its_speed) for a, b in product(its, mine)))
        print("bases/s in our loop, ours and nanoGPT's model:", "; ".join(f"{a:,.0f} {b:,.0f}" for a, b in turns), f"-> {speed:.2f}x")
    report = dict(commit=commit, scale=args.scale, torch=str(torch.__version__), rates={str(k): v for k, v in tuned.items()}, rate=rate, rows=rows, speeds=turns,
                  nanogpt=its, ours=mine, markov=markovs)
    (out / "report.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
