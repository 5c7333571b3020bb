"""What the measuring scripts rest on: edits that apply, crossings, copies and tandem repeats found where they are."""
import ast
import math

import numpy as np
import pytest
import torch

from data import encode
from tests import scaling
from tests.ablate import ROOT, VARIANTS, edited_copy
from tests.against_nanogpt import KEEP, OURS, always_ahead, seen_before, tokens_to


@pytest.mark.parametrize("edits", [[c for c in v if isinstance(c, tuple)] for v in VARIANTS.values() if any(isinstance(c, tuple) for c in v)] + [OURS, KEEP],
                         ids=[k for k, v in VARIANTS.items() if any(isinstance(c, tuple) for c in v)] + ["nanoGPT in our loop", "checkpoints kept"])
def test_every_edit_applies_and_parses(edits, tmp_path):
    edited_copy(tmp_path / "copy", edits)
    for file in {e[0] if len(e) == 3 else "model.py" for e in edits}:
        text = (tmp_path / "copy" / file).read_text()
        ast.parse(text)
        assert text != (ROOT / file).read_text()


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
