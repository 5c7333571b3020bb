"""How fast each part is, beside what a user would run instead, in the same minutes.

  python -m experiments.bench                               (everything)
  python -m experiments.bench train --nanogpt=nanoGPT       (one part of it)

Parts: train, loader, sample, prepare, eval. nanoGPT: a clone of it. Rates are medians over turns in
which the parts and their anchors alternate, so that a busy machine slows both. A row's ratio is
above 1 where we are better than the anchor. MFU counts 6 N + 12 n_layer n_embd block_size flops a
base: full attention, causal skipping not credited.
"""

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as train.py has it

import torch

from config import configure, die
from experiments.bench.data import measure_evaluation, measure_loader, measure_prepare
from experiments.bench.measure import Table
from experiments.bench.sampling import measure_sampling
from experiments.bench.training import Options, measure_training
from runtime.device import machine_peak, pick_device
from runtime.team import Team

nanogpt = ""  # a clone of nanoGPT, to run its model beside ours
ckpt = ""  # a trained checkpoint to sample from
only = ""  # train: this case alone, its block_size x windows at a time, such as 1024x32
variants = False  # train: other kinds of attention and of residual stream too
quick = False  # small sizes, a minute on two cores
rounds = 3  # turns, of which the median counts
seconds = 4.0  # of each measurement in a turn
megabases = 3000  # size of the FASTA that prepare is timed on
json = ""  # a file for the rows
device = "auto"  # auto | cuda | cpu | mps
dtype = "auto"  # auto | bfloat16 | float16 | float32

PARTS = ("train", "loader", "sample", "prepare", "eval")


def main():
    """Measure the part that the command line names, or all of them."""
    words = sys.argv[1:]
    parts = PARTS
    if words and not words[0].startswith("-"):
        if words[0] not in PARTS:
            die(f"{words[0]} is no part: choose one of {', '.join(PARTS)}, or none for all")
        parts = (words.pop(0),)
    configure(globals(), words)
    if rounds < 1 or seconds <= 0 or megabases < 1:
        die("rounds and megabases start at 1, seconds is above 0")
    if quick:
        table = Table(min(rounds, 2), min(seconds, 0.5), json)
    else:
        table = Table(rounds, seconds, json)
    team = Team(0, 1, *pick_device(device, dtype))
    name = machine_peak(team.device)[0]
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__}, {name}, {threads} threads, {str(team.precision)[6:]}")
    speed, block_size = None, 1024
    if "train" in parts:
        options = Options(nanogpt, only, quick, variants)
        speed, block_size = measure_training(table, team, options)
    if "loader" in parts:
        measure_loader(table, speed, block_size, quick)
    if "sample" in parts:
        measure_sampling(table, team, ckpt, nanogpt, quick)
    if "prepare" in parts:
        measure_prepare(table, megabases, quick)
    if "eval" in parts:
        measure_evaluation(table, team, quick)


if __name__ == "__main__":
    main()
