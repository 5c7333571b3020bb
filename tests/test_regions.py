"""Training on regions of a BED, and the loss in regulatory elements: against plain loops, and from
the command line.
"""

import math

import numpy as np
import pytest
import torch

import train as script
from data import ELEMENT, FLANK, Genome, Mixture, N, Regions, Windows, mark_elements, widen
from data.corpus import open_genomes
from runtime.team import Team
from tests.conftest import one_line_error, random_dna, run, write_genome
from tests.test_train import TINY, cut, load, rows, same_run

BED = """chr1\t1000\t1100\ta\t0\t.\t0\t0\t0\tPLS
chr1\t1150\t1200\tb\t0\t.\t0\t0\t0\tdELS
chr2\t500\t800\tc\t0\t.\t0\t0\t0\tPLS
chr1\t8990\t9060\td\t0\t.\t0\t0\t0\tdELS
chr21\t100\t200\te\t0\t.\t0\t0\t0\tPLS
chr21\t3000\t3100\te\t0\t.\t0\t0\t0\tPLS
chr22\t100\t200\tf\t0\t.\t0\t0\t0\tPLS
chrUn\t1\t2\tg\t0\t.\t0\t0\t0\tPLS
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A prepared genome with elements: chr1 (with a gap) and chr2 train, chr21 val, chr22 test."""
    rng = np.random.default_rng(5)
    chr1 = random_dna(rng, 9000) + "N" * 100 + random_dna(rng, 3000)
    splits = {
        "train": {"chr1": chr1, "chr2": random_dna(rng, 5000)},
        "val": {"chr21": random_dna(rng, 6000)},
        "test": {"chr22": random_dna(rng, 4000)},
    }
    path = write_genome(tmp_path_factory.mktemp("regions"), splits)
    (path / "ccre.bed").write_text(BED)
    return path


@pytest.fixture
def bed(tmp_path):
    """bed(text): the path of a BED that holds it."""

    def write(text):
        path = tmp_path / "some.bed"
        path.write_text(text)
        return path

    return write


def train(folder, out, *words, **kwargs):
    return run("train.py", f"--dataset={folder}", f"--out_dir={out}", *TINY, *words, **kwargs)


def loader_of(folder, *words, rank=0, world=1):
    words = [*TINY, f"--dataset={folder}", "--regions=auto", *words]
    script.configure(vars(script), words)
    return script.Loader(open_genomes([script.dataset]), Team(rank, world))


def test_regions_lie_where_the_bed_says(folder):
    genome = Genome(folder)
    found = Regions(folder / "ccre.bed", genome).by_kind("train")
    assert {kind: len(places) for kind, places in found.items()} == {"PLS": 2, "dELS": 2}
    bases = genome.bases("train")
    (a, b), (c, d) = found["PLS"]
    assert bases[a:b].tolist() == genome.fetch("chr1", 1000, 1100).tolist()
    assert bases[c:d].tolist() == genome.fetch("chr2", 500, 800).tolist()


@pytest.mark.parametrize("seed", range(20))
def test_widened_regions_are_those_of_a_plain_loop(seed):
    """Stretches of 1,000 bases, every other one with a gap of 50 behind it, random places: each
    base that is within `flank` of a place, and in a stretch that the place is in, is in exactly one
    of the new stretches, and none of these is in two of the old ones.
    """
    rng = np.random.default_rng(seed)
    stretches = [
        (i * 1050 + shift, i * 1050 + shift + 1000) for i in (0, 2, 4) for shift in (50, 1050)
    ]
    stretches = np.array(stretches)
    low = rng.integers(0, 6200, 12)
    places = np.stack((low, low + rng.integers(1, 90, 12)), 1)
    flank = int(rng.integers(0, 60))
    wanted = np.zeros(6400, int)
    for a, b in places:
        for low, high in stretches:
            if a < high and b > low:
                wanted[max(a - flank, low) : min(b + flank, high)] = 1
    found = np.zeros(6400, int)
    for a, b in widen(places, flank, stretches):
        assert sum(low <= a < b <= high for low, high in stretches) == 1
        found[a:b] += 1
    assert found.tolist() == wanted.tolist()


def test_a_pass_reads_each_base_of_a_region_once(folder):
    genome = Genome(folder)
    places = Regions(folder / "ccre.bed", genome).by_kind("train")["dELS"]
    stretches = widen(places, 10, genome.stretches("train"))
    windows = Windows(genome.bases("train"), stretches, 64, seed=1, rc=0, jitter=10)
    starts = set()
    for epoch in range(30):
        read = windows.places_of(epoch * windows.per_epoch, windows.per_epoch)
        seen = np.zeros(len(windows.bases), int)
        for start, low, high, _ in zip(*read):
            seen[max(start, low) : min(start + 64, high)] += 1
            starts.add(int(start))
        for a, b in places:
            held = [(max(a, lo), min(b, hi)) for lo, hi in genome.stretches("train")]
            assert all((seen[lo:hi] == 1).all() for lo, hi in held if lo < hi)
        assert seen.max() == 1
    assert len(starts) > 20  # jittered


def test_on_either_strand_a_window_begins_within_the_flank():
    """A stretch of 50 bases in windows of 64, up to 10 of which are dropped: at the beginning of
    the strand that is read, and what is left is followed by N.
    """
    bases = np.arange(100, dtype=np.uint8) % 4
    for rc, whole in ((0, bases[20:70]), (1, 3 - bases[20:70][::-1])):
        windows = Windows(bases, np.array([(20, 70)]), 64, seed=3, rc=rc, jitter=10)
        dropped = set()
        for row in windows.read(0, 200):
            n = int((row != N).sum())
            assert row[:n].tolist() == whole[50 - n :].tolist() and (row[n:] == N).all()
            dropped.add(50 - n)
        assert dropped == set(range(11))


@pytest.mark.parametrize("turn", (0, 7, 10**6))
def test_from_a_step_on_the_shares_are_others(turn):
    """Each window is read once and in order, whatever the step at which the shares change."""

    class Counter:
        def __init__(self):
            self.next = 0

        def read(self, first, count):
            assert first == self.next
            self.next += count
            return np.full((count, 1), 0, np.uint8)

    parts = [Counter(), Counter(), Counter()]
    mixture = Mixture(parts, [1.0, 0.0, 0.0], 10, [0.4, 0.3, 0.3], turn)
    for step in range(20):
        assert mixture.before(step) == [part.next for part in parts]
        assert len(mixture.batch(step)) == 10
    late = max(0, 20 - turn) * 10
    assert [part.next for part in parts[1:]] == [round(0.3 * late)] * 2


def test_held_out_regions_are_never_read(folder):
    """Of all windows of a run on regions alone, each lies on a region of a training chromosome."""
    loader = loader_of(folder, "--region_share=1", "--region_from=0", "--flank=20", "--rc=0")
    genome = Genome(folder)
    train_bases = genome.bases("train") & 7
    allowed = np.zeros(len(train_bases), bool)
    for places in Regions(folder / "ccre.bed", genome).by_kind("train").values():
        for a, b in places:
            allowed[a - 20 : b + 20] = True
    assert loader.mixture.before(10)[0] == 0 and loader.names[1:] == ["regions PLS", "regions dELS"]
    classes = loader.mixture.before(10)[1:]
    assert classes[0] == classes[1]  # uniform over classes
    together = loader_of(folder, "--region_share=0.5", "--flank=20", "--region_classes=False")
    assert together.names[1:] == ["regions"] and len(together.mixture.sources) == 2
    assert together.mixture.sources[1].per_epoch == sum(
        source.per_epoch for source in loader.mixture.sources[1:]
    )
    together.thread.shutdown()
    for windows in loader.mixture.sources[1:]:
        starts, low, high, _ = windows.places_of(0, 50)
        for start, lo, hi in zip(starts, low, high):
            assert allowed[max(start, lo) : min(start + 64, hi)].all()
    loader.thread.shutdown()


@pytest.mark.parametrize("world", (2, 3))
def test_all_processes_together_read_the_windows_of_one(folder, world):
    words = ("--region_from=0.5", "--region_share=0.5", "--flank=20", "--batch_tokens=640")
    alone = loader_of(folder, *words)
    team = [loader_of(folder, *words, rank=rank, world=world) for rank in range(world)]
    for step in (0, 2, 3, 5):
        read = []
        for loader in team:
            micro_batches, weight_sum, bases = loader.read(step)
            for raw in micro_batches:
                padded = torch.nn.functional.pad(raw, (0, 64 - raw.size(1)), value=N)
                read += [row for row in padded.tolist() if any(base & 7 < N for base in row)]
            assert bases == (alone.mixture.batch(step) & 7 < N).sum()
        assert sorted(read) == sorted(alone.mixture.batch(step).tolist())
    for loader in (alone, *team):
        loader.thread.shutdown()


def test_marks_are_those_of_a_plain_loop():
    places = np.array([(1000, 1100), (1150, 1200), (3000, 3050)])
    marks = mark_elements(places, np.array([(0, 4000)]), 4000)
    for i, mark in enumerate(marks.tolist()):
        inside = 1000 <= i < 1100 or 1150 <= i < 1200 or 3000 <= i < 3050
        near = 650 <= i < 1550 or 2650 <= i < 3400
        assert mark == (ELEMENT if inside else FLANK if near else 0)


def test_flanks_end_where_their_stretch_does():
    marks = mark_elements(np.array([(1000, 1100)]), np.array([(0, 1000), (1000, 1200)]), 1500)
    assert not marks[:1000].any() and not marks[1200:].any()
    assert (marks[1000:1100] == ELEMENT).all() and (marks[1100:1200] == FLANK).all()


def test_the_loss_in_elements_is_that_of_their_bases(folder):
    """A made-up model whose loss is known at each base, against sums over the genome's bases."""
    script.configure(vars(script), [*TINY, f"--dataset={folder}"])
    genome = Genome(folder)
    windows = script.validation_windows(genome)

    def model(idx):
        """Says A with 1/2, the others with 1/6."""
        logits = torch.full((*idx.shape, 4), math.log(1 / 6))
        logits[..., 0] = math.log(1 / 2)
        return logits

    bits = script.evaluate(model, windows, 8)
    raw = genome.bases("val")
    cost = np.where((raw & 7) == 0, 1.0, math.log2(6))
    unique = raw & 8 == 0
    inside = np.zeros(len(raw), bool)
    near = np.zeros(len(raw), bool)
    for start, end in ((100, 200), (3000, 3100)):
        inside[start:end] = True
        near[max(start - 350, 0) : end + 350] = True
    near &= ~inside
    assert bits["elements"] == pytest.approx(cost[inside].mean())
    assert bits["flanks"] == pytest.approx(cost[near].mean())
    assert bits["elements_unique"] == pytest.approx(cost[inside & unique].mean())
    assert bits["flanks_unique"] == pytest.approx(cost[near & unique].mean())
    assert bits["all"] == pytest.approx(cost.mean())


def test_a_run_in_two_phases_resumes_as_if_it_had_never_stopped(folder, tmp_path):
    words = ("--regions=auto", "--region_from=0.5", "--region_share=0.7", "--flank=20")
    whole = train(folder, tmp_path / "whole", *words)
    assert whole.returncode == 0, whole.stderr
    assert "from step 3 on" in whole.stdout and "elements" in whole.stdout
    assert (
        "4 train, 2 val, 1 test; 1 are on names that are not in the genome: chrUn" in whole.stdout
    )
    assert train(folder, tmp_path / "cut", *words, env=cut("ckpt.pt", 2)).returncode == -9
    again = train(folder, tmp_path / "cut", *words)
    assert again.returncode == 0 and "resuming" in again.stdout, again.stderr
    same_run(tmp_path / "whole", tmp_path / "cut")
    val = load(tmp_path / "cut" / "ckpt.pt")["val"]
    logged = rows(tmp_path / "cut")[-1]
    assert float(logged["val_bits_elements"]) == pytest.approx(val["elements"], rel=1e-6)
    other = train(folder, tmp_path / "cut", *words[1:])
    one_line_error(other, "another run", "regions are not these: auto there and none here")
    without = train(folder, tmp_path / "without", *words[1:], "--max_iters=1")
    assert "change nothing: region_share, region_from, flank" in without.stdout


def test_until_the_turn_a_run_is_the_one_without_regions(folder):
    with_regions = loader_of(folder, "--region_share=1", "--region_from=0.5", "--flank=20")
    plain = loader_of(folder, "--regions=")
    for step in range(6):
        same = (with_regions.mixture.batch(step) == plain.mixture.batch(step)).all()
        assert same == (step < 3)
    for loader in (with_regions, plain):
        loader.thread.shutdown()


def test_other_regions_of_the_same_name_are_other_data(folder, tmp_path, bed):
    path = bed(BED)
    words = (f"--regions={path}", "--region_share=1", "--region_from=0", "--flank=20")
    assert train(folder, tmp_path / "a", *words).returncode == 0
    moved = tmp_path / "moved.bed"  # the same regions under another name are the same
    moved.write_text(BED)
    again = train(folder, tmp_path / "a", f"--regions={moved}", *words[1:])
    assert again.returncode == 0 and "resuming" in again.stdout, again.stderr
    bed(BED.replace("chr2\t500", "chr2\t400"))
    one_line_error(train(folder, tmp_path / "a", *words), "its regions are not these")


@pytest.mark.parametrize(
    "text, words",
    (
        ("chr1\t11900\t12200\n", ("beyond the end of chr1", "assembly")),
        ("chr21\t100\t200\n", ("no region on", "train chromosomes (chr1, chr2)")),
        ("chrX\t100\t200\n", ("on chrX", "no region on")),
        ("chr1\tone\t200\n", ("line 1", "as in BED")),
        ("", ("holds no regions",)),
        (">chr1\nACGT\n", ("is a FASTA", "a BED is wanted")),
        ("##fileformat=VCFv4.2\nchr1\t5\t.\tA\tC\n", ("is a VCF",)),
        ("chr1\tRefSeq\texon\t1\t9\t.\t+\t.\tgene_id\n", ("is a GTF",)),
    ),
)
def test_a_bed_that_cannot_be_trained_on(folder, tmp_path, bed, text, words):
    one_line_error(train(folder, tmp_path / "out", f"--regions={bed(text)}"), *words)


def test_mistakes_in_settings_are_one_line(folder, genome_folder, tmp_path):
    out = tmp_path / "out"
    one_line_error(train(folder, out, "--regions=nowhere.bed"), "regions=nowhere.bed is not there")
    one_line_error(train(folder, out, "--region_share=2"), "region_share = 2", "0 to 1")
    one_line_error(train(folder, out, "--flank=-1"), "flank = -1")
    one_line_error(
        train(folder, out, "--regions=auto", "--region_from=1"),
        "region_from = 1.0 reads no regions",
    )
    one_line_error(train(genome_folder, out, "--regions=auto"), "came with no elements")


def test_preparing_keeps_the_elements(tmp_path, bed):
    fasta = tmp_path / "a.fa"
    fasta.write_text(">chr1\n" + "ACGTA" * 2000 + "\n>chr21\n" + "ACGTT" * 500 + "\n")
    out = tmp_path / "out"
    words = ("prepare_hg38.py", f"--fasta={fasta}", f"--out={out}")
    one_line_error(run(*words, "--ccre=nowhere.bed"), "--ccre=nowhere.bed is not there")
    wrong = bed("chr1\t9990\t10010\n")
    one_line_error(run(*words, f"--ccre={wrong}"), "beyond the end of chr1")
    wrong = bed("chr7\t1\t10\n")
    one_line_error(run(*words, f"--ccre={wrong}"), "names chr7", "has none")
    assert not out.exists()
    right = bed("# mine\n21\t100\t300\nchr1\t5\t10\n")
    done = run(*words, f"--ccre={right}")
    assert done.returncode == 0, done.stderr
    assert "regions, 1 train, 1 val, 0 test" in done.stdout
    assert (out / "ccre.bed").read_text() == right.read_text()
    assert len(Regions(out / "ccre.bed", Genome(out)).all("val")) == 1
    assert run(*words).returncode == 0
    assert (out / "ccre.bed").read_text() == right.read_text()
    assert run(*words, "--ccre=").returncode == 0
    assert not (out / "ccre.bed").exists()
