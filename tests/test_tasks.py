"""eval_dart.py --task=2 and --task=5, from the command line to the table and the JSON."""

import json

import numpy as np
import pytest

from tests.conftest import one_line_error, run
from tests.test_eval_dart import world  # noqa: F401, a fixture

MEME = """MEME version 4

ALPHABET= ACGT

MOTIF M1 CTCF
letter-probability matrix: alength= 4 w= 5
0.9 0.1 0 0
0 1 0 0
0 0 1 0
0.1 0 0.9 0
0 0 0 1

MOTIF M2 polyA
letter-probability matrix: alength= 4 w= 4
1 0 0 0
1 0 0 0
1 0 0 0
1 0 0 0

MOTIF M3 TATA
letter-probability matrix: alength= 4 w= 4
0 0 0 1
1 0 0 0
0 0 0 1
1 0 0 0
"""
HEADER = "var.chrom\tvar.pos\tvar.allele1\tvar.allele2\tobs.estimate\tvar.label\tvar.isused\n"


@pytest.fixture
def evaluate(world, tmp_path):  # noqa: F811
    """evaluate(*words): eval_dart.py on the world's checkpoint; its results go to r.json."""

    def start(*words):
        given = [f"--ckpt={world[0] / 'ckpt.pt'}", "--markov_order=2", "--device=cpu", *words]
        return run("eval_dart.py", *given, f"--json={tmp_path / 'r.json'}")

    return start


@pytest.fixture
def dsqtls(world, tmp_path):  # noqa: F811
    """A TSV of 40 made-up variants on chr22, half of them significant."""
    rng = np.random.default_rng(0)
    letters = world[1]["chr22"].upper()
    text = HEADER
    for i, pos in enumerate(rng.integers(1200, 7000, 40).tolist()):
        ref = letters[pos - 1]
        alt = "ACGT"[("ACGT".index(ref) + 1) % 4]
        label = 1 if i % 2 else -1
        text += f"chr22\t{pos}\t{ref}\t{alt}\t{rng.normal():.3f}\t{label}\tTrue\n"
    path = tmp_path / "dsqtl.tsv"
    path.write_text(text)
    return path


def test_motifs(evaluate, tmp_path):
    (tmp_path / "m.meme").write_text(MEME)
    done = evaluate("--task=2", f"--motifs={tmp_path / 'm.meme'}", "--max_backgrounds=6")
    assert done.returncode == 0, done.stderr
    assert "2 of 3" in done.stdout and "one letter alone: M2" in done.stdout
    assert "bigram" in done.stdout and "this model's best" in done.stdout
    models = json.loads((tmp_path / "r.json").read_text())["models"]
    assert list(models) == ["untrained (uniform)", "bigram", "Markov order 2", "this model"]
    nobody = models["untrained (uniform)"]["footprints"]
    assert nobody["accuracy"] == 1 and nobody["ties"] == nobody["pairs"] == 2 * 6 * 2
    mine = models["this model"]["footprints"]
    assert [motif["name"] for motif in mine["by_motif"]] == ["M1 CTCF", "M3 TATA"]
    assert mine["accuracy"] == np.mean([motif["accuracy"] for motif in mine["by_motif"]])


def test_motifs_against_controls_that_keep_their_pairs(evaluate, tmp_path):
    text = MEME  # its motifs have no other order of their pairs
    for site in ("GACGATCGACT", "TATATGTCTA"):
        text += f"\nMOTIF {site}\nletter-probability matrix: alength= 4 w= {len(site)}\n"
        for letter in site:
            text += " ".join("1" if letter == each else "0" for each in "ACGT") + "\n"
    (tmp_path / "m.meme").write_text(text)
    words = ("--task=2", f"--motifs={tmp_path / 'm.meme'}", "--keep_pairs", "--max_backgrounds=6")
    done = evaluate(*words)
    assert done.returncode == 0, done.stderr
    assert "controls keep the motifs' pairs" in done.stdout
    assert "a bigram cannot tell" in done.stdout and "CpG, which is rare" not in done.stdout
    models = json.loads((tmp_path / "r.json").read_text())["models"]
    bigram = models["bigram"]["footprints"]
    assert bigram["ties"] == bigram["pairs"] == 2 * 6 * 2
    assert models["Markov order 2"]["footprints"]["ties"] < bigram["pairs"]
    one_line_error(evaluate("--keep_pairs"), "--keep_pairs belongs to --task=2")


def test_variants(evaluate, dsqtls, tmp_path):
    done = evaluate("--task=5", f"--variants={dsqtls}")
    assert done.returncode == 0, done.stderr
    assert "(Yoruban dsQTLs), 20 significant ones, 20 of 20 controls" in done.stdout
    assert "by chance" in done.stdout and "Pearson (95 %)" in done.stdout
    models = json.loads((tmp_path / "r.json").read_text())["models"]
    assert models["this model"]["variants"]["one_strand"]["significant"] == 20
    assert models["this model"]["variants"]["one_strand"]["pearson"]["value"] is not None
    whole = models["this model, all of 350 bases"]["variants"]["both_strands"]
    assert whole["pearson"] != models["this model"]["variants"]["both_strands"]["pearson"]


def test_mistakes_are_one_line(evaluate, dsqtls, tmp_path):
    one_line_error(evaluate("--task=3"), "task = 3", "1, 2, 5")
    one_line_error(evaluate("--task=2"), "--task=2 needs --motifs=FILE")
    one_line_error(
        evaluate("--motifs=some.meme"), "--motifs belongs to --task=2, but this is --task=1"
    )
    one_line_error(evaluate("--full=True", "--probe_epochs=3"), "--full has 150 epochs")
    one_line_error(run("eval_dart.py", "--json=-"), "name a file")
    one_line_error(evaluate("--task=5"), "--task=5 needs --variants=FILE")
    (tmp_path / "empty.meme").write_text("")
    one_line_error(evaluate("--task=2", f"--motifs={tmp_path / 'empty.meme'}"), "empty.meme")
    (tmp_path / "a.meme").write_text(MEME.split("MOTIF M3")[0].replace("MOTIF M1", "MOTIF M0"))
    one_line_error(
        evaluate(
            "--task=2", f"--motifs={tmp_path / 'a.meme'}", f"--backgrounds={tmp_path / 'a.meme'}"
        ),
        "a.meme",
    )
    lines = dsqtls.read_text().splitlines()
    (tmp_path / "off.tsv").write_text("\n".join([lines[0], *shift(lines[1:])]))
    one_line_error(
        evaluate("--task=5", f"--variants={tmp_path / 'off.tsv'}"), "neither allele", "counted"
    )
    assert not (tmp_path / "r.json").exists()


def shift(lines):
    """The rows of a TSV with each position 1 lower, as if it counted from 0."""
    for line in lines:
        cells = line.split("\t")
        yield "\t".join([cells[0], str(int(cells[1]) - 1), *cells[2:]])
