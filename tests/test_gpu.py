"""What only a GPU can show. Not in the default run: python -m pytest -m gpu"""

import os
from functools import partial

import numpy as np
import pytest
import torch

from dart.networks import CNN, AbInitio, linear
from dart.probe import states, train_probe
from dart.zero_shot import score
from model import GPT, GPTConfig, N
from sample import generate
from tests.conftest import ROOT
from tests.test_train import load, rows, train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
STEPS = ("--max_iters=20", "--eval_interval=20", "--markov_order=0")


def losses(out):
    return [float(row["loss"]) for row in rows(out) if row["loss"]]


@pytest.mark.parametrize(
    "words",
    (
        ("--dtype=float32", "--compile=False"),
        ("--dtype=bfloat16", "--compile=True"),
        ("--dtype=float16", "--compile=False"),
    ),
)
def test_the_gpu_learns_what_the_cpu_learns(genome_folder, tmp_path, words):
    cpu, gpu = (
        train(genome_folder, tmp_path / "cpu", *STEPS),
        train(genome_folder, tmp_path / "gpu", "--device=cuda", *words, *STEPS),
    )
    assert cpu.returncode == 0 and gpu.returncode == 0, gpu.stderr
    tolerance = (
        1e-3 if "--dtype=float32" in words else 0.05
    )  # Newton-Schulz and TF32 drift, step by step
    assert losses(tmp_path / "gpu") == pytest.approx(losses(tmp_path / "cpu"), abs=tolerance)


def test_resume_on_the_gpu(genome_folder, tmp_path):
    """Cut off after step 10's checkpoint, then the same command again: the same windows, and losses
    as close as a GPU's sums allow.
    """
    words = ("--device=cuda", "--dtype=bfloat16", "--compile=False", *STEPS, "--eval_interval=10")
    whole = train(genome_folder, tmp_path / "whole", *words)
    cut = train(
        genome_folder,
        tmp_path / "part",
        *words,
        env={**os.environ, "PYTHONPATH": str(ROOT / "tests" / "cut")},
    )
    assert (
        whole.returncode == 0
        and cut.returncode == 9
        and load(tmp_path / "part" / "ckpt.pt")["step"] == 10
    ), whole.stderr
    again = train(genome_folder, tmp_path / "part", *words)
    assert again.returncode == 0 and "resuming" in again.stdout, again.stderr
    assert len(losses(tmp_path / "part")) == 20 and losses(tmp_path / "part") == pytest.approx(
        losses(tmp_path / "whole"), abs=0.01
    )


def test_cached_sampling_on_the_gpu_is_the_cpus():
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=64, n_layer=2, n_head=2, n_embd=64))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    start = torch.full((2, 1), N)
    cpu = torch.stack(list(generate(model, start, 100, temperature=0)), 1)
    gpu = torch.stack(list(generate(model.cuda(), start.cuda(), 100, temperature=0)), 1).cpu()
    assert (cpu == gpu).float().mean() > 0.95  # a tie broken otherwise changes what follows


def test_task_1_on_the_gpu():
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=352, n_layer=1, n_head=1, n_embd=32)).eval()
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.3)
    pairs = np.random.default_rng(0).integers(0, 4, (24, 2, 350)).astype(np.uint8)
    cpu = score(model, pairs)
    assert score(model.cuda(), pairs, device="cuda") == pytest.approx(cpu, abs=0.01)
    folds = [np.split(np.arange(24), (12, 18))]
    for scored, pool, make in (
        (model, "", CNN),
        (None, "", AbInitio),
        (model, "mean", linear),
    ):
        embed = partial(states, scored, device="cuda", pool=pool)
        margin = train_probe(embed, pairs, folds, make, epochs=1, batch=8, device="cuda")
        assert np.isfinite(margin[18:]).all()
