"""What the tests share: one thread, since tensors are small; a small genome; and a way to run a
script as a user does.
"""

import hashlib
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # for this process and for the scripts that it starts

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

import data

torch.set_num_threads(1)
settings.register_profile(
    "quick",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=100,
    suppress_health_check=list(HealthCheck),
)
settings.register_profile(
    "long", settings.get_profile("quick"), derandomize=False, max_examples=20_000
)
if settings.get_current_profile_name() != "long":  # asked for by --hypothesis-profile
    settings.load_profile("quick")
ROOT = Path(__file__).parent.parent
SECONDS = 240  # that a script may take


def write_genome(folder, splits):
    """A prepared genome from {split: {chromosome: letters}}, written without prepare_hg38.py."""
    folder.mkdir(parents=True, exist_ok=True)
    meta = dict(format=data.FORMAT, assembly="test", source=[], min_gap=data.MIN_GAP, splits={})
    for split in data.SPLITS:
        chroms = []
        content = b""
        for name, letters in splits.get(split, {}).items():
            row = dict(name=name, offset=len(content), length=len(letters))
            row["md5"] = hashlib.md5(letters.upper().encode()).hexdigest()
            row["gaps"] = gaps_of(letters)
            chroms.append(row)
            content += data.encode(letters).tobytes()
        (folder / f"{split}.bin").write_bytes(content)
        meta["splits"][split] = {"chroms": chroms}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def gaps_of(letters):
    """[[start, end], ...] of the runs of MIN_GAP or more letters that are not A, C, G or T, by a
    plain loop.
    """
    gaps = []
    start = None  # of the run that we are in
    for i, letter in enumerate(letters.upper() + "A"):
        known = letter in "ACGT"
        if not known and start is None:
            start = i
        elif known and start is not None:
            if i - start >= data.MIN_GAP:
                gaps.append([start, i])
            start = None
    return gaps


def random_dna(rng, n, repeats=True):
    """n letters of an order-1 chain, so that there is something to learn, about a third of them in
    lower case.
    """
    A = [0.5, 0.2, 0.2, 0.1]  # P(next base | this one is A)
    C = [0.1, 0.5, 0.1, 0.3]
    G = [0.4, 0.1, 0.4, 0.1]
    T = [0.1, 0.1, 0.2, 0.6]
    table = np.array([A, C, G, T]).cumsum(1)
    draws = rng.random(n)
    out = np.empty(n, np.int64)
    base = 0
    for i in range(n):
        base = min(3, int((draws[i] > table[base]).sum()))
        out[i] = base
    letters = np.frombuffer(b"ACGT", np.uint8)[out].copy()
    if repeats:
        for start in range(0, n, 300):
            letters[start : start + 100] += 32
    return letters.tobytes().decode()


@pytest.fixture(scope="session")
def genome_folder(tmp_path_factory):
    """A prepared genome: two training chromosomes with gaps and a single N, one for validation, one
    for test.
    """
    rng = np.random.default_rng(0)
    chr1 = "N" * 60 + random_dna(rng, 9000)
    chr1 += "N" * 100 + random_dna(rng, 3000)
    chr1 += "n" + random_dna(rng, 2000)
    splits = {
        "train": {"chr1": chr1, "chr2": random_dna(rng, 5000)},
        "val": {"chr21": random_dna(rng, 6000)},
        "test": {"chr22": random_dna(rng, 4000)},
    }
    return write_genome(tmp_path_factory.mktemp("genome"), splits)


def run(*words, torchrun=0, cwd=ROOT, start=(), **kwargs):
    """Run a script as a user types it, by python, or by torchrun on that many processes. Returns
    the process that has ended, with what it printed. kwargs: as subprocess.run has them.
    """
    a_script = str(words[0]).endswith(".py")
    if a_script and not (torchrun or start or kwargs):
        return run_in_fork(words, cwd)
    if torchrun:
        start = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        start.append(f"--nproc_per_node={torchrun}")
    start = start or [sys.executable]
    command = [*start, *map(str, words)]
    return subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=SECONDS, **kwargs
    )


def run_in_fork(words, cwd):
    """Run a script in a copy of this process, which has loaded torch: some three seconds less."""
    words = list(map(str, words))
    if words[0] == "train.py":
        importlib.import_module("torch._dynamo")  # which its optimisers load: seconds, here once
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                code = be_script(words, cwd, out, err)
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        out.seek(0)
        err.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def be_script(words, cwd, out, err):
    """Turn this process into one that runs a script -> the exit code. out, err: files."""
    signal.alarm(SECONDS)  # ends it if it hangs
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(out.fileno(), 1)
    os.dup2(err.fileno(), 2)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
    os.chdir(cwd)
    sys.argv = words
    sys.path.insert(0, str((Path(cwd) / words[0]).parent))
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and Path(file).is_relative_to(ROOT) and not Path(file).is_relative_to(sys.prefix):
            del sys.modules[name]  # a test may have changed what is in it
    code = 0
    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


@pytest.fixture(scope="session")
def script():
    return run


def one_line_error(process, *words):
    """A user's mistake must end in a non-zero exit code and one line on standard error that holds
    the words, no traceback.
    """
    lines = process.stderr.strip().splitlines()
    assert process.returncode != 0, process.stderr
    assert len(lines) == 1 and lines[0].startswith("error: "), process.stderr
    assert all(w in lines[0] for w in words), lines[0]
