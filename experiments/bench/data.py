"""The data path: windows a second, preparing a genome, Task 1's pairs."""

import importlib.util
import json
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch
from tqdm import tqdm

from data import Genome, Mixture, Windows, decode
from experiments.bench.measure import medians, ratio_spread
from experiments.bench.training import FLAGSHIP, LAPTOP, TINY
from model import GPT, GPTConfig

ROOT = Path(__file__).resolve().parent.parent.parent
CPU = torch.device("cpu")


def measure_loader(table, speed=None, block_size=1024, quick=False):
    """Windows a second from a genome in memory's page cache, beside what the training step of this
    machine eats.
    """
    rng = np.random.default_rng(0)
    bases = rng.integers(0, 4, 2**22 if quick else 2**28, dtype=np.uint8)
    windows = Windows(bases, np.array([[0, len(bases)]]), block_size, 0)
    windows = Mixture([windows], [1.0], 1024)
    steps = iter(range(10**9))
    rate = table.rate(CPU, lambda: windows.batch(next(steps))) * 1024
    case = f"windows of {block_size}, read and reversed, one thread"
    if speed:
        need = speed / block_size
        table.row("loader", case, rate, "windows/s", "what the training step needs", need)
    else:
        table.row("loader", case, rate, "windows/s")


def made_up_fasta(path, megabases, quick):
    """Write a gzipped FASTA of random letters, half of them lower-case; returns (million bases, its
    first lines).
    """
    chunk = 2 if quick else 50  # million bases, written again and again
    copies = 5 if quick else max(1, megabases // 50)
    rng = np.random.default_rng(0)
    n = chunk * 10**6
    lower = 4 * (np.arange(n) // 300 % 2)
    letters = np.frombuffer(b"ACGTacgt", np.uint8)[rng.integers(0, 4, n) + lower]
    lines = b"\n".join(row.tobytes() for row in letters.reshape(-1, 50)) + b"\n"
    packed = gzip_of(lines)
    with open(path, "wb") as file:
        for i in range(copies):  # gzip members one after the other are one gzip file
            file.write(gzip_of(f">chr{i + 1}\n".encode()) + packed)
    return chunk * copies, lines[:2_040_000]


def gzip_of(text):
    return subprocess.run(["gzip", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout


def measure_prepare(table, megabases, quick=False):
    """prepare_hg38.py on a made-up FASTA.gz against gzip -dc, and against a Python loop over
    pyfaidx's letters.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fasta = folder / "a.fa.gz"
        size, lines = made_up_fasta(fasta, megabases, quick)
        ours, gzips, memory = [], [], []
        for turn in range(table.rounds):
            began = time.perf_counter()
            subprocess.run(["gzip", "-dc", fasta], stdout=subprocess.DEVNULL, check=True)
            gzips.append(time.perf_counter() - began)
            began = time.perf_counter()
            memory.append(prepare_and_watch(fasta, folder / str(turn), size))
            ours.append(time.perf_counter() - began)
            for file in (folder / str(turn)).glob("*.bin"):
                file.unlink()
        case = f"{size} million bases, gzipped"
        table.row("prepare", case, median(ours), "s", "gzip -dc > /dev/null", median(gzips))
        speed = size / median(ours)
        if importlib.util.find_spec("pyfaidx"):
            loop = pyfaidx_speed(folder / "slice.fa", lines)
            table.row("prepare", case, speed, "MB/s", "a loop over pyfaidx's letters", loop)
        else:
            table.row("prepare", case, speed, "MB/s")
            print("prepare  (pip install pyfaidx, to time a loop over its letters)")
    if max(memory):
        table.row("prepare", f"{case}, peak memory", max(memory), "MB")


def prepare_and_watch(fasta, out, size):
    """Run prepare_hg38.py; returns its peak memory in MB, 0 where the system does not say."""
    words = [f"--fasta={fasta}", f"--out={out}", "--val_chroms=chr1"]
    words.append("--test_chroms=chr2" if size > 100 else "--test_chroms=")
    command = [sys.executable, "prepare_hg38.py", *words]
    quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    process = subprocess.Popen(command, cwd=ROOT, **quiet)
    most = 0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:  # wait4 would count memory from before the exec
        found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
        if found:
            most = max(most, int(found[1]) / 1024)
        time.sleep(0.02)
    return most


def pyfaidx_speed(path, lines):
    """Million bases a second of a loop over the letters of 2 million bases, not gzipped."""
    from pyfaidx import Fasta

    path.write_bytes(b">chr1\n" + lines)
    began = time.perf_counter()
    token = {"A": 0, "C": 1, "G": 2, "T": 3}
    letters = str(Fasta(str(path))["chr1"]).upper()
    np.array([token.get(letter, 4) for letter in letters], np.uint8)
    return 2 / (time.perf_counter() - began)


def made_up_genome(folder, rng):
    """A prepared genome whose test split is one chromosome of a million random bases."""
    bases = rng.integers(0, 4, 2**20, dtype=np.uint8)
    splits = {}
    for split in ("train", "val", "test"):
        chrom = dict(name="chr5", offset=0, length=len(bases), md5="", gaps=[])
        splits[split] = dict(chroms=[chrom] if split == "test" else [])
        (folder / f"{split}.bin").write_bytes(bases.tobytes() if split == "test" else b"")
    meta = dict(format=1, assembly="none", source=[], min_gap=50, splits=splits)
    (folder / "meta.json").write_text(json.dumps(meta))
    return Genome(folder)


def measure_evaluation(table, team, quick=False):
    """Task 1: pairs made and pairs scored a second, and variants of score.py."""
    from dart.pairs import make_pairs

    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        genome = made_up_genome(Path(name), rng)
        starts = np.sort(rng.integers(1000, 2**20 - 1000, 200 if quick else 8192))
        rows = [("chr5", a, a + 200 + a % 150, a % 2 == 0, "") for a in starts.tolist()]
        fields = [("chrom", object), ("start", int), ("end", int), ("flip", bool), ("kind", object)]
        elements = np.rec.array(rows, fields)
        rate = table.rate(CPU, lambda: make_pairs(genome, elements)) * len(elements)
        table.row("eval", f"pairs made, {len(elements):,} elements", rate, "pairs/s")
        pairs = make_pairs(genome, elements[: 64 if quick else 256])[0]
        measure_scores(table, team, genome, pairs, quick)


def measure_scores(table, team, genome, pairs, quick):
    """Pairs of Task 1 scored a second, and beside them single-base variants of score.py in windows
    as long: on both strands a variant is as many bases as two pairs.
    """
    from dart.pairs import WINDOW
    from dart.zero_shot import score
    from scoring.variants import Variant, score_variants

    shape = FLAGSHIP if team.device.type == "cuda" else LAPTOP
    model = GPT(GPTConfig(block_size=512, **(TINY if quick else shape))).to(team.device).eval()
    at_once = 8 if team.device.type == "cpu" else 128
    snvs = []
    for pos in range(1000, 1000 + 500 * (len(pairs) // 2), 500):
        ref = decode(genome.fetch("chr5", pos - 1, pos))
        snvs.append(Variant("chr5", pos, ".", ref, "C" if ref == "A" else "A"))
    flank = WINDOW // 2
    no_bar = tqdm(disable=True)
    runs = {
        "pairs": lambda: score(model, pairs, at_once, device=team.device),
        "variants": lambda: score_variants(model, snvs, genome, flank, "both", at_once, no_bar),
    }
    with team.autocast:
        turns = table.turns(team.device, runs)
    rates = medians(turns)
    shape = f"{model.config.n_layer} x {model.config.n_embd}"
    case = f"pairs scored, {shape}, windows of {WINDOW}"
    table.row("eval", case, rates["pairs"] * len(pairs), "pairs/s")
    bases = {"pairs": 2 * WINDOW * len(pairs), "variants": 4 * (2 * flank + 1) * len(snvs)}
    spread = [
        share * bases["variants"] / bases["pairs"]
        for share in ratio_spread(turns, "variants", "pairs")
    ]
    case = f"variants scored, {shape}, both strands"
    args = (rates["variants"] * bases["variants"], "bases/s", "the pairs")
    table.row("eval", case, *args, rates["pairs"] * bases["pairs"], spread)
