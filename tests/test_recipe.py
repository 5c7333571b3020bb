"""What the measuring scripts rest on: edits that apply, crossings, copies and tandem repeats found where they are."""
import ast
import math

import numpy as np
import pytest
import torch

from data import encode
from tests import mixing, scaling
from tests.ablate import ROOT, VARIANTS, edited_copy
from tests.against_nanogpt import KEEP, OURS, always_ahead, seen_before, tokens_to
from tests.conftest import run


@pytest.mark.parametrize("edits", [[c for c in v if isinstance(c, tuple)] for v in VARIANTS.values() if any(isinstance(c, tuple) for c in v)] + [OURS, KEEP],
                         ids=[k for k, v in VARIANTS.items() if any(isinstance(c, tuple) for c in v)] + ["nanoGPT in our loop", "checkpoints kept"])
def test_every_edit_applies_and_parses(edits, tmp_path):
    edited_copy(tmp_path / "copy", edits)
    for file in {e[0] if len(e) == 3 else "model.py" for e in edits}:
        text = (tmp_path / "copy" / file).read_text()
        ast.parse(text)
        assert text != (ROOT / file).read_text()


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains(name, genome_folder, tmp_path):
    """pytest -m slow tests/test_recipe.py: two steps of each."""
    edited_copy(tmp_path / "copy", [c for c in VARIANTS[name] if isinstance(c, tuple)])
    given = [c for c in VARIANTS[name] if isinstance(c, str)]
    tiny = "--block_size=32 --n_layer=2 --n_head=2 --n_embd=32 --eval_tokens=1000 --markov_order=0 --device=cpu".split()
    tiny += [w for w in given if not w.startswith(("--max", "--batch", "--eval"))] + ["--max_iters=2", "--batch_tokens=128", "--batch_size=2"]
    done = run("train.py", f"--dataset={genome_folder}", f"--out_dir={tmp_path / 'out'}", *tiny, cwd=tmp_path / "copy")
    assert done.returncode == 0 and (tmp_path / "out" / "summary.json").exists(), done.stderr


def test_an_edit_that_does_not_apply_says_so(tmp_path):
    with pytest.raises(SystemExit, match="no longer applies"):
        edited_copy(tmp_path / "copy", [("no such line", "another")])


def test_tokens_to():
    curve = [(100, 1.9), (200, 1.8), (300, 1.85)]
    assert tokens_to(1.95, curve) == 50 and tokens_to(1.85, curve) == pytest.approx(150) and tokens_to(1.8, curve) == pytest.approx(200)
    assert tokens_to(1.7, curve) == math.inf


def test_always_ahead_compares_at_equal_seconds():
    ours, theirs = [(100, 1.9), (200, 1.8)], [(100, 1.95), (400, 1.85)]
    assert always_ahead(ours, theirs, 1, 1) and not always_ahead(theirs, ours, 1, 1)
    assert always_ahead(ours, theirs, 1, 1.5) and not always_ahead(ours, theirs, 1, 10)  # a slower loss wins if its steps are quick enough
    assert always_ahead(ours, theirs, 1, 10, after=180)


def test_seen_before():
    unit = "ACGTTGCAGGATCCA"
    window = encode(unit + "TTTACGACTAG" + unit)[None]
    expected = np.zeros_like(window, bool)
    expected[0, len(unit) + 11 + 8:] = True  # from the ninth base of the second copy on
    assert (seen_before(window) == expected).all()


def test_the_fit_finds_the_curve_that_the_losses_lie_on():
    p = torch.tensor((2.0, 3.0, 0.55, 0.35, 0.30), dtype=torch.float64)
    N, D = [1e5] * 3 + [6e5] * 3 + [1.8e6] * 3, [8e5, 2.4e6, 8e6] * 3
    found = scaling.fit(N, D, [scaling.predict(p, n, d) for n, d in zip(N, D)])
    assert torch.allclose(found, p, atol=0.01) and abs(scaling.predict(found, *scaling.TARGET) - scaling.predict(p, *scaling.TARGET)) < 1e-3


def test_a_mixture_finds_the_part_that_knows():
    torch.manual_seed(0)
    targets, vague = torch.randint(0, 4, (8, 50)), torch.full((8, 50, 4), 0.25).log()
    sure = torch.where(torch.nn.functional.one_hot(targets, 4) > 0, 0.7, 0.1).log()
    bits, weights = mixing.mixed([vague, sure], targets)
    assert bits < mixing.mixed([sure], targets, [1.0])[0] < mixing.mixed([vague], targets, [1.0])[0] == pytest.approx(2.0) and weights[1] > 1


def test_copier():
    p = mixing.copier(torch.tensor([[4, 0, 1, 2, 3, 0, 1, 2]]), 3).exp()[0]
    assert p[-1].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.7]) and (p[:-1] == 0.25).all()
