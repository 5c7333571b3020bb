"""dart/variants.py: the TSVs, the windows base by base, the score against models whose every
probability is known, the metrics against their definitions.
"""

import gzip
import math

import numpy as np
import pytest
import torch

from dart.metrics import (
    area_error,
    auroc,
    average_precision,
    correlation,
    ranks,
    with_interval,
)
from dart.variants import (
    CAQTL,
    DSQTL,
    FIELDS,
    WINDOW,
    check_reference,
    judge_variants,
    make_windows,
    read_variants,
    score_variants,
    variant_metrics,
)
from dart.zero_shot import Candidate
from data import Genome, decode, reverse_complement
from markov import Markov
from model import GPT, GPTConfig
from tests.conftest import random_dna, write_genome

CAQTL_HEADER = "chr_hg38\tpos_hg38\tallele1\tallele2\tIsUsed\tin_peaks\tlabel\tbeta\tpval\n"
DSQTL_HEADER = "var.chrom\tvar.pos\tvar.allele1\tvar.allele2\tvar.isused\tvar.label\tobs.estimate\n"
CAQTL_ROW = "chr1\t11\tA\tC\tTrue\tTrue\tTrue\t0.5\t1e-9\n"


def written(folder, text, name="v.tsv"):
    """The path of a file with this text."""
    (folder / name).write_text(text)
    return folder / name


def variants_of(*rows):
    return np.rec.array(list(rows), FIELDS)


def some_variants(rng, n):
    """n made-up variants, a third of them significant, some of unknown effect."""
    rows = []
    for i in range(n):
        effect = math.nan if i % 7 == 0 else round(rng.normal(), 1)
        rows.append(("chr1", i, 0, 1, effect, i % 3 == 0))
    return variants_of(*rows)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(a genome of chr1 with a gap and chr5, {chromosome: letters})."""
    rng = np.random.default_rng(0)
    letters = {name: random_dna(rng, 6000) for name in ("chr1", "chr5")}
    letters["chr1"] = letters["chr1"][:3000] + "N" * 60 + letters["chr1"][3060:]
    splits = {"train": {"chr1": letters["chr1"]}, "test": {"chr5": letters["chr5"]}}
    return Genome(write_genome(tmp_path_factory.mktemp("genome"), splits)), letters


# ---- the file


@pytest.mark.parametrize("pack", (bytes, gzip.compress), ids=("", "gzip"))
def test_caqtls_are_read(tmp_path, pack):
    text = (
        CAQTL_HEADER + CAQTL_ROW + "chr2\t1e+05\tg\tT\tTRUE\t1\tFalse\t-1.5\t0.2\n"
        "X\t7\tT\tA\tTrue\tTrue\t0\tNA\t0.2\n"
        "chr1\t12\tA\tC\tFalse\tTrue\tTrue\tword\t0.2\n"
        "chr1\t12\tA\tC\tTrue\tFalse\tTrue\t1\t0.2\n"
        "chr1\t12\tA\tC\tTrue\tTrue\tNA\t1\t0.2\n"
        "chr1\t12\tA\tCG\tTrue\tTrue\tTrue\t1\t0.2\n\n"
    )
    (tmp_path / "v.tsv").write_bytes(pack(text.encode()))  # whatever its name says
    said = []
    variants, kind = read_variants(tmp_path / "v.tsv", said)
    assert kind is CAQTL and (kind.assembly, kind.name) == ("hg38", "African caQTLs")
    assert variants.chrom.tolist() == ["chr1", "chr2", "X"]
    assert variants.pos.tolist() == [10, 99999, 6]
    assert variants.other_allele.tolist() == [0, 2, 3]
    assert variants.effect_allele.tolist() == [1, 3, 0]
    assert variants.effect.tolist()[:2] == [0.5, -1.5] and math.isnan(variants.effect[2])
    assert variants.significant.tolist() == [True, False, False]
    assert said == [
        "2 of 7 rows are left out: not marked as used (isused, in_peaks)",
        "1 of 7 rows are left out: neither significant nor a control",
        "1 of 7 rows are left out: an allele is not one base",
    ]


def test_the_effect_of_dsqtls_is_that_of_allele_1(tmp_path):
    text = DSQTL_HEADER + "chr1\t5\tA\tC\tTrue\t1\t0.5\nchr1\t6\tG\tT\tTrue\t-1\t0.1\n"
    text += "chr1\t7\tG\tT\tTrue\t0\t0.1\nchr1\t8\tG\tT\tFalse\t1\t0.1\n"
    variants, kind = read_variants(written(tmp_path, text))
    assert kind is DSQTL and kind.assembly == "hg19"
    assert variants.effect_allele.tolist() == [0, 2]
    assert variants.other_allele.tolist() == [1, 3]
    assert variants.significant.tolist() == [True, False]


@pytest.mark.parametrize(
    "text, said",
    (
        ("", "is empty: give"),
        ("\n\n", "is empty: give"),
        ("chr1\t5\tA\tC\n", "no column chr_hg38, pos_hg38.*it has chr1, 5, a, c"),
        (CAQTL_HEADER.replace("in_peaks", "peak"), "no column in_peaks as a TSV of African"),
        (DSQTL_HEADER.replace("obs.", "est."), "no column obs.estimate as a TSV of Yoruban"),
        (CAQTL_HEADER, "no variants that are used .0 rows"),
        (CAQTL_HEADER.replace("\t", ","), "has commas between its columns"),
        (CAQTL_HEADER + CAQTL_ROW.replace("True", "False"), "no variants that are used .1 rows"),
        (CAQTL_HEADER + CAQTL_ROW + "chr1\t12\tA\n", "line 3 has 3 columns, the header has 9"),
        (CAQTL_HEADER + "\n" + CAQTL_ROW.replace("11", "x"), "line 3: pos_hg38 is 'x'"),
        (CAQTL_HEADER + CAQTL_ROW.replace("11", "0"), "line 2: pos_hg38 is '0'"),
        (CAQTL_HEADER + CAQTL_ROW.replace("11", "1.5"), "line 2: pos_hg38 is '1.5'"),
        (CAQTL_HEADER + CAQTL_ROW.replace("11", "nan"), "line 2: pos_hg38 is 'nan'"),
        (CAQTL_HEADER + CAQTL_ROW.replace("0.5", "big"), "line 2: beta is 'big'"),
    ),
)
def test_files_that_cannot_be_read(tmp_path, text, said):
    with pytest.raises(SystemExit, match=said) as error:
        read_variants(written(tmp_path, text))
    assert str(error.value).startswith("error: ") and "\n" not in str(error.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(SystemExit, match="nothing.tsv is not there: name a file"):
        read_variants(tmp_path / "nothing.tsv")


# ---- the genome


def with_alleles(letters, chrom, pos, swap=False):
    """A variant there, one of whose alleles is the genome's."""
    here = "ACGT".index(letters[chrom][pos].upper())
    pair = (here, (here + 1) % 4)
    return (chrom, pos, *(pair[::-1] if swap else pair), 1.0, True)


def test_variants_that_lie_elsewhere_are_left_out(world):
    genome, letters = world
    rows = [with_alleles(letters, "chr5", 100 + i, i % 2) for i in range(300)]
    there = [("5", *row[1:]) for row in rows]
    beyond = [("chr5", 6000, 0, 1, 1.0, True)]
    missing = [("chrQ", 100, 0, 1, 1.0, True), ("chr7", 100, 0, 1, 1.0, True)]
    kept, said = check_reference(genome, variants_of(*beyond, *missing, *there))
    assert np.array_equal(kept, variants_of(*rows))
    assert said == [
        "2 variants are on names that are not in the genome, left out: chrQ, chr7",
        "1 variants lie beyond their chromosome's end, left out",
    ]


def test_few_unknown_alleles_stay_and_many_are_another_genome(world):
    genome, letters = world
    rows = [with_alleles(letters, "chr5", 100 + i) for i in range(300)]
    for n in (1, 3, 4):
        wrong = list(rows)
        for i in range(n):
            here = rows[i][2]
            wrong[i] = ("chr5", 100 + i, (here + 1) % 4, (here + 2) % 4, 1.0, True)
        if n < 4:
            kept, said = check_reference(genome, variants_of(*wrong))
            assert len(kept) == 300
            assert said == [
                f"{n} variants of which the genome has neither allele, scored all the same"
            ]
            continue
        with pytest.raises(SystemExit, match="at 4 of 300 .* first at chr5:101.*hg38.*hg19") as no:
            check_reference(genome, variants_of(*wrong), "v.tsv")
        assert "\n" not in str(no.value)
    shifted = variants_of(*rows)
    shifted.pos += 1
    with pytest.raises(SystemExit, match="neither allele.*positions counted from 1"):
        check_reference(genome, shifted)


def test_a_file_of_another_species(world):
    with pytest.raises(SystemExit, match="no variant of v.tsv lies on .*chr1, chr5") as error:
        check_reference(world[0], variants_of(("chrQ", 5, 0, 1, 1.0, True)), "v.tsv")
    assert "\n" not in str(error.value)


def test_windows_by_hand(world):
    """At the ends, over the gap, and inside; N and what is beyond the ends is A."""
    genome, letters = world
    places = [("chr1", 5), ("chr1", 2500), ("chr1", 5990), ("chr5", 2000)]
    variants = variants_of(*[(chrom, pos, 2, 3, 1.0, True) for chrom, pos in places])
    windows, holes = make_windows(genome, variants)
    assert windows.shape == (4, 2, 2114)
    assert holes == 3
    for (chrom, pos), pair in zip(places, windows):
        padded = "A" * 3000 + letters[chrom].upper().replace("N", "A") + "A" * 3000
        left = padded[3000 + pos - 1057 : 3000 + pos]
        right = padded[3000 + pos + 1 : 3000 + pos + 1057]
        assert [decode(window) for window in pair] == [left + "G" + right, left + "T" + right]
    short, holes = make_windows(genome, variants, 350)
    assert np.array_equal(short[3], windows[3, :, 1057 - 175 : 1057 + 175])
    assert holes == 2


# ---- the score


class Chain:
    """A model of which every probability is known: P(next | last), and of the first base."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.log_p = np.log(rng.dirichlet(np.ones(4), 5))  # the last row follows the start symbol

    def __call__(self, tokens):
        return torch.from_numpy(self.log_p[tokens.numpy()]).float()

    def log_likelihood(self, bases):
        """Of all bases but the first, by a plain loop."""
        pairs = zip(bases[:-1].tolist(), bases[1:].tolist())
        return sum(self.log_p[last, base] for last, base in pairs)


@pytest.fixture(scope="module")
def windows(world):
    """(20, 2, WINDOW): of made-up variants."""
    rows = [with_alleles(world[1], "chr5", 1200 + 150 * i, i % 2) for i in range(20)]
    return make_windows(world[0], variants_of(*rows))[0]


def test_the_score_is_the_known_log_odds_of_the_alleles(windows):
    chain = Chain()
    scores = score_variants(Candidate("chain", chain), windows, batch_size=7)
    for row, (other, tested) in zip(scores, windows.astype(int)):
        last = other[1056]
        forward = chain.log_p[last, tested[1057]] - chain.log_p[last, other[1057]]
        next_one = 3 - other[1058]  # on the other strand it comes before
        backward = chain.log_p[next_one, 3 - tested[1057]] - chain.log_p[next_one, 3 - other[1057]]
        assert row == pytest.approx([forward, backward], abs=1e-5)


@pytest.mark.parametrize("context, length", ((WINDOW, 2114), (100, 100)))
def test_the_whole_score_is_the_known_difference_of_log_likelihoods(windows, context, length):
    chain = Chain()
    scores = score_variants(Candidate("chain", chain), windows, 7, context, whole=True)
    for row, pair in zip(scores, windows):
        strands = [pair[:, 1057 - length // 2 :][:, :length]]
        strands.append(reverse_complement(pair)[:, 1056 - length // 2 :][:, :length])
        if length == WINDOW:
            strands = [pair, reverse_complement(pair)]
        for score, (other, tested) in zip(row, strands):
            expected = chain.log_likelihood(tested) - chain.log_likelihood(other)
            assert score == pytest.approx(expected, abs=2e-3)  # sums of 2,113 float32


@pytest.mark.parametrize("whole", (False, True))
def test_swapped_alleles_negate_the_score_and_strands_change_places(world, windows, whole):
    candidate = Candidate("Markov", Markov(world[0].bases("train"), 4))
    scores = score_variants(candidate, windows, 8, 64, whole)
    swapped = score_variants(candidate, windows[:, ::-1], 8, 64, whole)
    assert scores == pytest.approx(-swapped, abs=1e-4)
    assert abs(scores[:, 0] - scores[:, 1]).max() > 0.01
    odd = windows[:, :, 1:]  # the variant in the very middle, so of the other strand too
    scores = score_variants(candidate, odd, 8, 64, whole)
    turned = score_variants(candidate, reverse_complement(odd), 8, 64, whole)
    if whole:  # an even number of bases has no middle
        scores = score_variants(candidate, odd, 8, WINDOW, whole)
        turned = score_variants(candidate, reverse_complement(odd), 8, WINDOW, whole)
    assert scores == pytest.approx(turned[:, ::-1], abs=1e-3)


def test_a_short_context_reads_the_nearest_bases_before(windows):
    torch.manual_seed(0)
    gpt = GPT(GPTConfig(block_size=33, n_layer=1, n_head=1, n_embd=16))
    for p in gpt.parameters():
        torch.nn.init.normal_(p, std=0.3)
    candidate = Candidate("GPT", gpt.eval())
    scores = score_variants(candidate, windows, 8, context=33)
    assert scores.shape == (20, 2) and np.ptp(scores) > 0.1
    far = windows.copy()
    far[:, :, : 1057 - 32] = 0
    far[:, :, 1057 + 33 :] = 0
    assert score_variants(candidate, far, 8, context=33) == pytest.approx(scores, abs=1e-6)
    near = windows.copy()
    near[:, :, 1057 - 32] ^= 1
    near[:, :, 1057 + 32] ^= 1
    changed = score_variants(candidate, near, 8, context=33)
    assert (changed != scores).any(0).all()
    assert score_variants(candidate, windows, 8, 33, whole=True).shape == (20, 2)


def test_the_judgement(world, windows):
    variants = variants_of(*[("chr5", i, 0, 1, float(i % 5), i % 2 == 0) for i in range(20)])
    candidate = Candidate("Markov", Markov(world[0].bases("train"), 4))
    result = judge_variants(candidate, windows, variants, 8, 64)
    scores = score_variants(candidate, windows, 8, 64)
    assert result == {
        "one_strand": variant_metrics(scores[:, 0], variants),
        "both_strands": variant_metrics((scores[:, 0] + scores[:, 1]) / 2, variants),
    }
    uniform = judge_variants(Candidate("uniform", None), windows, variants)["one_strand"]
    assert (uniform["auroc"]["value"], uniform["auprc"]) == (0.5, 0.5)
    assert uniform["pearson"]["value"] is uniform["spearman"]["low"] is None


# ---- the metrics


def test_metrics_by_hand():
    """Sizes 3, 2, 2 of the significant ones; 2, 1 of the controls."""
    rows = [("chr1", i, 0, 1, effect, True) for i, effect in enumerate((4.0, 1.0, -1.0, math.nan))]
    rows[3:] = [("chr1", i, 0, 1, math.nan, False) for i in (3, 4)]
    result = variant_metrics(np.array([3.0, 2.0, -2.0, -2.0, 1.0]), variants_of(*rows))
    assert (result["variants"], result["significant"], result["correlated"]) == (5, 3, 3)
    assert result["share_significant"] == 0.6
    assert result["auroc"]["value"] == pytest.approx((2 + 1.5 + 1.5) / 6)
    assert result["auprc"] == pytest.approx(1 / 3 * 1 + 2 / 3 * 3 / 4)
    # scores less their mean 2, 1, -3 and effects less theirs 8/3, -1/3, -7/3
    assert result["pearson"]["value"] == pytest.approx(12 / math.sqrt(14 * 114 / 9))
    assert result["spearman"]["value"] == pytest.approx(1.0)


def test_metrics_against_naive_loops():
    rng = np.random.default_rng(1)
    variants = some_variants(rng, 120)
    scores = rng.normal(size=120).round(1)  # with ties
    result = variant_metrics(scores, variants)
    size = abs(scores)
    positive = size[variants.significant]
    control = size[~variants.significant]
    wins = [(a > b) + 0.5 * (a == b) for a in positive for b in control]
    assert result["auroc"]["value"] == pytest.approx(np.mean(wins))
    area = 0.0
    recall = 0.0
    for threshold in sorted(set(size), reverse=True):
        hits = (positive >= threshold).sum()
        area += (hits / len(positive) - recall) * hits / (size >= threshold).sum()
        recall = hits / len(positive)
    assert result["auprc"] == pytest.approx(area)
    known = variants.significant & ~np.isnan(variants.effect)
    x = scores[known]
    y = variants.effect[known]
    assert result["correlated"] == known.sum() < variants.significant.sum()
    assert result["pearson"]["value"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    naive = [[(v < a).sum() + ((v == a).sum() + 1) / 2 for a in v] for v in (x, y)]
    assert ranks(x).tolist() == naive[0]
    assert result["spearman"]["value"] == pytest.approx(np.corrcoef(*naive)[0, 1])


def test_swapping_alleles_and_effects_changes_no_metric():
    rng = np.random.default_rng(2)
    variants = some_variants(rng, 60)
    scores = rng.normal(size=60)
    expected = variant_metrics(scores, variants)
    variants.effect = -variants.effect
    turned = variant_metrics(-scores, variants)
    assert turned["auroc"] == expected["auroc"] and turned["auprc"] == expected["auprc"]
    for name in ("pearson", "spearman"):
        assert list(turned[name].values()) == pytest.approx(list(expected[name].values()))


def test_intervals_are_the_textbooks():
    r = with_interval(0.6, 28, 1.0)
    assert (r["low"], r["high"]) == pytest.approx((0.29237, 0.79510), abs=1e-5)
    wider = with_interval(0.6, 28, 1.06)
    assert wider["low"] < r["low"] < r["high"] < wider["high"]
    # by hand: 0.893 / 1.107 = 0.806685 and 1.594898 / 1.893 = 0.842524, so 3.12663 / 2958
    assert area_error(0.893, 51, 58) == pytest.approx(0.032512, abs=2e-6)
    assert area_error(1.0, 5, 5) == 0


def test_intervals_hold_the_truth_19_times_in_20():
    rng = np.random.default_rng(0)
    n = 400
    held = {"auroc": 0, "pearson": 0, "spearman": 0}
    truth = {"auroc": 0.76025, "pearson": 0.5, "spearman": 6 / math.pi * math.asin(0.25)}
    positive = np.arange(150) < 50
    for _ in range(n):
        found = {"auroc": auroc(rng.normal(size=150) + positive, positive)}
        x = rng.normal(size=60)
        y = 0.5 * x + math.sqrt(0.75) * rng.normal(size=60)
        found["pearson"] = with_interval(correlation(x, y), 60, 1.0)
        found["spearman"] = with_interval(correlation(ranks(x), ranks(y)), 60, 1.06)
        for name, result in found.items():
            held[name] += result["low"] < truth[name] < result["high"]
    assert all(0.91 < count / n < 0.985 for count in held.values()), held


def test_what_has_no_value_is_none():
    one = np.array([True])
    none = {"value": None, "low": None, "high": None}
    assert auroc(np.ones(1), one) == auroc(np.ones(1), ~one) == none
    assert average_precision(np.ones(1), ~one) is None
    assert average_precision(np.ones(1), one) == 1.0
    assert correlation(np.ones(1), np.ones(1)) is correlation(np.arange(3), np.ones(3)) is None
    assert with_interval(0.5, 3, 1.0) == {"value": 0.5, "low": None, "high": None}
    same = with_interval(1.0, 10, 1.0)
    assert same["value"] == 1.0 and 0.99 < same["low"] <= same["high"] <= 1.0
