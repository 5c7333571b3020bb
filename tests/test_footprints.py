"""dart/motifs.py and dart/footprints.py: each format, the sequences against a slow
re-implementation, known answers, and what may be wrong with a file.
"""

import gzip
import random
import sqlite3
from collections import Counter
from itertools import permutations

import numpy as np
import pytest
import torch
from torch import nn

from dart import footprints
from dart.elements import read_elements
from dart.footprints import (
    backgrounds_from,
    judge_motifs,
    log_likelihoods,
    make_sequences,
    on_both_strands,
    read_backgrounds,
    shufflable,
    shuffle_pairs,
    summary,
    wilcoxon,
)
from dart.motifs import Motif, consensus, read_motifs
from dart.pairs import make_pairs
from dart.zero_shot import Candidate
from data import Genome, decode, encode, reverse_complement
from experiments import jaspar
from model import GPT, GPTConfig
from tests.conftest import random_dna, write_genome
from tests.test_eval_dart import bed_text

WILCOXON = 0.021542863694648147  # of test_wilcoxon's numbers
UNIFORM = Candidate("uniform", None)
MEME = """MEME version 4

ALPHABET= ACGT

strands: + -

Background letter frequencies
A 0.25 C 0.25 G 0.25 T 0.25

MOTIF MA1.1 Arnt
letter-probability matrix: alength= 4 w= 3 nsites= 20 E= 0
 0.1 0.2 0.3 0.4
 0.4 0.3 0.2 0.1
 0.25 0.25 0.25 0.25
URL http://example.org

MOTIF two
letter-probability matrix: alength=4 w=2 nsites=3
0 1 0 0
0\t0\t1.0\t0"""
JASPAR = """>MA1.1\tArnt
A  [ 4 19  0 ]
C  [16  0 20 ]
G  [ 0  1  0 ]
T  [ 0  0  0 ]

>MA2.1 Ahr
T [1 2.5]
G [0 9]
C [0 0]
A [3 0]
"""
PFM = """>MA1.1 Arnt
4 19 0
16 0 20
0 1 0
0 0 0
"""


def motif_of(letters, name=None):
    return Motif(name or letters, np.eye(4)[encode(letters)])


def random_backgrounds(n, seed=0):
    return np.random.default_rng(seed).integers(0, 4, (n, 350)).astype(np.uint8)


def written(tmp_path, text, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def dies(capsys, words, function, *given):
    """The call ends in one line that holds the words."""
    with pytest.raises(SystemExit) as error:
        list(function(*given))
    line = error.value.code
    assert line.startswith("error: ") and "\n" not in line
    assert all(word in line for word in words), line


# ---- formats


def test_meme(tmp_path):
    for text in (MEME, MEME + "\n", MEME.replace("\n", "\r\n"), gzip.compress(MEME.encode())):
        first, second = read_motifs(written(tmp_path, text))
        assert (first.name, second.name) == ("MA1.1 Arnt", "two")
        assert first.matrix.shape == (3, 4) and first.matrix.dtype == np.float64
        assert first.matrix[0].tolist() == [0.1, 0.2, 0.3, 0.4]
        assert decode(consensus(first)) == "TAA"  # of equal ones the first
        assert decode(consensus(second)) == "CG"
        assert consensus(second).dtype == np.uint8


def test_meme_of_rna_and_without_widths(tmp_path):
    text = MEME.replace("ACGT", "ACGU").replace(" w= 3", "").replace("w=2", "")
    assert [len(motif.matrix) for motif in read_motifs(written(tmp_path, text))] == [3, 2]


def test_a_report_of_meme(tmp_path):
    text = "*****\nMEME - Motif discovery tool\n*****\n" + MEME + "\n-------\nTime 0.1 secs.\n"
    log_odds = "log-odds matrix: alength= 4 w= 1 n= 3 bayes= 6\n  -1  2  3  4\n"
    text = text.replace("letter-", log_odds + "letter-")
    assert [len(motif.matrix) for motif in read_motifs(written(tmp_path, text))] == [3, 2]


def test_jaspar(tmp_path):
    for text in (JASPAR, JASPAR.replace("T ", "U "), "# a comment\n" + JASPAR):
        first, second = read_motifs(written(tmp_path, text))
        assert (first.name, second.name) == ("MA1.1 Arnt", "MA2.1 Ahr")
        assert first.matrix.tolist() == [[4, 16, 0, 0], [19, 0, 1, 0], [0, 20, 0, 0]]
        assert second.matrix.tolist() == [[3, 0, 0, 1], [0, 0, 9, 2.5]]
    (raw,) = read_motifs(written(tmp_path, PFM))
    assert raw.name == "MA1.1 Arnt" and (raw.matrix == first.matrix).all()


def test_motifs_of_the_same_name_are_kept(tmp_path):
    assert [motif.name for motif in read_motifs(written(tmp_path, PFM + PFM))] == ["MA1.1 Arnt"] * 2


@pytest.mark.parametrize(
    "text, words",
    (
        ("", ["empty"]),
        ("\n # \n", ["empty"]),
        ("chr1\t1\t2\n", ["no file of motifs", "'chr1"]),
        (b"\x00" * 90, ["no file of motifs"]),
        (b"PK\x03\x04", ["zip"]),
        ("MEME version 4\n", ["no motifs"]),
        (MEME.replace("0.1 0.2 0.3 0.4", "0.1 0.2 0.3"), [":12:", "3 numbers, not of four"]),
        (MEME.replace("0.1 0.2 0.3 0.4", "0.1 0.2 0.3 x"), [":12:", "not numbers alone"]),
        (MEME.replace("0.1 0.2 0.3 0.4", "-1 0.2 0.3 1"), [":12:", "0 or more"]),
        (MEME.replace("0.1 0.2 0.3 0.4", "0 0 0 0"), ["Arnt", "zeros alone at position 1"]),
        (MEME.replace("w= 3", "w= 4"), [":11:", "3 rows", "w= 4"]),
        (MEME.replace("ACGT", "ACDEFGHIKLMNPQRSTVWY"), ["alphabet"]),
        (MEME.replace("alength= 4", "alength= 20"), ["20 letters"]),
        (MEME + "\nMOTIF three\n", ["three", "no matrix"]),
        (MEME.replace("URL", "MOTIF none\nMOTIF"), ["none", "no matrix"]),
        (">MA1.1\n", ["MA1.1", "0 rows"]),
        (PFM + "1 2 3\n", ["5 rows"]),
        (PFM.replace("4 19 0", "4 19"), ["different lengths: 2, 3, 3, 3"]),
        (PFM.replace("4 19 0", "4 nan 0"), [":2:", "0 or more"]),
        (JASPAR.replace("C  [", "A  ["), [":3:", "each of A, C, G and T"]),
        (JASPAR.replace("C  [", "AC ["), [":3:", "'AC'"]),
        (JASPAR.replace("C  [16", "C  [x"), [":3:", "not numbers"]),
    ),
)
def test_files_that_are_no_motifs(tmp_path, capsys, text, words):
    path = written(tmp_path, text)
    dies(capsys, [str(path), *words], read_motifs, path)


def test_no_file(tmp_path, capsys):
    dies(capsys, ["--motifs", "folder"], read_motifs, tmp_path)
    (tmp_path / "a.fa").write_text(">chr1\nACGTNN\nACGT\n")
    dies(capsys, ["a.fa is a FASTA"], read_motifs, tmp_path / "a.fa")
    dies(capsys, ["--x=", "not there"], read_motifs, tmp_path / "no", "--x")
    dies(capsys, ["--backgrounds", "not there"], read_backgrounds, tmp_path / "no")


def test_motifs_of_jaspars_database(tmp_path, capsys):
    """The latest version of each matrix; of each factor, if asked for."""
    path = tmp_path / "a b.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("create table MATRIX (ID, COLLECTION, BASE_ID, VERSION, NAME)")
    connection.execute("create table MATRIX_ANNOTATION (ID, TAG, VAL)")
    connection.execute("create table MATRIX_DATA (ID, row, col, val)")
    names = [("MA1", 1, "Arnt"), ("MA1", 2, "Arnt"), ("MA2", 1, "ARNT"), ("MA3", 1, "Ahr")]
    for key, (base, version, name) in enumerate(names):
        row = (key, "CORE", base, version, name)
        connection.execute("insert into MATRIX values (?, ?, ?, ?, ?)", row)
        group = "plants" if base == "MA3" else "vertebrates"
        connection.execute("insert into MATRIX_ANNOTATION values (?, 'tax_group', ?)", (key, group))
        for col in (2, 1):
            for place, letter in enumerate("TGCA"):
                value = 4 * (place == key) + col
                row = (key, letter, col, value)
                connection.execute("insert into MATRIX_DATA values (?, ?, ?, ?)", row)
    connection.commit()
    out = tmp_path / "a.meme"
    jaspar.main([f"--database={path}", f"--out={out}"])
    first, second = read_motifs(out)
    assert (first.name, second.name) == ("MA1.2 Arnt", "MA2.1 ARNT")
    assert np.allclose(first.matrix, [[1 / 8, 1 / 8, 5 / 8, 1 / 8], [2 / 12, 2 / 12, 0.5, 2 / 12]])
    jaspar.main([f"--database={path}", f"--out={out}", "--one=True"])
    assert [motif.name for motif in read_motifs(out)] == ["MA2.1 ARNT"]
    dies(capsys, ["no motifs of birds"], jaspar.main, [f"--database={path}", "--group=birds"])
    other = written(tmp_path, "x" * 200)
    dies(capsys, ["no database"], jaspar.main, [f"--database={other}"])
    dies(capsys, ["--database", "not there"], jaspar.main, ["--database=none"])


# ---- backgrounds


def test_backgrounds(tmp_path):
    letters = random_dna(np.random.default_rng(0), 700)
    text = letters[:350] + " \n\n" + "N" * 350 + "\n" + letters[350:]
    for content in (text, gzip.compress(text.replace("\n", "\r\n").encode())):
        bases = read_backgrounds(written(tmp_path, content))
        assert bases.dtype == np.uint8
        assert [decode(row) for row in bases] == [
            letters[:350].upper(),
            "N" * 350,
            letters[350:].upper(),
        ]


@pytest.mark.parametrize(
    "text, words",
    (
        ("", ["no sequences"]),
        (">name\n", [":1:", "not DNA alone"]),
        ("A" * 350 + "\n" + "A" * 349, [":2:", "349 bases", "350"]),
        ("A" * 349 + "!", [":1:", "not DNA alone"]),
    ),
)
def test_files_that_are_no_backgrounds(tmp_path, capsys, text, words):
    path = written(tmp_path, text)
    dies(capsys, [str(path), *words], read_backgrounds, path)


def test_backgrounds_from_a_genome(tmp_path, capsys):
    rng = np.random.default_rng(1)
    chroms = {"chr5": random_dna(rng, 6000)}
    genome = Genome(write_genome(tmp_path / "genome", {"test": chroms}))
    elements = read_elements(written(tmp_path, bed_text(rng, chroms, 10)))
    pairs, _ = make_pairs(genome, elements)
    assert (backgrounds_from(genome, elements, 5) == pairs[::2, 1]).all()
    assert (backgrounds_from(genome, elements) == pairs[:, 1]).all()
    dies(capsys, ["backgrounds"], backgrounds_from, genome, elements, 0)


# ---- sequences


def slow_sequences(sites, backgrounds):
    """The protocol, one letter at a time: {site: (with it, with its letters shuffled)}."""
    random.seed(0)
    out = {site: ([], []) for site in sites}
    for background in backgrounds:
        for site in sites:
            start = 175 - len(site) // 2
            other = list(site)
            while "".join(other) == site:
                random.shuffle(other)
            for k, letters in enumerate((site, "".join(other))):
                whole = background[:start] + letters + background[start + len(site) :]
                assert len(whole) == 350
                out[site][k].append(whole)
    return out


def test_sequences_agree_with_a_slow_reimplementation():
    rng = np.random.default_rng(2)
    sites = ["".join(rng.choice(list("ACGT"), n)) for n in range(8, 21)]
    sites += ["CA", "AAC", "ACGT" * 87 + "AC", "T" + "A" * 348]
    backgrounds = random_backgrounds(12)
    backgrounds[3, 10] = 4
    expected = slow_sequences(sites, [decode(row) for row in backgrounds])
    motifs = [motif_of(site) for site in sites]
    n = 0
    for site, sequences in zip(sites, make_sequences(motifs, backgrounds), strict=True):
        assert sequences.shape == (2, 12, 350) and sequences.dtype == np.uint8
        for k in range(2):
            assert [decode(row) for row in sequences[k]] == expected[site][k]
        assert (sequences[0] != sequences[1]).any(1).all()  # never the same
        n += 1
    assert n == 17


def test_the_middle_and_the_seed():
    (odd, even) = make_sequences([motif_of("CAC"), motif_of("GGCC")], np.zeros((1, 350), np.uint8))
    assert decode(odd[0, 0]) == "A" * 174 + "CAC" + "A" * 173
    assert decode(even[0, 0]) == "A" * 173 + "GGCC" + "A" * 173
    sites = [motif_of("ACGTTGCATA")]
    (one,) = make_sequences(sites, random_backgrounds(9), 1)
    (two,) = make_sequences(sites, random_backgrounds(9), 2)
    assert (one[0] == two[0]).all() and (one[1] != two[1]).any()


def test_motifs_that_do_not_fit(capsys):
    rows = random_backgrounds(2)
    dies(capsys, ["long", "351", "350"], make_sequences, [motif_of("AC" * 175 + "A", "long")], rows)
    dies(capsys, ["AAAA", "no other order"], make_sequences, [motif_of("AAAA")], rows)
    said = []
    motifs = [motif_of("AAAA", "poly-A"), motif_of("AC")]
    assert shufflable(motifs, said) == motifs[1:]
    assert len(said) == 1 and "poly-A" in said[0]
    assert shufflable(motifs[1:], said) == motifs[1:] and len(said) == 1


def pairs_of(site):
    return Counter(zip(site, site[1:]))


def test_stricter_controls_are_all_other_orders_of_the_same_pairs_and_equally_often():
    draws = random.Random(0)
    for text in ("ACAGCACT", "CGTTACGT", "TTGTTCTT"):
        site = encode(text).tolist()
        orders = {order for order in permutations(site) if pairs_of(order) == pairs_of(site)}
        orders.remove(tuple(site))
        drawn = Counter(tuple(shuffle_pairs(site, draws)) for _ in range(300 * len(orders)))
        assert set(drawn) == orders
        assert max(abs(count - 300) for count in drawn.values()) < 5 * 300**0.5
    assert shuffle_pairs(encode("ACGT").tolist(), draws) is None


def test_motifs_with_no_other_order_of_their_pairs_are_left_out(capsys):
    said = []
    motifs = [motif_of("ACGT", "once"), motif_of("ACAGCACT", "more")]
    assert shufflable(motifs, said, shuffle=shuffle_pairs) == motifs[1:]
    assert "once" in said[0] and "pairs" in said[0]
    rows = random_backgrounds(4)
    with pytest.raises(SystemExit):
        next(make_sequences(motifs, rows, shuffle=shuffle_pairs))
    (pair,) = make_sequences(motifs[1:], rows, shuffle=shuffle_pairs)
    for real, control in zip(*pair):
        assert pairs_of(real.tolist()) == pairs_of(control.tolist())
        assert (real != control).any()


def test_n_is_a_on_either_strand():
    both = on_both_strands(encode("ANC")[None])
    assert [decode(row) for row in both[:, 0]] == ["AAC", "GAT"]


# ---- judging


class Prefers:
    """A made-up model of which base follows the last three: random, but that a word, and its
    reverse complement, are likely from their fourth letter on.
    """

    def __init__(self, word, seed=0):
        table = np.random.default_rng(seed).normal(0, 1.5, (5, 5, 5, 4))
        self.table = torch.from_numpy(table).float()
        bases = encode(word)
        self.words = [bases.tolist(), reverse_complement(bases).tolist()]

    def __call__(self, tokens):
        padded = torch.nn.functional.pad(tokens, (2, 0), value=4)
        logits = self.table[padded[:, :-2], padded[:, 1:-1], padded[:, 2:]].clone()
        for word in self.words:
            for k in range(3, len(word)):
                seen = tokens.unfold(1, k, 1) == torch.tensor(word[:k])
                logits[:, k - 1 :, word[k]] += 9.0 * seen.all(2)
        return logits


def small_gpt():
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=352, n_layer=1, n_head=1, n_embd=16))
    for p in model.parameters():
        nn.init.normal_(p, std=0.3)
    return model.eval()


def test_uniform_has_ties_alone():
    motifs = [motif_of("ACGT"), motif_of("CCA")]
    results = judge_motifs(UNIFORM, motifs, random_backgrounds(3))
    for result, name in zip(results, ("ACGT", "CCA")):
        assert result == {
            "name": name,
            "consensus": name,
            "pairs": 6,
            "accuracy": 1.0,
            "ties": 6,
            "both_strands": 1.0,
            "p": None,
            "against_background": 0.0,
            "median": 0.0,
        }
    assert summary(results)["ties"] == summary(results)["pairs"] == 12


def test_rounding_makes_no_difference():
    """A model of base frequencies alone finds a motif and its shuffled letters equally likely."""

    def frequencies(tokens):
        return torch.tensor([0.31, 0.17, 0.2, 0.29]).log().expand(*tokens.shape, 4)

    (result,) = judge_motifs(
        Candidate("frequencies", frequencies), [motif_of("ACCGATTGCA")], random_backgrounds(8)
    )
    assert (result["accuracy"], result["ties"], result["p"]) == (1.0, 16, None)


def test_a_preferred_word():
    rng = np.random.default_rng(4)
    motifs = [motif_of("".join(rng.choice(list("ACGT"), 9))) for _ in range(40)]
    word = motifs[20].name
    candidate = Candidate("prefers", Prefers(word))
    results = judge_motifs(candidate, motifs, random_backgrounds(6), 512)
    assert results[20]["name"] == word
    assert results[20]["accuracy"] == results[20]["both_strands"] == 1.0
    assert results[20]["p"] < 0.002 and results[20]["against_background"] > 0.5
    assert results[20]["median"] > 10
    others = [result["accuracy"] for result in results if result["name"] != word]
    assert 0.35 < np.mean(others) < 0.65
    assert summary(results)["best"][0][1] == 1.0


def test_strands_batches_and_chunks(monkeypatch):
    motifs = [motif_of(site) for site in ("ACCGT", "GATTACA", "TTGACG")]
    backgrounds = random_backgrounds(4)
    backgrounds[0, 5:9] = 4
    candidate = Candidate("gpt", small_gpt())
    first = judge_motifs(candidate, motifs, backgrounds, 5)
    monkeypatch.setattr(footprints, "AT_ONCE", 2)
    second = judge_motifs(candidate, motifs, backgrounds, 48)
    for one, two in zip(first, second):
        assert {**one, "median": 0, "p": 0} == {**two, "median": 0, "p": 0}
        assert one["median"] == pytest.approx(two["median"], abs=1e-3)
        assert one["p"] == pytest.approx(two["p"])
    sequences = next(make_sequences(motifs, backgrounds))[:, 1:]  # without N
    scores = log_likelihoods(candidate, on_both_strands(sequences), 9, "forward")
    other = log_likelihoods(candidate, on_both_strands(reverse_complement(sequences)), 7, "back")
    assert scores.shape == (2, 2, 3)
    np.testing.assert_allclose(scores, other[::-1], atol=1e-3)


def test_known_answers():
    """Two backgrounds, by hand."""
    with_motif = [[-10.0, -20.0], [-30.0, -40.0]]  # strand, background
    shuffled = [[-11.0, -20.0], [-25.0, -43.0]]
    scores = np.array([[with_motif[s], shuffled[s]] for s in range(2)])
    raw = np.array([[-10.5, -20.0], [-24.0, -50.0]])
    result = footprints.rate_motif(scores, raw)
    assert result["pairs"] == 4 and result["ties"] == 1
    assert result["accuracy"] == 3 / 4  # 1, 0, -5, 3
    assert result["both_strands"] == 1 / 2  # -2, 1.5
    assert result["against_background"] == 2 / 4  # .5 > .5, 0 > 0, 6 > 1, 10 > 7
    assert result["median"] == 0.5


def test_wilcoxon():
    # scipy.stats.wilcoxon(x, alternative="greater", method="asymptotic"), SciPy 1.17
    x = np.array([3.0, -1.0, 2.0, 2.0, 0.0, 5.0, -2.0, 7.0, 1.0, 4.0])
    assert wilcoxon(x) == pytest.approx(WILCOXON, rel=1e-9)
    assert wilcoxon(-x) == pytest.approx(1 - WILCOXON, rel=1e-9)
    assert wilcoxon(np.zeros(4)) is None


def test_summary():
    results = []
    for i in range(21):
        results.append(
            {
                "name": f"m{i}",
                "consensus": "ACGT" if i < 5 else "GATTACA",
                "accuracy": i / 20,
                "both_strands": 1 - i / 20,
                "pairs": 20,
                "ties": 1,
                "median": 0.1,
            }
        )
    tied = dict(results[0], name="deeper", median=-5.0)  # of equal accuracies the median decides
    assert summary([*results, tied], 1)["worst"] == [("deeper", 0.0)]
    assert summary([tied, *results], 2)["worst"] == [("deeper", 0.0), ("m0", 0.0)]
    found = summary(results, 2)
    assert found["motifs"] == 21 and found["pairs"] == 420 and found["ties"] == 21
    assert found["accuracy"] == pytest.approx(0.5) == found["both_strands"]
    assert found["high"] - 0.5 == pytest.approx(1.96 * 0.3102418 / 21**0.5, rel=1e-4)
    assert 0.5 - found["low"] == pytest.approx(found["high"] - 0.5)
    assert found["known"]["share"] == 6 / 21  # .7 itself is not above it
    assert found["known"]["low"] == pytest.approx(0.1381, abs=1e-4)
    assert found["known"]["high"] == pytest.approx(0.4996, abs=1e-4)
    assert found["above_half"]["share"] == 10 / 21
    assert found["quantiles"] == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert found["best"] == [("m20", 1.0), ("m19", 0.95)]
    assert found["worst"] == [("m0", 0.0), ("m1", 0.05)]
    assert (found["always"], found["never"]) == (1, 1)
    assert found["with_cpg"] == pytest.approx(2 / 20)
    assert found["without_cpg"] == pytest.approx(12.5 / 20)
    assert summary(results[:5], 2)["without_cpg"] is summary(results[5:], 2)["with_cpg"] is None
    assert (summary(results[:1])["low"], summary(results[:1])["high"]) == (0, 1)
