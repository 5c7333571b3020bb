"""The three commands, as the README has a user type them, one after the other in one folder; only
the sizes are cut down.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

from tests.conftest import ROOT, run

SMALL = (
    "--n_layer=1 --n_head=2 --n_embd=32 --block_size=384 --batch_tokens=3072 --batch_size=2 "
    "--max_iters=2 --eval_tokens=20000 --markov_order=2"
).split()


def test_the_three_commands(genome_folder, tmp_path):
    prepared = tmp_path / "genome"
    shutil.copytree(genome_folder, prepared)
    rng = np.random.default_rng(0)
    rows = [
        f"{chrom}\t{start}\t{start + int(rng.integers(150, 351))}\tx\t0\t.\t0\t0\t0\tPLS\n"
        for chrom, n in (("chr1", 9000), ("chr2", 4500), ("chr21", 5500), ("chr22", 3500))
        for start in range(500, n - 500, 400)
    ]
    (prepared / "ccre.bed").write_text("".join(rows))

    torchrun = Path(sys.executable).with_name("torchrun")
    trained = run(
        ROOT / "train.py",
        ROOT / "config/hg38_small.py",
        f"--dataset={prepared}",
        *SMALL,
        cwd=tmp_path,
        start=[torchrun],
    )
    assert trained.returncode == 0, trained.stderr
    assert (
        trained.stdout.strip().endswith("checkpoint: out/ckpt.pt")
        and (tmp_path / "out/best.pt").exists()
    )

    sampled = run(ROOT / "sample.py", cwd=tmp_path)
    assert (
        sampled.returncode == 0
        and sampled.stdout.startswith(">sample_1")
        and sampled.stdout.count(">") == 4
    ), sampled.stderr
    assert "GC" in sampled.stderr

    scored = run(ROOT / "eval_dart.py", "--ckpt", "out/ckpt.pt", cwd=tmp_path)
    assert scored.returncode == 0, scored.stderr
    for name in ("uniform", "bigram", "Markov", "one-hot", "untrained", "this model", "HyenaDNA"):
        assert name in scored.stdout, name
    assert "pretraining saw none of these chromosomes" in scored.stdout
