"""How fast each part is, beside what a user would run instead, in the same minutes.

  python bench.py                                    (everything)
  python bench.py train --nanogpt=nanoGPT            (one part: train | loader | sample | prepare | eval; nanoGPT: a clone of it)

Rates are medians of `rounds` turns in which the parts and their anchors alternate, so that a busy machine slows both. A row's ratio is
above 1 where we are better than the anchor. MFU counts 6 N + 12 n_layer n_embd block_size flops a base: full attention, causal skipping not credited.
"""
import importlib.util
import json as jsonlib
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from statistics import median

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch loads: threads that wait leave their core to others

import numpy as np
import torch
import torch.nn.functional as F

from config import configure, die
from data import N, Genome, Windows, decode
from eval_dart import WINDOW, make_pairs, score
from model import GPT, GPTConfig, base_nll
from optim import Muon, orthogonalize
from runtime.checkpoint import load_model
from runtime.device import has_compiler, machine_peak, peak_memory, pick_device
from sample import generate

nanogpt = ""        # a clone of nanoGPT, to run its model beside ours
ckpt = ""           # a trained checkpoint to sample from
only = ""           # train: this case alone, its block_size x windows at a time, such as 1024x32
quick = False       # small sizes, a minute on two cores
rounds = 3          # turns, of which the median counts
seconds = 4.0       # of each measurement in a turn
megabases = 3000    # size of the FASTA that prepare is timed on
json = ""           # a file for the rows
device = "auto"     # auto | cuda | cpu | mps
dtype = "auto"      # auto | bfloat16 | float16 | float32

ROWS = []


def row(part, case, value, unit, anchor="", anchor_value=math.nan):
    """Print and keep a row. A unit that is a time or a size is better when lower, any other when higher."""
    ratio = anchor_value / value if unit in ("s", "MB", "GB", "ms", "of the step") else value / anchor_value
    ROWS.append(dict(part=part, case=case, value=value, unit=unit, anchor=anchor, anchor_value=anchor_value, ratio=ratio))
    beside = f"   {anchor}: {anchor_value:,.4g}, ratio {ratio:.2f}" if anchor else ""
    print(f"{part:8} {case:54} {value:12,.4g} {unit}{beside}", flush=True)


def now(dev):
    if dev.type == "cuda":
        torch.cuda.synchronize(dev)
    return time.perf_counter()


def calls(run, dev, least=1):
    """Calls of run() a second, for about `seconds`."""
    began, n = now(dev), 0
    while n < least or now(dev) - began < seconds:
        run()
        n += 1
    return n / (now(dev) - began)


def in_turns(dev, **runs):
    """{name: calls a second}, each the median of as many turns as `rounds`; the first call of each, outside, warms it up."""
    for run in runs.values():
        run()
    found = [{name: calls(run, dev) for name, run in runs.items()} for _ in range(rounds)]
    return {name: median(turn[name] for turn in found) for name in runs}


def their_model():
    """nanoGPT's model.py as a module; dies if the clone is none."""
    path = Path(nanogpt) / "model.py"
    if not path.is_file():
        die(f"{nanogpt} is no clone of nanoGPT: git clone https://github.com/karpathy/nanoGPT")
    spec = importlib.util.spec_from_file_location("nanogpt_model", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


class Ours:
    """Our model and optimisers as train.py has them."""

    def __init__(self, size, dev, precision, compiled):
        self.model = GPT(GPTConfig(**size)).to(dev)
        matrices = self.model.matrices()
        taken = set(map(id, matrices))
        self.optimizers = [Muon(matrices, 0.02, dtype=torch.bfloat16 if precision == torch.bfloat16 else torch.float32),
                           torch.optim.AdamW([p for p in self.model.parameters() if id(p) not in taken], 0.02, fused=dev.type in ("cuda", "cpu"))]
        if compiled:
            self.model.compile(dynamic=False)

    def loss(self, bases):
        return base_nll(self.model, bases).mean()

    def update(self):
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.zero_grad(set_to_none=True)


class Theirs(Ours):
    """nanoGPT's model and optimiser, on the same windows."""

    def __init__(self, size, dev, precision, compiled):
        module = their_model()
        self.model = module.GPT(module.GPTConfig(vocab_size=N + 1, bias=False, dropout=0.0, **{k: size[k] for k in ("block_size", "n_layer", "n_head", "n_embd")})).to(dev)
        self.optimizers = [self.model.configure_optimizers(0.1, 1e-3, (0.9, 0.95), dev.type)]
        if compiled:
            self.model.compile(dynamic=False)

    def loss(self, bases):
        return self.model(F.pad(bases[:, :-1], (1, 0), value=N), bases)[1]


def train(dev, precision, autocast):
    """Bases a second, MFU, memory, where a step's time goes; -> bases a second of the largest case, for the loader's sake."""
    gpu = dev.type == "cuda"
    small, laptop = dict(n_layer=2, n_head=2, n_embd=64), dict(n_layer=4, n_head=3, n_embd=192)
    flagship = dict(n_layer=12, n_head=6, n_embd=768)
    cases = ([(flagship, 1024, 8), (flagship, 1024, 16), (flagship, 1024, 32), (flagship, 4096, 4), (flagship, 4096, 8)] if gpu else [(laptop, 512, 16)])
    cases = {f"{c[1]}x{c[2]}": c for c in ([(small, 128, 8)] if quick else cases)}
    if only and only not in cases:
        die(f"only = {only}: give one of {', '.join(cases)}")
    cases = [cases[only]] if only else cases.values()
    name, sheet = machine_peak(dev)
    n = 256 if quick else 8192 if gpu else 1024
    a = torch.randn(n, n, device=dev, dtype=precision)
    matmul = in_turns(dev, matmul=lambda: a @ a)["matmul"] * 2 * n ** 3
    row("train", f"matmul of {n}, {str(precision)[6:]}, {name}", matmul / 1e12, "Tflop/s", *(("data sheet", sheet / 1e12) if sheet == sheet else ()))
    for shape, block_size, micro in cases:
        size = dict(shape, block_size=block_size)
        kinds = {"ours, eager": (Ours, size, False), "nanoGPT, eager": (Theirs, size, False),
                 "ours, compiled": (Ours, size, True), "nanoGPT, compiled": (Theirs, size, True)}
        compiles = has_compiler(dev) and not quick
        kinds = {k: v for k, v in kinds.items() if (nanogpt or v[0] is Ours) and (v[2] == compiles if gpu else not v[2] or compiles)}
        bases = torch.randint(4, (micro, block_size), device=dev)
        runs, made = {}, {}
        for kind, (make, size, compiled) in kinds.items():
            torch.manual_seed(0)
            held = torch.cuda.memory_allocated(dev) if gpu else 0  # by those before
            with redirect_stdout(None):  # nanoGPT counts its parameters aloud
                made[kind] = trainer = make(size, dev, precision, compiled)

            def step(trainer=trainer):
                with autocast:
                    loss = trainer.loss(bases)
                loss.backward()
                trainer.update()
            runs[kind], began = step, now(dev)
            if gpu:
                torch.cuda.reset_peak_memory_stats(dev)
            step()
            case = f"{shape['n_layer']} x {shape['n_embd']}, block {block_size}, micro-batch {micro}"
            if compiled:
                row("train", f"first step, {kind}, {case}", now(dev) - began, "s")
            if gpu:
                row("train", f"memory, {kind}, {case}", (peak_memory(dev) - held) / 1e9, "GB")
        speeds = {kind: rate * micro * block_size for kind, rate in in_turns(dev, **runs).items()}
        best = max((k for k in speeds if k.startswith("nanoGPT")), key=speeds.get, default=None)
        for kind, speed in speeds.items():
            like = f"nanoGPT, {kind.split(', ')[1]}"
            row("train", f"{kind}, {case}", speed, "bases/s", *((like, speeds[like]) if kind != like and like in speeds else ()))
        fastest = max((k for k in speeds if k.startswith("ours")), key=speeds.get)
        if best:
            row("train", f"ours, the faster, {case}", speeds[fastest], "bases/s", f"the faster of nanoGPT's ({best})", speeds[best])
        matrices = sum(p.numel() for p in made[fastest].model.matrices()) + made[fastest].model.lm_head.weight.numel()
        flops = 6 * matrices + 12 * shape["n_layer"] * shape["n_embd"] * block_size
        row("train", f"MFU, {fastest}, {case}", speeds[fastest] * flops / matmul, "of the matmul rate")
        if sheet == sheet:
            row("train", f"MFU, {fastest}, {case}", speeds[fastest] * flops / sheet, "of the data sheet")
        breakdown(made[fastest], bases, dev, autocast, f"{fastest}, {case}")
        del runs, made, trainer, step
    return speeds[fastest], block_size


def breakdown(trainer, bases, dev, autocast, case):
    """Where the time of one step of one micro-batch goes, and the optimiser's share of a step of 2^20 bases."""
    parts = {"data to the device": [], "forward": [], "backward": [], "clipping and optimisers": []}
    host = bases.byte().cpu()
    for _ in range(2 + 3 * rounds):
        marks = [now(dev)]
        x = host.to(dev).long()
        marks.append(now(dev))
        with autocast:
            loss = trainer.loss(x)
        marks.append(now(dev))
        loss.backward()
        marks.append(now(dev))
        trainer.update()
        marks.append(now(dev))
        for i, took in enumerate(parts.values()):
            took.append(marks[i + 1] - marks[i])
    took = {part: median(times[2:]) for part, times in parts.items()}
    for part, t in took.items():
        row("train", f"{part}, {case}", t * 1e3, "ms")
    optimiser = took.pop("clipping and optimisers")
    step = optimiser + 2 ** 20 / bases.numel() * sum(took.values())
    row("train", f"optimiser of 2^20 bases' step, {case}", optimiser / step, "of the step")
    matrices = [p.detach() for p in trainer.model.matrices()]
    stacks = [torch.stack([p for p in matrices if p.shape == shape]) for shape in sorted({p.shape for p in matrices})]
    stacks = [s.view(-1, s.size(2), s.size(2)) if s.size(1) == 3 * s.size(2) else s for s in stacks]  # qkv, as Muon has it
    newton = 1 / in_turns(dev, newton=lambda: [orthogonalize(s.to(trainer.optimizers[0].dtype)) for s in stacks])["newton"]
    row("train", f"Newton-Schulz alone of 2^20 bases' step, {case}", newton / step, "of the step")


def loader(dev, speed=None, block_size=1024):
    """Windows a second from a genome in memory's page cache, against what the train step of this machine eats."""
    rng = np.random.default_rng(0)
    bases = rng.integers(0, 4, 2 ** 22 if quick else 2 ** 28, dtype=np.uint8)
    windows = Windows(bases, np.array([[0, len(bases)]]), block_size, 1024, 0)
    steps = iter(range(10 ** 9))
    windows.batch(next(steps))
    rate = in_turns(torch.device("cpu"), load=lambda: windows.batch(next(steps)))["load"] * 1024
    row("loader", f"windows of {block_size}, read and reversed, one thread", rate, "windows/s", *(("what the train step needs", speed / block_size) if speed else ()))


def sample(dev, precision, autocast):
    """New bases a second after an empty prompt: cached, one and many at once; the whole context each time; nanoGPT's generate.

    How many bases a pass draws depends on what the model knows: without a trained checkpoint, one.
    """
    flagship, laptop = dict(n_layer=12, n_head=6, n_embd=768), dict(n_layer=4, n_head=3, n_embd=192)
    size = dict(dict(n_layer=2, n_head=2, n_embd=64) if quick else flagship if dev.type == "cuda" else laptop, block_size=256 if quick else 1024)
    new, many = (50, 8) if quick else (1000, 256 if dev.type == "cuda" else 64)
    model = load_model(ckpt, dev)[0] if ckpt else GPT(GPTConfig(**size)).to(dev).eval()
    size = {k: getattr(model.config, k) for k in size}
    threads = torch.get_num_threads()
    rows_of = dict(one=1, few=4, many=many)

    def cached(rows, ahead):
        for _ in generate(model, torch.full((rows, 1), N, device=dev), new, dtype=precision, ahead=ahead):
            pass

    @torch.no_grad()
    def whole():
        tokens = torch.full((1, 1), N, device=dev)
        for _ in range(new):
            tokens = torch.cat((tokens, model(tokens[:, -size["block_size"]:])[:, -1].softmax(-1).multinomial(1)), 1)
    runs = {name: lambda rows=rows: cached(rows, None if ckpt else 1) for name, rows in rows_of.items()}
    runs.update({"one base a pass": lambda: cached(1, 1), "whole": whole})
    if nanogpt:
        module = their_model()
        with redirect_stdout(None):
            their = module.GPT(module.GPTConfig(vocab_size=N + 1, bias=False, dropout=0.0, **size)).to(dev).eval()
        runs["nanoGPT"] = lambda: their.generate(torch.full((1, 1), N, device=dev), new)
    if dev.type == "cpu":
        torch.set_num_threads(1)  # as sample.py does; nanoGPT gets the faster of one thread and all
    with autocast:
        rates = {name: rate * new * rows_of.get(name, 1) for name, rate in in_turns(dev, **runs).items()}
        torch.set_num_threads(threads)
        if nanogpt and threads > 1:
            rates["nanoGPT"] = max(rates["nanoGPT"], in_turns(dev, nanoGPT=runs["nanoGPT"])["nanoGPT"] * new)
    case = f"{size['n_layer']} x {size['n_embd']}, block {size['block_size']}, {new:,} bases" + (f", {ckpt}" if ckpt else ", untrained")
    beside = [("one base a pass", rates["one base a pass"]), ("the whole context each time", rates["whole"])]
    for anchor in beside + ([("nanoGPT's generate", rates["nanoGPT"])] if nanogpt else []):
        row("sample", f"one at a time, {case}", rates["one"], "bases/s", *anchor)
    for name in ("few", "many"):
        row("sample", f"{rows_of[name]} at once, {case}", rates[name], "bases/s", "one at a time", rates["one"])


def prepare(dev):
    """prepare_hg38.py on a synthetic FASTA.gz against gzip -dc, and a Python loop over pyfaidx's letters."""
    chunk, copies = (2, 5) if quick else (50, max(1, megabases // 50))
    rng = np.random.default_rng(0)
    letters = np.frombuffer(b"ACGTacgt", np.uint8)[rng.integers(0, 4, chunk * 10 ** 6) + 4 * (np.arange(chunk * 10 ** 6) // 300 % 2)]
    lines = b"\n".join(letters.reshape(-1, 50)[i].tobytes() for i in range(len(letters) // 50)) + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        packed = subprocess.run(["gzip", "-c"], input=lines, stdout=subprocess.PIPE, check=True).stdout
        with open(folder / "a.fa.gz", "wb") as file:
            for i in range(copies):  # gzip members one after the other are one gzip file
                file.write(subprocess.run(["gzip", "-c"], input=f">chr{i + 1}\n".encode(), stdout=subprocess.PIPE, check=True).stdout + packed)
        ours, gzips, most = [], [], 0
        for turn in range(rounds):
            began = time.perf_counter()
            subprocess.run(["gzip", "-dc", folder / "a.fa.gz"], stdout=subprocess.DEVNULL, check=True)
            gzips.append(time.perf_counter() - began)
            began = time.perf_counter()
            test = "chr2" if copies > 2 else ""
            words = [sys.executable, "prepare_hg38.py", f"--fasta={folder / 'a.fa.gz'}", f"--out={folder / str(turn)}", "--val_chroms=chr1", f"--test_chroms={test}"]
            process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=Path(__file__).parent)
            while process.poll() is None:  # what wait4 says holds this process's memory too, from before the exec
                status = Path(f"/proc/{process.pid}/status")
                found = re.search(r"VmHWM:\s+(\d+)", status.read_text()) if status.exists() else None
                most = max(most, int(found[1]) / 1024 if found else 0)
                time.sleep(0.02)
            ours.append(time.perf_counter() - began)
            for file in (folder / str(turn)).glob("*.bin"):
                file.unlink()
        size = chunk * copies
        row("prepare", f"{size} million bases, gzipped", median(ours), "s", "gzip -dc > /dev/null", median(gzips))
        row("prepare", f"{size} million bases, gzipped", size / median(ours), "MB/s")
        if importlib.util.find_spec("pyfaidx"):
            from pyfaidx import Fasta
            (folder / "slice.fa").write_bytes(b">chr1\n" + lines[:2_040_000])
            began = time.perf_counter()
            token = {"A": 0, "C": 1, "G": 2, "T": 3}
            np.array([token.get(letter, 4) for letter in str(Fasta(str(folder / "slice.fa"))["chr1"]).upper()], np.uint8)
            row("prepare", f"{size} million bases, gzipped", size / median(ours), "MB/s", "a loop over pyfaidx's letters, not gzipped", 2 / (time.perf_counter() - began))
        else:
            print("prepare  (no pyfaidx here: pip install pyfaidx, to time a loop over its letters)")
    if most:
        row("prepare", f"{size} million bases, gzipped, peak memory", most, "MB")


def evaluation(dev, precision, autocast):
    """Task 1: pairs made and pairs scored a second."""
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        bases = rng.integers(0, 4, 2 ** 20, dtype=np.uint8)
        for split in ("train", "val", "test"):
            (folder / f"{split}.bin").write_bytes(bases.tobytes() if split == "test" else b"")
        chrom = dict(name="chr5", offset=0, length=len(bases), md5="", gaps=[])
        (folder / "meta.json").write_text(jsonlib.dumps(dict(format=1, assembly="none", source=[], min_gap=50, splits={s: dict(chroms=[chrom] * (s == "test")) for s in ("train", "val", "test")})))
        genome = Genome(folder)
        starts = np.sort(rng.integers(1000, len(bases) - 1000, 200 if quick else 8192))
        elements = np.rec.array([("chr5", a, a + 200 + a % 150, a % 2 == 0, "") for a in starts.tolist()], [("chrom", object), ("start", int), ("end", int), ("flip", bool), ("kind", object)])
        row("eval", f"pairs made, {len(elements):,} elements", in_turns(torch.device("cpu"), make=lambda: make_pairs(genome, elements))["make"] * len(elements), "pairs/s")
        pairs = make_pairs(genome, elements[:64 if quick else 256])[0]
    shape = dict(n_layer=12, n_head=6, n_embd=768) if dev.type == "cuda" else dict(n_layer=4, n_head=3, n_embd=192)
    model = GPT(GPTConfig(block_size=512, **(dict(n_layer=2, n_head=2, n_embd=64) if quick else shape))).to(dev).eval()
    with autocast:
        rate = in_turns(dev, score=lambda: score(model, pairs, 8 if dev.type == "cpu" else 128, device=dev))["score"]
    row("eval", f"pairs scored, {model.config.n_layer} x {model.config.n_embd}, windows of {WINDOW}", rate * len(pairs), "pairs/s")


def main(parts):
    dev, precision, autocast = pick_device(device, dtype)
    print(f"torch {torch.__version__}, {machine_peak(dev)[0]}, {torch.get_num_threads()} threads, {str(precision)[6:]}")
    speed, block_size = None, 1024
    if "train" in parts:
        speed, block_size = train(dev, precision, autocast)
    if "loader" in parts:
        loader(dev, speed, block_size)
    if "sample" in parts:
        sample(dev, precision, autocast)
    if "prepare" in parts:
        prepare(dev)
    if "eval" in parts:
        evaluation(dev, precision, autocast)
    if json:
        Path(json).write_text(jsonlib.dumps([{k: None if v != v else v for k, v in r.items()} for r in ROWS], indent=1) + "\n")


if __name__ == "__main__":
    PARTS = ("train", "loader", "sample", "prepare", "eval")
    words = sys.argv[1:]
    named = words and not words[0].startswith("-")
    if named and words[0] not in PARTS:
        die(f"{words[0]} is no part: choose one of {', '.join(PARTS)}, or none for all")
    configure(globals(), words[1:] if named else words)
    if quick:
        rounds, seconds = min(rounds, 2), min(seconds, 0.5)
    if rounds < 1 or seconds <= 0 or megabases < 1:
        die("rounds and megabases start at 1, seconds is above 0")
    main(words[:1] if named else PARTS)
