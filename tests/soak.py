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
import runpy
import signal
import sys
import tempfile
import time
from itertools import count, zip_longest
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch
import torch._dynamo  # what the optimisers load late: once, here

from tests.conftest import ROOT, random_dna, write_genome

SETTINGS = (
    "--block_size=64 --n_layer=2 --n_head=2 --n_embd=32 --batch_tokens=512 --batch_size=4 "
    "--eval_interval=8 --eval_tokens=6000 --log_interval=2 "
    "--markov_order=0 --device=cpu --dtype=float32 --dropout=0.1"
).split()
SAVED = 60_000  # about half a checkpoint of this model, in bytes


def life(genome, out, steps, death=None):
    """Run train.py in a fork until it ends or dies as `death` says -> its exit code, negative if a
    signal ended it.
    """
    kind, number, when = death or (None, 0, 0)
    child = os.fork()
    if child == 0:
        os.chdir(ROOT)
        sys.argv = [
            "train.py",
            f"--dataset={genome}",
            f"--out_dir={out}",
            f"--max_iters={steps}",
            *SETTINGS,
        ]
        text = os.open(out.parent / "text", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(text, 1), os.dup2(text, 2)
        left = [when]

        def watch(event, args):
            if event == "os.rename" and not str(args[1]).endswith(".csv"):
                left[0] -= 1
                if left[0] == 0:
                    os.kill(os.getpid(), number)

        if kind == "as a file is moved":
            sys.addaudithook(watch)
        if (
            kind == "half a checkpoint written"
        ):  # the kernel's own signal, which Python ignores unless told
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (SAVED, SAVED))
        code = 0
        try:
            runpy.run_path("train.py", run_name="__main__")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1 if end.code else 0
            if isinstance(end.code, str):
                print(end.code, flush=True)
        except BaseException:
            import traceback

            traceback.print_exc()
            code = 70
        sys.stdout.flush()
        os._exit(code)
    if kind == "after a while":
        time.sleep(when)
        os.kill(child, number)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def same(a, b):
    """Whether two values of a checkpoint are equal to the last bit."""
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b


def kept(path):
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    return {k: v for k, v in checkpoint.items() if k not in ("seconds", "config")}


def logged(path):
    names, *rows = (line.split(",") for line in (path / "log.csv").read_text().splitlines())
    return [
        [
            value
            for name, value in zip(names, row)
            if name not in ("seconds", "tokens_per_second", "mfu")
        ]
        for row in rows
    ]


def soak(kills, folder, seed=0):
    """Kill until `kills` deaths have come and the run is whole -> {how it died: how often}.
    AssertionError if anything is lost.
    """
    rng, steps = random.Random(seed), 12 * kills
    dna = np.random.default_rng(seed)
    genome = write_genome(
        folder / "genome",
        {"train": {"chr1": random_dna(dna, 20_000)}, "val": {"chr21": random_dna(dna, 6_000)}},
    )
    quiet, killed, deaths, best = (
        folder / "quiet" / "out",
        folder / "killed" / "out",
        {},
        float("inf"),
    )
    quiet.mkdir(parents=True), killed.mkdir(parents=True)
    began = time.time()
    assert life(genome, quiet, steps) == 0, (quiet.parent / "text").read_text()
    step = (time.time() - began) / steps  # seconds
    for _ in range(20 * kills):
        left = kills - sum(deaths.values())
        kind = (
            rng.choice(
                [
                    "after a while",
                    "after a while",
                    "as a file is moved",
                    "half a checkpoint written",
                ]
            )
            if left > 0
            else None
        )
        number = (
            signal.SIGKILL
            if kind == "as a file is moved"
            else rng.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
        )
        when = {
            "after a while": rng.random() * 24 * step + 0.02,
            "as a file is moved": rng.randint(1, 4),
        }.get(kind, 0)
        code = life(genome, killed, steps, kind and (kind, number, when))
        if code == 0:
            break
        assert code in (-9, -2, -15, -25, 130, 143), (
            f"{kind}: exit code {code}\n{(killed.parent / 'text').read_text()[-3000:]}"
        )
        name = (
            f"{kind}, "
            + signal.Signals(abs(code) if code < 0 else code - 128).name
            + ("" if code < 0 else ", which saved")
        )
        deaths[name] = deaths.get(name, 0) + 1
        if (killed / "ckpt.pt").exists():
            last = kept(killed / "ckpt.pt")
            none_yet = last["best_bits"] == float("inf")  # told to stop before the first evaluation
            assert last["best_bits"] <= best and (
                none_yet or kept(killed / "best.pt")["val"]["all"] <= last["best_bits"]
            ), "a best checkpoint was lost"
            best = last["best_bits"]
    assert code == 0, "killed so often that it never ended"
    for name in ("ckpt.pt", "best.pt"):
        assert same(kept(quiet / name), kept(killed / name)), (
            f"{name} is not that of the undisturbed run"
        )
    differ = [pair for pair in zip_longest(logged(quiet), logged(killed)) if pair[0] != pair[1]]
    assert not differ, f"the logs differ: {differ[:3]}"
    return deaths


if __name__ == "__main__":
    began = time.time()
    with tempfile.TemporaryDirectory() as folder:
        deaths, wanted = {}, int(sys.argv[1]) if len(sys.argv) > 1 else 200
        for seed in count():  # one run after the other
            left = wanted - sum(deaths.values())
            if left <= 0:
                break
            for name, times in soak(min(left, 40), Path(folder) / str(seed), seed).items():
                deaths[name] = deaths.get(name, 0) + times
    for name, times in sorted(deaths.items()):
        print(f"{times:5} {name}")
    print(
        f"{sum(deaths.values())} deaths in {time.time() - began:.0f} s; "
        "weights, optimisers, best and log are those of undisturbed runs, to the bit"
    )
