"""Everything that one GPU can show in twenty minutes, in two calls that end in a table of what out
holds.

  python -m experiments.gpu speed --nanogpt=nanoGPT --out=out-gpu
  python -m experiments.gpu loss --nanogpt=nanoGPT --dataset=pieces --out=out-gpu

speed: tests on the GPU, training, memory, sampling, scoring; loss: time to a loss beside nanoGPT,
and the flagship's first 100 steps. Each takes less than ten minutes on an H200. Each part is a
command of this repository with a time limit; one that fails or takes too long is reported as such,
with the rows that it has by then, and the next one starts. On a slower card give it more time:
--slower=4 on an RTX 4090. --small: the same on a CPU with small sizes, to see that it runs.
"""

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from experiments.against_nanogpt import SCALES
from runtime.run_folder import read_rows

ROOT = Path(__file__).resolve().parent.parent


@dataclass
class Part:
    """A command to run, and the seconds that it may take on an H200."""

    name: str
    words: list
    limit: int


def bench(name, limit, args, *words):
    """A Part of the benchmark, which leaves its rows in a JSON file; words: a part of it, and
    settings.
    """
    given = ["-m", "experiments.bench", *words, f"--json={args.out / name}.json"]
    if args.small:
        given.append("--quick")
    return Part(name, given, limit)


def speed_parts(args):
    """Tests on the GPU; training at 85M beside nanoGPT, two contexts; sampling; pairs."""
    clone = f"--nanogpt={args.nanogpt}"
    sizes = ["--rounds=3", "--seconds=2"]
    train = ["train", clone, "--variants=True", "--rounds=4", "--seconds=2"]
    parts = [Part("tests on the GPU", ["-m", "pytest", "-m", "gpu", "-q", "-x"], 100)]
    if args.small:
        parts.append(bench("training", 200, args, *train))
    else:
        parts.append(bench("training, 1,024", 200, args, *train, "--only=1024x32"))
        parts.append(bench("training, 4,096", 200, args, *train, "--only=4096x8"))
    parts.append(bench("sampling", 50, args, "sample", clone, *sizes))
    parts.append(bench("pairs of Task 1", 40, args, "eval", *sizes))
    return parts


def loss_parts(args):
    """nanoGPT and ours at 10.6M, each alone on the card; the flagship for 100 steps."""
    against = [
        "-m",
        "experiments.against_nanogpt",
        f"--nanogpt={args.nanogpt}",
        f"--dataset={args.dataset}",
        f"--out={args.out / 'against'}",
        "--seeds=1",
        "--rates=4e-3",
        "--jobs=1",
    ]
    flagship = [
        "train.py",
        "config/hg38_small.py",
        f"--dataset={args.dataset}",
        f"--out_dir={args.out / 'flagship'}",
        "--init_from=scratch",
        "--markov_order=0",
    ]
    if args.small:
        against += ["--tokens=65536", "--final=20480"]
        flagship += ["--n_layer=2", "--n_head=2", "--n_embd=64", "--batch_tokens=4096"]
        flagship += ["--batch_size=2", "--max_iters=4", "--eval_interval=2", "--eval_tokens=20480"]
    else:
        against += ["--scale=gpu"]
        flagship += ["--max_iters=100", "--eval_interval=50", "--log_interval=5"]
    return [
        Part("time to a loss", against, 270),
        Part("flagship, 100 steps", flagship, 280),
    ]


def run(part, args):
    """(how it ended, seconds) of a part; what it prints goes to a file."""
    began = time.time()
    limit = part.limit * args.slower
    command = [sys.executable, *part.words]
    with open(args.out / f"{part.name}.log", "w") as log:
        child = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        try:
            code = child.wait(limit)
            ended = "done" if code == 0 else f"failed ({code})"
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)  # and what it has started: the card is free again
            child.wait()
            ended = f"cut off after {limit:.0f} s"
    return ended, time.time() - began


def print_rows(path):
    """The rows of the benchmark in a JSON file."""
    for row in json.loads(path.read_text()):
        line = f"  {row['part']:8}{row['case']:70}{row['value']:12,.4g} {row['unit']}"
        if row["anchor"]:
            line += f" | {row['anchor']} {row['anchor_value']:,.4g} | ratio {row['ratio']:.2f}"
        print(line)


def time_to_loss(folder):
    """Lines on the seconds that each of two runs, alone on the card, took to nanoGPT's best loss,
    compiling left out.
    """
    report = json.loads((folder / "report.json").read_text())
    row = report["rows"][0]
    scale = SCALES[report["scale"]]
    bases_per_step = scale["batch"] * scale["size"]["block_size"]
    rows = read_rows(next(folder.glob("ours seed * steps *")) / "log.csv")
    ours = median(float(line["tokens_per_second"]) for line in rows if line["tokens_per_second"])
    log = next(folder.glob("nanogpt lr * seed * steps *")) / "log"
    theirs = bases_per_step / nanogpt_seconds(log.read_text())
    their_seconds = row["nanogpt_tokens"] / theirs
    lines = [
        f"  nanoGPT's best: {row['nanogpt_bits']:.4f} bits, after {row['nanogpt_tokens']:,} bases "
        f"at {theirs:,.0f} bases/s, {their_seconds:.1f} s"
    ]
    if not math.isfinite(row["our_tokens"]):
        lines.append(f"  ours, at {ours:,.0f} bases/s, is not there by its end")
        return lines
    our_seconds = row["our_tokens"] / ours
    fewer = row["token_ratio"]
    less = their_seconds / our_seconds
    lines.append(
        f"  ours is there after {row['our_tokens']:,.0f} bases at {ours:,.0f} bases/s, "
        f"{our_seconds:.1f} s: {fewer:.1f} times fewer bases, {less:.1f} times less time"
    )
    return lines


def nanogpt_seconds(log):
    """The median seconds of an iteration, by the lines of nanoGPT's log."""
    lines = [line for line in log.splitlines() if line.startswith("iter ") and "time " in line]
    return median(float(line.split("time ")[1].split("ms")[0]) / 1e3 for line in lines)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("which", choices=("speed", "loss"))
    parser.add_argument("--nanogpt", required=True, type=Path, help="a clone of nanoGPT")
    parser.add_argument("--dataset", default="pieces", help="a prepared genome")
    parser.add_argument("--out", default=Path("out-gpu"), type=Path, help="a folder for all of it")
    parser.add_argument("--slower", type=float, default=1.0, help="than an H200: limits times this")
    parser.add_argument("--small", action="store_true", help="small sizes, on a CPU")
    args = parser.parse_args()
    args.out = args.out.resolve()
    args.nanogpt = args.nanogpt.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    parts = speed_parts(args) if args.which == "speed" else loss_parts(args)
    for part in parts:
        ended, seconds = run(part, args)
        print(f"{part.name}: {ended}, {seconds:.0f} s", flush=True)
    for path in sorted(args.out.glob("*.json")):
        print_rows(path)
    if (args.out / "against" / "report.json").exists():
        print("\n".join(time_to_loss(args.out / "against")))
    summary = args.out / "flagship" / "summary.json"
    if summary.exists():
        figures = json.loads(summary.read_text())
        del figures["table"]
        print("  flagship: " + ", ".join(f"{key} {value}" for key, value in figures.items()))


if __name__ == "__main__":
    main()
