"""score.py: log-likelihoods of sequences, regions and variants, saturation, embeddings."""

import dataclasses
import gzip
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data import Genome, decode, encode
from model import N, base_nll
from runtime.checkpoint import save_checkpoint
from scoring.likelihood import cut_windows, log_likelihoods
from scoring.variants import Variant, allele_windows, score_variants
from tests.conftest import ROOT, one_line_error, run, write_genome
from tests.test_sample import small

BLOCK = 64
FLANK = 31  # of a variant: (BLOCK - 1) / 2
COMPLEMENT = str.maketrans("ACGTN", "TGCAN")


class NoBar:
    def update(self, n):
        pass


@pytest.fixture(scope="module")
def model():
    return small(BLOCK, 0.3)


@pytest.fixture(scope="module")
def world(tmp_path_factory, model):
    """(folder of a checkpoint, {chromosome: letters})."""
    folder = tmp_path_factory.mktemp("score")
    rng = np.random.default_rng(1)
    letters = {name: "".join(rng.choice(list("ACGT"), 900)) for name in ("chr1", "chr21", "chr22")}
    letters["chr22"] = letters["chr22"][:400] + "N" * 60 + letters["chr22"][400:]
    splits = {
        split: {name: letters[name]}
        for split, name in (("train", "chr1"), ("val", "chr21"), ("test", "chr22"))
    }
    write_genome(folder / "genome", splits)
    names = {split: list(chroms) for split, chroms in splits.items()}
    checkpoint = dict(
        model=model.state_dict(),
        model_args=dataclasses.asdict(model.config),
        step=1,
        config={"dataset": str(folder / "genome")},
        data={"dataset": str(folder / "genome"), "fingerprint": "", **names},
    )
    save_checkpoint(folder / "ckpt.pt", checkpoint)
    return folder, letters


@pytest.fixture
def score(world):
    """score(*words) -> the process that has ended."""

    def start(*words):
        return run("score.py", f"--ckpt={world[0] / 'ckpt.pt'}", "--device=cpu", *words)

    return start


def rows_of(text):
    """[{column: cell}, ...] of a TSV with a header."""
    head, *lines = text.splitlines()
    return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]


def plain(model, letters):
    """Nats of a sequence that fits into the context, the plain way: a float."""
    bases = torch.from_numpy(encode(letters) & 7).long()[None]
    with torch.no_grad():
        return -float(base_nll(model, bases).double().sum())


def other_strand(letters):
    return letters.translate(COMPLEMENT)[::-1]


def two_strands(model, letters):
    return (plain(model, letters) + plain(model, other_strand(letters))) / 2


# ---- sequences


@pytest.mark.parametrize("size", [2, 7, 8])
def test_windows_give_each_base_once_after_half_a_context(size):
    for length in range(40):
        seen = []
        for start, end, first in cut_windows(length, size):
            assert end - start <= size
            assert first == 0 or first - start >= size / 2
            seen += range(first, end)
        assert seen == list(range(length))


def test_a_long_sequence_is_its_windows(model):
    """Each base is scored as by the model on the window that holds it, however windows are put
    together in batches.
    """
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 5, n).astype(np.uint8) for n in (200, 3, 64, 65, 0, 129)]
    for batch_size in (1, 4):
        found = log_likelihoods(model, sequences, batch_size, NoBar())
        for bases, nats in zip(sequences, found):
            assert len(nats) == len(bases)
            for start, end, first in cut_windows(len(bases), BLOCK):
                window = torch.from_numpy(bases[start:end]).long()[None]
                expected = -base_nll(model, window)[0, first - start :]
                torch.testing.assert_close(
                    torch.from_numpy(nats[first:end].copy()), expected, atol=1e-5, rtol=0
                )


def test_fasta(score, model, tmp_path):
    records = {"a": "ACGTTGCAAC", "b": "acgtnnGATTACA", "b again": "GGG", "none": "", "n": "NNN"}
    text = "".join(f">{name}\n{letters}\n" for name, letters in records.items())
    text = text.replace("b again", "b")  # the same name may come twice, one behind the other
    path = tmp_path / "s.fa"
    path.write_text(text)
    done = score(f"--fasta={path}")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert [row["name"] for row in rows] == ["a", "b", "b", "none", "n"]
    assert [row["known"] for row in rows] == ["10", "11", "3", "0", "0"]
    for row, letters in zip(rows[:3], records.values()):
        letters = letters.upper()
        forward = plain(model, letters)
        reverse = plain(model, other_strand(letters))
        assert float(row["sum_forward"]) == pytest.approx(forward, abs=1e-4)
        assert float(row["sum_reverse"]) == pytest.approx(reverse, abs=1e-4)
        assert float(row["sum"]) == pytest.approx((forward + reverse) / 2, abs=1e-4)
        assert float(row["mean"]) == pytest.approx(float(row["sum"]) / int(row["known"]), abs=1e-5)
        bits = -float(row["mean"]) / np.log(2)
        assert float(row["bits"]) == pytest.approx(bits, abs=1e-5)
    assert rows[3]["mean"] == rows[4]["mean"] == rows[4]["sum"] == "nan"

    packed = tmp_path / "s.fa.gz"
    packed.write_bytes(gzip.compress(text.encode()))
    assert score(f"--fasta={packed}").stdout == done.stdout
    out = tmp_path / "s.tsv"
    assert score(f"--fasta={path}", f"--out={out}", "--batch_size=2").returncode == 0
    again = rows_of(out.read_text())
    assert [float(row["sum"]) for row in again[:3]] == pytest.approx(
        [float(row["sum"]) for row in rows[:3]], abs=1e-5
    )
    one = rows_of(score(f"--fasta={path}", "--strand=reverse").stdout)
    assert list(one[0]) == ["name", "length", "known", "sum_reverse", "mean_reverse"] + [
        "bits_reverse"
    ]
    assert one[0]["sum_reverse"] == rows[0]["sum_reverse"]


def test_standard_input_and_output(world):
    words = ["score.py", f"--ckpt={world[0] / 'ckpt.pt'}", "--device=cpu", "--fasta", "-"]
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, input=">x\nACGT\n", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[1].startswith("x\t4\t4\t")


def test_a_region_is_the_sequence_that_it_names(score, world, tmp_path):
    letters = world[1]
    bed = "chr21\t100\t150\tone\n22\t380\t470\nchr21\t0\t200\tlong\n"
    (tmp_path / "r.bed").write_text(bed)
    done = score(f"--bed={tmp_path / 'r.bed'}")
    assert done.returncode == 0, done.stderr
    assert "pretraining saw none of these chromosomes, by their names" in done.stderr
    rows = rows_of(done.stdout)
    assert [row["name"] for row in rows] == ["one", ".", "long"]
    assert [row["chrom"] for row in rows] == ["chr21", "22", "chr21"]
    parts = [letters["chr21"][100:150], letters["chr22"][380:470], letters["chr21"][:200]]
    fasta = "".join(f">{i}\n{part}\n" for i, part in enumerate(parts))
    (tmp_path / "r.fa").write_text(fasta)
    same = rows_of(score(f"--fasta={tmp_path / 'r.fa'}").stdout)
    for column in ("known", "sum", "mean_reverse", "bits"):
        assert [row[column] for row in rows] == [row[column] for row in same]


def test_bits_of_bases_sum_to_the_regions(score, model, world, tmp_path):
    (tmp_path / "r.bed").write_text("chr22\t390\t480\nchr21\t30\t300\n")
    for flank in (0, 20):
        words = [f"--bed={tmp_path / 'r.bed'}", f"--flank={flank}"]
        rows = rows_of(score(*words).stdout)
        done = score(*words, "--per_base")
        assert "not in order" in done.stderr
        lines = [line.split("\t") for line in done.stdout.splitlines()]
        assert all(int(end) == int(start) + 1 for _, start, end, _ in lines)
        for row in rows:
            mine = [float(bits) for chrom, _, _, bits in lines if chrom == row["chrom"]]
            assert len(mine) == int(row["known"])
            total = float(row["sum"]) / -np.log(2)
            assert sum(mine) == pytest.approx(total, abs=1e-4 * len(mine))
        assert not any(400 <= int(start) < 460 for chrom, start, _, _ in lines if chrom == "chr22")
    # with flanks a base is scored after what stands before the region
    first = float(next(bits for chrom, at, _, bits in lines if (chrom, at) == ("chr21", "30")))
    before = world[1]["chr21"][10:31]
    behind = world[1]["chr21"][30:320]
    forward = plain(model, before) - plain(model, before[:-1])
    reverse = log_likelihoods(model, [encode(other_strand(behind)) & 7], 8, NoBar())[0][-1]
    assert first == pytest.approx((forward + reverse) / 2 / -np.log(2), abs=1e-3)


# ---- variants


def vcf(tmp_path, *rows):
    path = tmp_path / "v.vcf"
    head = "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\tQUAL\tFILTER\tINFO\n"
    path.write_text(head + "".join("\t".join(map(str, row)) + "\t.\t.\t.\n" for row in rows))
    return path


def changed(letter):
    return "CGTA"["ACGT".index(letter)]


def test_a_variants_score_is_the_difference_of_two_sequences(score, model, world, tmp_path):
    letters = world[1]["chr21"]
    rows = [("chr21", at + 1, f"rs{at}", letters[at], changed(letters[at])) for at in (200, 31, 5)]
    done = score(f"--vcf={vcf(tmp_path, *rows)}")
    assert done.returncode == 0, done.stderr
    found = rows_of(done.stdout)
    assert [row["id"] for row in found] == ["rs200", "rs31", "rs5"]
    for row in found:
        at = int(row["pos"]) - 1
        before = letters[max(0, at - FLANK) : at]
        behind = letters[at + 1 : at + 1 + FLANK]
        if at < FLANK:
            before = "N" * (FLANK - at) + before  # off the chromosome's start
        ref = before + row["ref"] + behind
        alt = before + row["alt"] + behind
        assert float(row["llr_forward"]) == pytest.approx(
            plain(model, alt) - plain(model, ref), abs=1e-4
        )
        expected = two_strands(model, alt) - two_strands(model, ref)
        assert float(row["llr"]) == pytest.approx(expected, abs=1e-4)


def test_indels_are_scored_at_equal_length(model, world):
    """Forward, both windows begin at the same base; reverse, both end at the same."""
    genome = Genome(world[0] / "genome")
    letters = world[1]["chr21"]
    deletion = Variant("chr21", 301, ".", letters[300:306], letters[300])
    windows = {
        name: list(map(decode, w)) for name, w in allele_windows(deletion, genome, 31).items()
    }
    assert windows["forward"][0] == letters[301 - 31 : 301 + 32]
    assert windows["forward"][1] == (letters[301 - 31 : 301] + letters[306:])[:63]
    assert windows["reverse"][0] == letters[306 + 31 - 63 : 306 + 31]
    assert windows["reverse"][1] == (letters[:301] + letters[306 : 306 + 31])[-63:]
    insertion = Variant("chr21", 301, ".", letters[300], letters[300] + "GATTA")
    scores = score_variants(model, [deletion, insertion], genome, 31, "both", 8, NoBar())
    expected = plain(model, windows["forward"][1]) - plain(model, windows["forward"][0])
    assert scores["forward"][0] == pytest.approx(expected, abs=1e-4)
    ref = letters[301 - 31 : 301 + 32]
    alt = letters[301 - 31 : 301] + "GATTA" + letters[301 : 301 + 27]
    assert scores["forward"][1] == pytest.approx(plain(model, alt) - plain(model, ref), abs=1e-4)
    assert deletion.note == insertion.note == ""


def test_the_other_strand_of_the_genome_changes_nothing(model, world, tmp_path):
    letters = world[1]["chr21"]
    n = len(letters)
    write_genome(tmp_path / "rc", {"test": {"chr21": other_strand(letters)}})
    there = Genome(world[0] / "genome")
    back = Genome(tmp_path / "rc")
    here = []
    mirrored = []
    # What is replaced shares no base with what replaces it, so that neither is anchored.
    for start, ref_length, alt in ((200, 1, "A"), (300, 4, "C"), (400, 1, "TTCAT"), (500, 3, "G")):
        ref = letters[start : start + ref_length]
        if alt[0] == ref[0] or alt[-1] == ref[-1]:
            alt = changed(ref[0]) if len(alt) == 1 else alt
        here.append(Variant("chr21", start + 1, ".", ref, alt))
        pos = n - start - ref_length + 1
        mirrored.append(Variant("chr21", pos, ".", other_strand(ref), other_strand(alt)))
    one = score_variants(model, here, there, 31, "both", 3, NoBar())
    two = score_variants(model, mirrored, back, 31, "both", 8, NoBar())
    assert np.isfinite(one["forward"]).all()
    np.testing.assert_allclose(one["forward"], two["reverse"], atol=1e-4)
    np.testing.assert_allclose(one["reverse"], two["forward"], atol=1e-4)


def test_variants_without_a_score_are_named(score, world, tmp_path):
    letters = world[1]["chr21"]
    ref = letters[99]
    good = changed(ref)
    rows = [
        ("21", 100, "good", ref, good),
        ("chr21", 100, "two", ref, f"{good},{changed(good)}"),
        ("chr21", 100, "wrong", good, ref),
        ("chr21", 100, "symbolic", ref, "<DEL>"),
        ("chr21", 100, "star", ref, "*"),
        ("chr21", 100, "iupac", ref, "R"),
        ("chr7", 100, "elsewhere", "A", "C"),
        ("chr21", 901, "off", "A", "C"),
        ("chr21", 0, "telomere", "A", "C"),
        ("chr21", 100, "long", ref, ref + "ACGT" * 10),
        ("chr21", 100, "same", ref, ref),
        ("chr22", 390, "gap", world[1]["chr22"][389:391], world[1]["chr22"][389]),
        ("chr21", 895, "end", letters[894:896], letters[894]),
    ]
    done = score(f"--vcf={vcf(tmp_path, *rows)}")
    assert done.returncode == 0, done.stderr
    found = rows_of(done.stdout)
    ids = ["good", "two", "two", *(row[2] for row in rows[2:])]
    assert [row["id"] for row in found] == ids
    notes = {row["id"]: row["note"] for row in found}
    assert notes["good"] == notes["two"] == "."
    assert found[0]["llr"] == found[1]["llr"] != found[2]["llr"]
    without = [row for row in found if row["note"] != "."]
    assert all(row["llr"] == row["llr_forward"] == "nan" for row in without) and len(without) == 11
    assert notes["star"] == "ALT is no sequence"
    assert notes["wrong"] == "REF is not the genome's"
    assert notes["elsewhere"] == "not on the genome"
    assert notes["off"] == notes["telomere"] == "off the end of the chromosome"
    assert "N" in notes["gap"] and "N" in notes["end"]
    assert "without a score" in done.stderr and "1 symbolic ALT" in done.stderr
    packed = tmp_path / "v.vcf.gz"
    packed.write_bytes(gzip.compress((tmp_path / "v.vcf").read_bytes()))
    assert score(f"--vcf={packed}").stdout == done.stdout


def test_mistakes_with_variants(score, world, tmp_path):
    letters = world[1]["chr21"]
    wrong = [("chr21", at, ".", changed(letters[at - 1]), letters[at - 1]) for at in (100, 200)]
    right = ("chr21", 300, ".", letters[299], changed(letters[299]))
    out = tmp_path / "o.tsv"
    done = score(f"--vcf={vcf(tmp_path, *wrong, right)}", f"--out={out}")
    one_line_error(done, "2 of 3", "assembly", "chr21:100")
    assert score(f"--vcf={vcf(tmp_path, *wrong, right)}").stdout == ""  # nor is anything printed
    assert not out.exists() and not list(tmp_path.glob("*.tmp"))
    one_line_error(score(f"--vcf={vcf(tmp_path)}"), "no variants")
    one_line_error(score(f"--vcf={vcf(tmp_path, ('chr9', 5, '.', 'A', 'C'))}"), "can be scored")
    for more in ("", "\tELEMENT7\t0\t.\t5\t10\t0\tdELS"):
        (tmp_path / "a.bed").write_text(f"chr21\t5\t10{more}\n")
        one_line_error(score(f"--vcf={tmp_path / 'a.bed'}"), "line 1", "CHROM", "a BED")
    one_line_error(score(f"--vcf={vcf(tmp_path, right)}", "--flank=40"), "--flank", "31")


# ---- saturation


def test_saturation_is_the_difference_of_two_sequences(score, model, world, tmp_path):
    letters = world[1]["chr22"]
    start, end = 340, 404  # several chunks, and into a gap
    after = 8
    before = BLOCK // 2
    chunk = 22  # 64 bases in three, since at most BLOCK - before - after = 24 fit
    done = score(f"--saturate=chr22:{start}-{end}", f"--flank={after}", "--batch_size=3")
    assert done.returncode == 0, done.stderr
    rows = rows_of(done.stdout)
    assert len(rows) == 3 * (400 - start)
    assert [int(row["start"]) for row in rows[::3]] == list(range(start, 400))

    def window(letters, at, low, high):
        """The context of base `at` in a region [low, high), as it is cut, and its place in it."""
        first = low + (at - low) // chunk * chunk
        return letters[first - before : at + 1 + after], before + at - first

    backwards = other_strand(letters)
    n = len(letters)
    for row in rows[::7]:
        at = int(row["start"])
        ref, place = window(letters, at, start, end)
        assert ref[place] == row["ref"] == letters[at]
        alt = ref[:place] + row["alt"] + ref[place + 1 :]
        forward = plain(model, alt) - plain(model, ref)
        assert float(row["llr_forward"]) == pytest.approx(forward, abs=2e-4)
        ref, place = window(backwards, n - 1 - at, n - end, n - start)
        alt = ref[:place] + other_strand(row["alt"]) + ref[place + 1 :]
        reverse = plain(model, alt) - plain(model, ref)
        assert float(row["llr_reverse"]) == pytest.approx(reverse, abs=2e-4)
        assert float(row["llr"]) == pytest.approx((forward + reverse) / 2, abs=2e-4)


def test_a_fasta_without_dna_is_refused(score, tmp_path):
    (tmp_path / "bare.fa").write_text(">a\n>b\n\n")
    one_line_error(score(f"--fasta={tmp_path / 'bare.fa'}"), "no DNA")


def test_saturation_in_16_bits_is_about_the_same(score):
    locus = "--saturate=chr22:340-380"
    exact, rounded = score(locus), score(locus, "--dtype=bfloat16")
    assert exact.returncode == 0 and rounded.returncode == 0, rounded.stderr
    scores = [[float(row["llr"]) for row in rows_of(done.stdout)] for done in (exact, rounded)]
    assert len(scores[0]) == 120 and np.corrcoef(scores)[0, 1] > 0.99


# ---- embeddings


def test_embeddings(score, model, world, tmp_path):
    rng = np.random.default_rng(2)
    long = "".join(rng.choice(list("ACGT"), 150))
    records = {"a": "ACGTTGCAAC", "b": "ACGTNNGATTACA", "long": long}
    path = tmp_path / "s.fa"
    path.write_text("".join(f">{name}\n{letters}\n" for name, letters in records.items()))

    def states(letters, layer=None):
        tokens = torch.from_numpy(encode(letters) & 7).long()[None]
        with torch.no_grad():
            return model.states(F.pad(tokens, (1, 0), value=N), layer=layer)[0, 1:].numpy()

    out = tmp_path / "e.npy"
    words = [f"--fasta={path}", "--embed", f"--out={out}"]
    done = score(*words)
    assert done.returncode == 0, done.stderr
    found = np.load(out)
    assert found.shape == (3, 32) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], states(records["a"]).mean(0), atol=1e-5)
    known = [i for i, letter in enumerate(records["b"]) if letter != "N"]
    np.testing.assert_allclose(found[1], states(records["b"])[known].mean(0), atol=1e-5)
    names = rows_of((tmp_path / "e.names.tsv").read_text())
    assert [(row["name"], row["first_row"], row["rows"]) for row in names] == [
        ("a", "0", "1"),
        ("b", "1", "1"),
        ("long", "2", "1"),
    ]

    assert score(*words, "--pool=none", "--layer=1").returncode == 0
    found = np.load(out)
    names = rows_of((tmp_path / "e.names.tsv").read_text())
    assert [row["first_row"] for row in names] == ["0", "10", "23"] and len(found) == 173
    np.testing.assert_allclose(found[:10], states(records["a"], 1), atol=1e-5)
    for start, end, first in cut_windows(150, BLOCK - 1):
        expected = states(long[start:end], 1)[first - start :]
        np.testing.assert_allclose(found[23 + first : 23 + end], expected, atol=1e-5)

    assert score(*words, "--pool=last", "--strand=both").returncode == 0
    expected = (states(records["a"])[-1] + states(other_strand(records["a"]))[-1]) / 2
    np.testing.assert_allclose(np.load(out)[0], expected, atol=1e-5)
    assert score(*words, "--pool=none", "--strand=both").returncode == 0
    backwards = states(other_strand(records["a"]))[::-1]
    np.testing.assert_allclose(np.load(out)[:10], (states(records["a"]) + backwards) / 2, atol=1e-5)


def test_embeddings_do_not_replace_what_is_read(score, tmp_path):
    bed = tmp_path / "e.names.tsv"
    bed.write_text("chr21\t100\t130\n")
    done = score(f"--bed={bed}", "--embed", f"--out={tmp_path / 'e.npy'}")
    one_line_error(done, "is a file that is read")


def test_embeddings_of_regions_leave_their_flanks_out(score, world, tmp_path):
    (tmp_path / "r.bed").write_text("chr21\t100\t130\n")
    out = tmp_path / "e.npy"
    words = [f"--bed={tmp_path / 'r.bed'}", "--embed", f"--out={out}", "--strand=reverse"]
    assert score(*words, "--pool=none", "--flank=10").returncode == 0
    of_bases = np.load(out)
    assert of_bases.shape == (30, 32)
    assert score(*words, "--pool=mean", "--flank=10").returncode == 0
    np.testing.assert_allclose(np.load(out)[0], of_bases.mean(0), atol=1e-5)
    assert score(*words, "--pool=last", "--flank=10").returncode == 0
    np.testing.assert_allclose(np.load(out)[0], of_bases[0], atol=1e-5)


# ---- mistakes


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "--fasta"),
        (["--fasta=a", "--bed=b"], "not 2"),
        (["--fasta=nowhere.fa"], "nowhere.fa"),
        (["--fasta=.."], "folder"),
        (["--fasta=a", "--flank=5"], "--flank"),
        (["--fasta=a", "--dataset=b"], "--dataset"),
        (["--vcf=a", "--per_base"], "--per_base"),
        (["--fasta=a", "--embed"], "--out"),
        (["--fasta=a", "--embed", "--per_base", "--out=a.npy"], "both"),
        (["--fasta=a", "--strand=up"], "--strand"),
        (["--fasta=a", "--embed", "--out=a.npy", "--layer=3"], "--layer"),
        (["--fasta=a", "--pool=max"], "--pool"),
        (["--fasta=a", "--pool=last"], "of --embed"),
        (["--fasta=a", "--batch_size=-3"], "--batch_size"),
        (["--saturate=chr21"], "locus"),
        (["--saturate=chr21:5-3"], "behind the start"),
        (["--saturate=chr21:890-910"], "ends at 900"),
        (["--saturate=chr22:410-420"], "gap"),
        (["--saturate=chr99:4-9"], "chr99"),
        (["--saturate=chr21:4-9", "--flank=30"], "--flank"),
    ],
)
def test_a_mistake_is_one_line(score, words, said):
    one_line_error(score(*words), said)


def test_files_that_are_none(score, world, tmp_path):
    out = tmp_path / "o.tsv"
    fasta = tmp_path / "x.fa"
    fasta.write_text("")
    one_line_error(score(f"--fasta={fasta}", f"--out={out}"), "empty")
    fasta.write_text(">a\nACGT\n>b\nMKLE\n")
    one_line_error(score(f"--fasta={fasta}", f"--out={out}"), "b has", "not DNA")
    assert score(f"--fasta={fasta}").stdout == ""
    fasta.write_bytes(gzip.compress(b">a\nACGT\n")[:-6])
    one_line_error(score(f"--fasta={fasta}", f"--out={out}"), "gzip")
    bed = tmp_path / "x.bed"
    bed.write_text("")
    one_line_error(score(f"--bed={bed}", f"--out={out}"), "no region", "no rows")
    bed.write_text("chr21\t800\t1000\nchr77\t1\t2\nchr21\t7\t7\n")
    one_line_error(score(f"--bed={bed}", f"--out={out}"), "no region", "over the end", "chr77")
    bed.write_text("chr21\t800\tx\n")
    one_line_error(score(f"--bed={bed}", f"--out={out}"), "line 1")
    bed.write_text("chr21\t800\t1000\nchr21\t0\t9\nchr77\t1\t2\n")
    one_line_error(score(f"--bed={bed}", "--out=no/where.tsv"), "no such folder")
    one_line_error(score(f"--bed={bed}", f"--out={bed}"), "is a file that is read")
    one_line_error(score(f"--bed={bed}", f"--out={tmp_path}"), "is a folder")
    os.mkfifo(tmp_path / "pipe")
    one_line_error(score(f"--bed={bed}", f"--out={tmp_path / 'pipe'}"), "no regular file")
    (tmp_path / "link").symlink_to(out)
    assert not out.exists() and not list(tmp_path.glob("*.tmp"))
    done = score(f"--bed={bed}", f"--out={tmp_path / 'link'}")
    assert done.returncode == 0 and "1 over the end" in done.stderr and "chr77" in done.stderr
    assert (tmp_path / "link").is_symlink()
    bed.write_text("chr21\ta\tb\n")
    one_line_error(score(f"--bed={bed}"), "no region", "header")
    assert len(out.read_text().splitlines()) == 2


def test_the_picture_of_a_saturation(score, tmp_path):
    table = tmp_path / "s.tsv"
    assert score("--saturate=chr22:380-480", f"--out={table}").returncode == 0
    picture = tmp_path / "s.png"
    done = run("figures/saturation.py", table, picture)
    assert done.returncode == 0 and picture.read_bytes().startswith(b"\x89PNG"), done.stderr
    one_line_error(run("figures/saturation.py", table, tmp_path / "none/s.png"), "cannot write")
    table.write_text("chrom\tstart\n")
    one_line_error(run("figures/saturation.py", table, picture), "--saturate")
