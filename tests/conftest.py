"""What the tests share: one thread (small tensors, two cores), a small genome, and a way to run a script as a user does."""
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # for this process and for the scripts that it starts

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

import data

torch.set_num_threads(1)
settings.register_profile("quick", deadline=None, derandomize=True, database=None, max_examples=100, suppress_health_check=list(HealthCheck))
settings.register_profile("long", settings.get_profile("quick"), derandomize=False, max_examples=20_000)
if settings.get_current_profile_name() != "long":  # asked for by --hypothesis-profile
    settings.load_profile("quick")
ROOT = Path(__file__).parent.parent


def write_genome(folder, splits):
    """A prepared genome from {split: {chromosome: letters}}; gaps are found by a plain loop over the bases."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = {"format": data.FORMAT, "assembly": "test", "source": [], "min_gap": data.MIN_GAP, "splits": {}}
    for split in data.SPLITS:
        chroms, offset, parts = [], 0, [b""]
        for name, letters in splits.get(split, {}).items():
            bases, runs, start = data.encode(letters), [], None
            for i, base in enumerate([*(bases & 7), 0]):
                if base == data.N and start is None:
                    start = i
                elif base != data.N and start is not None:
                    runs, start = runs + [[start, i]] * (i - start >= data.MIN_GAP), None
            chroms.append({"name": name, "offset": offset, "length": len(bases), "md5": hashlib.md5(letters.upper().encode()).hexdigest(), "gaps": runs})
            offset += len(bases)
            parts.append(bases.tobytes())
        (folder / f"{split}.bin").write_bytes(b"".join(parts))
        meta["splits"][split] = {"chroms": chroms}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def random_dna(rng, n, repeats=True):
    """n letters of an order-1 chain, so that there is something to learn, about a third of them in lower case."""
    table = np.array([[0.5, 0.2, 0.2, 0.1], [0.1, 0.5, 0.1, 0.3], [0.4, 0.1, 0.4, 0.1], [0.1, 0.1, 0.2, 0.6]]).cumsum(1)
    out, base, draws = np.empty(n, np.int64), 0, rng.random(n)
    for i in range(n):
        base = out[i] = min(3, int((draws[i] > table[base]).sum()))
    letters = np.frombuffer(b"ACGT", np.uint8)[out].copy()
    if repeats:
        for start in range(0, n, 300):
            letters[start:start + 100] += 32
    return letters.tobytes().decode()


@pytest.fixture(scope="session")
def genome_folder(tmp_path_factory):
    """A prepared genome: two training chromosomes with gaps and single N's, one for validation, one for test."""
    rng = np.random.default_rng(0)
    chr1 = "N" * 60 + random_dna(rng, 9000) + "N" * 100 + random_dna(rng, 3000) + "n" + random_dna(rng, 2000)
    splits = {"train": {"chr1": chr1, "chr2": random_dna(rng, 5000)}, "val": {"chr21": random_dna(rng, 6000)}, "test": {"chr22": random_dna(rng, 4000)}}
    return write_genome(tmp_path_factory.mktemp("genome"), splits)


def run(*words, torchrun=0, cwd=ROOT, start=(), **kwargs):
    """Run a script as a user types it, by python or by torchrun on that many processes; returns the process with its text."""
    if torchrun:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={torchrun}"]
    start = start or [sys.executable]
    return subprocess.run([*start, *map(str, words)], cwd=cwd, capture_output=True, text=True, timeout=240, **kwargs)


@pytest.fixture(scope="session")
def script():
    return run


def one_line_error(process, *words):
    """A user's mistake: non-zero exit, one line on standard error that holds the words, no traceback."""
    lines = process.stderr.strip().splitlines()
    assert process.returncode != 0 and len(lines) == 1 and lines[0].startswith("error: "), process.stderr
    assert all(w in lines[0] for w in words), lines[0]
