"""Kill a training run again and again, at random moments, and see whether it ends as if nothing had
happened.

  python -m tests.soak 200

Each life of the run is a fork that has torch loaded already. It is killed (SIGKILL, SIGTERM or
SIGINT) after a random time, or as a file is about to be moved to its place, or with half a
checkpoint written. After each death the checkpoints must load, the best one must not be lost, and
in the end weights, optimisers and log must be those of a run that nobody disturbed, bit for bit.
"""

import os
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from dataclasses import dataclass
from itertools import count, zip_longest
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch._dynamo  # what the optimisers load late: once, here

import train
from runtime.run_folder import read_rows
from tests.conftest import random_dna, write_genome

SETTINGS = (
    "--block_size=64 --n_layer=2 --n_head=2 --n_embd=32 --batch_tokens=512 --batch_size=4 "
    "--eval_interval=8 --eval_tokens=6000 --log_interval=2 "
    "--markov_order=0 --device=cpu --dtype=float32 --dropout=0.1"
).split()
SAVED = 300_000  # bytes, about half a checkpoint of this model


@dataclass
class Death:
    """How a life of the run ends: which signal, and when.

    kind: "after a while" (when: seconds), "as a file is moved" (when: the file's number in this
    life) or "half a checkpoint written" (the kernel's own signal, number is not used).
    """

    kind: str
    number: int
    when: float


def choose_death(rng, step_seconds):
    """A Death by chance."""
    kinds = ["after a while", "after a while", "as a file is moved", "half a checkpoint written"]
    kind = rng.choice(kinds)
    number = signal.SIGKILL
    if kind != "as a file is moved":
        number = rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    times = {
        "after a while": rng.random() * 24 * step_seconds + 0.02,
        "as a file is moved": rng.randint(1, 4),
    }
    return Death(kind, number, times.get(kind, 0))


def life(genome, out, steps, death=None):
    """Run train.py in a fork until it ends or dies -> its exit code, negative for a signal's."""
    child = os.fork()
    if child == 0:
        text = os.open(out.parent / "text", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(text, 1)
        os.dup2(text, 2)
        if death:
            prepare_to_die(death)
        words = [f"--dataset={genome}", f"--out_dir={out}", f"--max_iters={steps}", *SETTINGS]
        code = train_in_fork(words)
        sys.stdout.flush()
        os._exit(code)
    if death and death.kind == "after a while":
        time.sleep(death.when)
        os.kill(child, death.number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def prepare_to_die(death):
    """In the fork: have this process killed at the moment that `death` says."""
    moves = []

    def watch(event, args):
        if event == "os.rename" and not str(args[1]).endswith(".csv"):
            moves.append(args)
            if len(moves) == death.when:
                os.kill(os.getpid(), death.number)

    if death.kind == "as a file is moved":
        sys.addaudithook(watch)
    if death.kind == "half a checkpoint written":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # which Python ignores unless told
        resource.setrlimit(resource.RLIMIT_FSIZE, (SAVED, SAVED))


def train_in_fork(words):
    """Train -> the exit code that a process of its own would have."""
    try:
        train.main(words)
    except SystemExit as end:
        if isinstance(end.code, str):
            print(end.code, flush=True)
            return 1
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 70
    return 0


def same(a, b):
    """Whether two values of a checkpoint are equal to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    return a == b or a != a and b != b  # nan is as good as nan


def kept(path):
    """A checkpoint, without what two equal runs may differ in."""
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return {k: v for k, v in checkpoint.items() if k not in ("seconds", "config")}


def logged(path):
    """The rows of a run's log, without its times."""
    rows = read_rows(path / "log.csv")
    times = ("seconds", "tokens_per_second", "mfu")
    return [{name: row[name] for name in row if name not in times} for row in rows]


def name_of(death, code):
    """What to count a death as: signals that let the run save are told apart."""
    if code < 0:
        return f"{death.kind}, {signal.Signals(-code).name}"
    return f"{death.kind}, {signal.Signals(code - 128).name}, which saved"


def check_best(out, best):
    """The best bits that a killed run knows of; AssertionError if a better checkpoint was lost."""
    if not (out / "ckpt.pt").exists():
        return best
    found = kept(out / "ckpt.pt")["best_bits"]
    assert found <= best, "a best checkpoint was lost"
    if found < float("inf"):  # else it was told to stop before the first evaluation
        assert kept(out / "best.pt")["val"]["all"] <= found, "a best checkpoint was lost"
    return found


def check_same_run(quiet, killed):
    """AssertionError unless both runs ended in the same checkpoints and wrote the same log."""
    for name in ("ckpt.pt", "best.pt"):
        assert same(kept(quiet / name), kept(killed / name)), f"{name} is not the undisturbed run's"
    pairs = zip_longest(logged(quiet), logged(killed))
    differ = [pair for pair in pairs if pair[0] != pair[1]]
    assert not differ, f"the logs differ: {differ[:3]}"


def make_genome(folder, seed):
    rng = np.random.default_rng(seed)
    train_split = {"chr1": random_dna(rng, 20_000)}
    return write_genome(folder, {"train": train_split, "val": {"chr21": random_dna(rng, 6_000)}})


def soak(kills, folder, seed=0):
    """Kill a run `kills` times, then let it end -> {how it died: how often}.

    AssertionError if anything is lost.
    """
    rng = random.Random(seed)
    steps = 12 * kills
    genome = make_genome(folder / "genome", seed)
    quiet = folder / "quiet" / "out"
    killed = folder / "killed" / "out"
    quiet.mkdir(parents=True)
    killed.mkdir(parents=True)
    began = time.time()
    assert life(genome, quiet, steps) == 0, (quiet.parent / "text").read_text()
    step_seconds = (time.time() - began) / steps
    deaths = Counter()
    best = float("inf")
    for _ in range(20 * kills):
        death = choose_death(rng, step_seconds) if deaths.total() < kills else None
        code = life(genome, killed, steps, death)
        if code == 0:
            break
        said = (killed.parent / "text").read_text()[-3000:]
        assert code in (-9, -2, -15, -25, 130, 143), f"{death}: exit code {code}\n{said}"
        deaths[name_of(death, code)] += 1
        best = check_best(killed, best)
    assert code == 0, "killed so often that it never ended"
    check_same_run(quiet, killed)
    return deaths


def main():
    began = time.time()
    wanted = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    deaths = Counter()
    with tempfile.TemporaryDirectory() as folder:
        for seed in count():  # one run after the other
            left = wanted - deaths.total()
            if left <= 0:
                break
            deaths += soak(min(left, 40), Path(folder) / str(seed), seed)
    for name, times in sorted(deaths.items()):
        print(f"{times:5} {name}")
    print(
        f"{deaths.total()} deaths in {time.time() - began:.0f} s; "
        "weights, optimisers, best and log are those of undisturbed runs, to the bit"
    )


if __name__ == "__main__":
    main()
