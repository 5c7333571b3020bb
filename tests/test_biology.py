"""experiments/biology.py and experiments/gtf.py: sites of genes, their controls, their scores."""

import dataclasses
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from data import ALPHABET, Genome, decode, encode, reverse_complement
from experiments import biology
from experiments.gtf import add_longest_frames, is_complete, read_transcripts
from markov import Markov
from runtime.checkpoint import save_checkpoint
from scoring.variants import Variant, score_variants
from tests.conftest import write_genome
from tests.test_sample import small
from tests.test_score import NoBar

FLANK = 30
ENDS = 6000  # bases at either end of a chromosome without a gene
BEFORE_GT = "CCCCTTTT"  # what the made-up genes' exons end with
BEFORE_AG = "CTCTCTCT"  # what their introns end with, before AG


# ---- the reader

GTF = """#!genome-build made up
chr1\tX\tgene\t101\t260\t.\t+\t.\tgene_id "up"; transcript_id "";
chr1\tX\texon\t101\t130\t.\t+\t.\tgene_id "up"; transcript_id "up.1"; note "a; b";
chr1\tX\texon\t201\t260\t.\t+\t.\tgene_id "up"; transcript_id "up.1";
chr1\tX\tCDS\t111\t130\t.\t+\t0\tgene_id "up"; transcript_id "up.1";
chr1\tX\tCDS\t201\t237\t.\t+\t0\tgene_id "up"; transcript_id "up.1";
chr1\tX\tstop_codon\t238\t240\t.\t+\t0\tgene_id "up"; transcript_id "up.1";
chr1\tX\texon\t501\t560\t.\t-\t.\tgene_id "down"; transcript_id "down.1";
chr1\tX\texon\t401\t430\t.\t-\t.\tgene_id "down"; transcript_id "down.1";
chr1\tX\tCDS\t501\t550\t.\t-\t0\tgene_id "down"; transcript_id "down.1";
chr1\tX\tCDS\t414\t430\t.\t-\t0\tgene_id "down"; transcript_id "down.1";
chr1\tX\tstop_codon\t411\t413\t.\t-\t0\tgene_id "down"; transcript_id "down.1";
"""
GFF = """##gff-version 3
chr1\tX\tgene\t101\t260\t.\t+\t.\tID=up
chr1\tX\tmRNA\t101\t260\t.\t+\t.\tID=up.1;Parent=up
chr1\tX\texon\t101\t130\t.\t+\t.\tID=e1;Parent=up.1
chr1\tX\texon\t201\t260\t.\t+\t.\tID=e2;Parent=up.1
chr1\tX\tCDS\t111\t130\t.\t+\t0\tID=c1;Parent=up.1
chr1\tX\tCDS\t201\t240\t.\t+\t0\tID=c1;Parent=up.1
chr1\tX\texon\t401\t430\t.\t-\t.\tID=e3;Parent=down.1
chr1\tX\texon\t501\t560\t.\t-\t.\tID=e4;Parent=down.1
chr1\tX\tCDS\t411\t430\t.\t-\t0\tID=c2;Parent=down.1
chr1\tX\tCDS\t501\t550\t.\t-\t0\tID=c2;Parent=down.1
chr1\tX\tmRNA\t401\t560\t.\t-\t.\tID=down.1;Parent=down
##FASTA
>chr1
ACGT
"""


@pytest.mark.parametrize("text", [GTF, GFF])
def test_places_on_both_strands(tmp_path, text):
    path = tmp_path / "genes"
    path.write_text(text)
    up, down = read_transcripts(path)
    assert (up.gene, up.chrom, up.strand) == ("up", "chr1", "+")
    assert up.exons == [(100, 130), (200, 260)] and up.cds == [(110, 130), (200, 240)]
    assert up.splice_sites() == ([130], [198])
    assert up.coding()[:3].tolist() == [110, 111, 112]
    assert up.coding()[-3:].tolist() == [237, 238, 239]
    assert (down.gene, down.strand) == ("down", "-")
    assert down.exons == [(400, 430), (500, 560)] and down.cds == [(410, 430), (500, 550)]
    assert down.splice_sites() == ([498], [430])
    assert down.coding()[:3].tolist() == [549, 548, 547]
    assert down.coding()[-3:].tolist() == [412, 411, 410]


@pytest.mark.parametrize(
    "text, words", [("chr1\t5\t9\n", "line 1"), ("chr1\tX\tgene\t1\t9\t.\t+\t.\tID=a\n", "exons")]
)
def test_other_files_are_refused(tmp_path, text, words):
    path = tmp_path / "genes"
    path.write_text(text)
    with pytest.raises(SystemExit, match=words):
        read_transcripts(path)


# ---- a made-up genome


def random_letters(rng, n):
    return "".join(rng.choice(list("ACGT"), n))


def codons(rng, n):
    """n codons, none of them a stop codon."""
    found = []
    while len(found) < n:
        codon = random_letters(rng, 3)
        if codon not in ("TAA", "TAG", "TGA"):
            found.append(codon)
    return "".join(found)


def make_gene(rng):
    """(letters, [(start, end) of each exon]) of a gene of three exons, all of them coding."""
    letters = ""
    exons = []
    for first, last in (("ATG", "C" + BEFORE_GT), ("", "C" + BEFORE_GT), ("", "TAA")):
        if exons:
            letters += "GT" + random_letters(rng, 400) + BEFORE_AG + "AG"
        exon = first + codons(rng, 30) + last
        exons.append((len(letters), len(letters) + len(exon)))
        letters += exon
    return letters, exons


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(folder of the genome, GTF of its genes): 40 genes on chr2, which is held out; every other
    one is on the reverse strand.
    """
    rng = np.random.default_rng(1)
    folder = tmp_path_factory.mktemp("biology")
    letters = random_letters(rng, ENDS)
    rows = []
    for i in range(40):
        gene, exons = make_gene(rng)
        strand = "+-"[i % 2]
        if strand == "-":
            gene = decode(reverse_complement(encode(gene)))
            exons = [(len(gene) - end, len(gene) - start) for start, end in exons]
        for start, end in exons:
            place = f"{len(letters) + start + 1}\t{len(letters) + end}"
            for kind in ("exon", "CDS"):
                row = f"2\tX\t{kind}\t{place}\t.\t{strand}\t.\t"
                rows.append(f'{row}gene_id "g{i}"; transcript_id "t{i}";\n')
        letters += gene + random_letters(rng, 300)
    letters = letters + random_letters(rng, ENDS)
    masked = list(letters)
    for start in range(0, len(masked), 300):
        masked[start : start + 100] = letters[start : start + 100].lower()
    splits = {"train": {"chr1": random_letters(rng, 20000)}, "test": {"chr2": "".join(masked)}}
    write_genome(folder / "genome", splits)
    (folder / "genes.gtf").write_text("".join(rows))
    return folder / "genome", folder / "genes.gtf"


@pytest.fixture(scope="module")
def strips(world):
    genome = Genome(world[0])
    return biology.make_strips(genome, read_transcripts(world[1]), ["test"], FLANK)


@pytest.fixture(scope="module")
def pairs(strips):
    return biology.make_pairs(strips, 50, seed=1)


def test_longest_frame_is_the_planted_one(world):
    genome = Genome(world[0])
    transcripts = read_transcripts(world[1])
    planted = [transcript.cds for transcript in transcripts]
    for transcript in transcripts:
        transcript.cds = []
    add_longest_frames(transcripts, genome)
    assert [transcript.cds for transcript in transcripts] == planted


def test_sites_are_those_planted(strips):
    assert len(strips) == 40
    assert biology.check_junctions(strips, "genes.gtf") == (1.0, 160)
    for strip in strips:
        assert is_complete(strip.bases[strip.cds])
        counts = {kind: len(found) for kind, found in strip.sites.items()}
        assert counts == {"donor": 2, "acceptor": 2, "start codon": 1, "stop codon": 1}


def letters_around(place):
    """A Place with its neighbours, lower-case where the genome is."""
    return decode(place.strip.bases[place.at - 1 : place.at + place.length + 1])


def marked(place, marks):
    """The marks of a Place's bases on the chromosome."""
    ends = [place.strip.place(place.at), place.strip.place(place.at + place.length - 1)]
    return marks[place.strip.chrom][min(ends) : max(ends) + 1]


def test_controls_match_and_are_no_sites(world, strips, pairs):
    marks = biology.mark_bases(Genome(world[0]), read_transcripts(world[1]))
    for kind, some in pairs.items():
        assert some, kind
        places = [(c.strip.chrom, c.strip.strand, c.strip.place(c.at)) for _, c in some]
        if kind not in biology.CHANGED:
            assert len(set(places)) == len(places)
        for site, control in some:
            assert letters_around(site) == letters_around(control)
            assert site.changes == control.changes
            if kind in biology.CHANGED:
                continue
            assert not marked(control, marks).any()
            if kind in biology.SPLICE:
                inside = control.strip.start + biology.MARGIN + FLANK
                outside = control.strip.end - biology.MARGIN - FLANK
                assert inside <= control.strip.place(control.at) < outside


def protein_letters(place):
    """The amino acid of the codon that a Place is in: as it is, and changed."""
    cds = place.strip.cds
    i = int(np.flatnonzero(cds == place.at)[0])
    codon = (place.strip.bases[cds[i // 3 * 3 : i // 3 * 3 + 3]] & 7).astype(int)
    before = chr(biology.AMINO[codon @ [16, 4, 1]])
    codon[i % 3] = place.changes[0][1]
    return before, chr(biology.AMINO[codon @ [16, 4, 1]])


def test_what_a_change_does_to_the_protein(pairs):
    for kind in biology.CHANGED:
        for site, control in pairs[kind]:
            before, after = protein_letters(site)
            assert before != after and (after == "*") == (kind == "nonsense")
            before, after = protein_letters(control)
            assert before == after
    spelled = {"ATG": "M", "TGG": "W", "TAA": "*", "GCT": "A", "CGA": "R", "AGC": "S", "TTC": "F"}
    for codon, letter in spelled.items():
        assert chr(biology.AMINO[encode(codon).astype(int) @ [16, 4, 1]]) == letter


def test_the_same_seed_gives_the_same_pairs(strips, pairs):
    def places(some):
        return [(place.strip.gene, place.at) for pair in some for place in pair]

    again = biology.make_pairs(strips, 50, seed=1)
    other = biology.make_pairs(strips, 50, seed=2)
    assert all(places(again[kind]) == places(pairs[kind]) for kind in pairs)
    assert places(other["donor"]) != places(pairs["donor"])


# ---- the scores


class Knowing:
    """A model that knows what GT and AG follow, two words, and nothing else."""

    config = SimpleNamespace(block_size=2 * FLANK + 3)
    cos = torch.zeros(0)

    def __init__(self, before_gt, before_ag):
        self.known = ((before_gt, "GT"), (before_ag, "AG"))

    def __call__(self, tokens):
        logits = torch.zeros(*tokens.shape, 4)
        for before, word in self.known:
            for k in range(2):
                read = torch.from_numpy(encode(before + word[:k])).long()
                windows = F.pad(tokens, (len(read) - 1, 0), value=4).unfold(1, len(read), 1)
                logits[..., ALPHABET.index(word[k])] += 3.0 * (windows == read).all(2)
        return logits


def test_who_knows_is_told_from_who_does_not(pairs):
    splice = {kind: pairs[kind] for kind in biology.SPLICE}
    knowing = biology.judge_all(Knowing(BEFORE_GT, BEFORE_AG), splice, FLANK, 64, "knowing")
    ignorant = biology.judge_all(Knowing("GATTACAC", "CATGATCC"), splice, FLANK, 64, "ignorant")
    for kind in splice:
        assert knowing[kind]["sites"] == 50 and 20 < knowing[kind]["genes"] <= 40
        assert knowing[kind]["auroc"]["low"] > 0.9
        assert knowing[kind]["nats"]["high"] < -0.5
        assert ignorant[kind]["auroc"]["low"] < 0.5 < ignorant[kind]["auroc"]["high"]
        assert abs(ignorant[kind]["nats"]["value"]) < 0.4


def test_order_1_knows_nothing_of_matched_pairs(world, pairs):
    markov = biology.as_model(Markov(Genome(world[0]).bases("train"), 1))
    for row in biology.judge_all(markov, pairs, 1, 64, "order 1").values():
        assert row["auroc"]["value"] == pytest.approx(0.5, abs=0.02)
        assert row["nats"]["value"] == pytest.approx(0, abs=1e-6)


def test_score_is_that_of_variants(world, pairs):
    genome = Genome(world[0])
    markov = biology.as_model(Markov(genome.bases("train"), 3))
    for site, _ in pairs["start codon"][:6]:
        variants = []
        for which, new in site.changes:
            place = site.strip.place(site.at + which)
            alt = ALPHABET[new if site.strip.strand == "+" else 3 - new]
            ref = decode(genome.fetch("chr2", place, place + 1) & 7)
            variants.append(Variant("chr2", place + 1, "", ref, alt))
        scores = score_variants(markov, variants, genome, 5, "both", 64, NoBar())
        expected = np.mean([scores["forward"], scores["reverse"]])
        found = biology.score(markov, [site], 5, 64, NoBar())
        assert found[0] == pytest.approx(expected, abs=1e-5)


# ---- the command


def command(monkeypatch, world, folder, *words):
    """Run it with a small model's checkpoint, on these words of a command line."""
    path = folder / "ckpt.pt"
    if not path.exists():
        model = small(64, 0.3)
        data = {"dataset": str(world[0]), "fingerprint": "", "train": ["chr1"], "val": []}
        checkpoint = dict(
            model=model.state_dict(),
            model_args=dataclasses.asdict(model.config),
            step=1,
            config={"dataset": str(world[0])},
            data=data,
        )
        save_checkpoint(path, checkpoint)
    words = [f"--ckpt={path}", f"--gtf={world[1]}", "--max_sites=3", "--order=2", *words]
    monkeypatch.setattr(sys, "argv", ["biology", "--flank=30", *words])
    biology.main()


def test_command(monkeypatch, world, tmp_path, capsys):
    command(monkeypatch, world, tmp_path, f"--out={tmp_path / 'x.json'}")
    printed = capsys.readouterr().out
    assert "100.0% of 160 ends of introns" in printed and "pretraining saw none of these" in printed
    for kind in biology.KINDS:
        assert f"\n{kind}" in printed
    found = json.loads((tmp_path / "x.json").read_text())
    assert set(found["model"]) == set(biology.KINDS) and set(found["markov"]) == {"1", "2"}


def test_bad_input_is_one_line(monkeypatch, world, tmp_path):
    shifted = tmp_path / "shifted.gtf"
    rows = [line.split("\t") for line in world[1].read_text().splitlines()]
    moved = [[*row[:3], str(int(row[3]) + 7), str(int(row[4]) + 7), *row[5:]] for row in rows]
    shifted.write_text("\n".join("\t".join(row) for row in moved))
    for words, message in (
        ([f"--gtf={shifted}"], "GT or AG"),
        (["--gtf=nowhere.gtf"], "nowhere.gtf is not there"),
        (["--splits", "val"], "no gene on the val split"),
        (["--flank=200"], "give at most 30"),
        (["--order=31"], "give at most --flank"),
        (["--max_sites=0"], "1 or more"),
    ):
        with pytest.raises(SystemExit, match=message):
            command(monkeypatch, world, tmp_path, *words)
