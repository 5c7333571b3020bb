"""The byte format and the sampler."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import train
from data import (
    REPEAT,
    Genome,
    Mixture,
    N,
    Windows,
    decode,
    encode,
    eval_windows,
    quarters,
    reverse_complement,
    rows_of_process,
)
from data.windows import windows_per_stretch
from tests.conftest import write_genome


def test_encode_known_answers():
    assert encode("ACGTNacgtnRyx-").tolist() == [0, 1, 2, 3, 4, 8, 9, 10, 11, 12, 4, 12, 12, 4]
    assert decode(encode("ACGTNacgtnRy")) == "ACGTNacgtnNn"


@given(st.text("ACGTNacgtn", max_size=200))
def test_encode_decode_round_trip(letters):
    assert decode(encode(letters)) == letters


@given(st.text("ACGTNacgtn", max_size=200))
def test_reverse_complement(letters):
    bases = encode(letters)
    other = reverse_complement(bases)
    assert decode(other) == letters[::-1].translate(str.maketrans("ACGTacgt", "TGCAtgca"))
    assert np.array_equal(reverse_complement(other), bases)
    # the repeat bit goes where its base goes
    assert np.array_equal((other & REPEAT)[::-1], bases & REPEAT)


def test_genome_coordinates(genome_folder):
    genome = Genome(genome_folder)
    assert decode(genome.fetch("chr1", 58, 62))[:2] == "NN"
    whole = genome.fetch("chr2", 0, 5000)
    assert np.array_equal(genome.fetch("chr2", 1234, 1300), whole[1234:1300])
    assert decode(genome.fetch("chr2", -3, 2)) == "NNN" + decode(whole[:2])
    assert decode(genome.fetch("chr2", 4998, 5003)) == decode(whole[-2:]) + "NNN"
    assert genome.chroms["chr2"]["offset"] == genome.chroms["chr1"]["length"]
    # chr1 in two, the single n stays inside; then chr2
    expected = [[60, 9060], [9160, 14161], [14161, 19161]]
    assert genome.stretches("train").tolist() == expected


def test_genome_damage_is_one_line(genome_folder, tmp_path):
    for name in ("train.bin", "val.bin", "test.bin", "meta.json"):
        (tmp_path / name).write_bytes((genome_folder / name).read_bytes())
    (tmp_path / "train.bin").write_bytes(b"\0" * 5)
    with pytest.raises(SystemExit, match="error: .*train.bin holds 5 bases"):
        Genome(tmp_path)
    other_format = json.dumps({"format": 99})
    for text, message in (("{", "damaged"), ("{}", "damaged"), (other_format, "format 99")):
        (tmp_path / "meta.json").write_text(text)
        with pytest.raises(SystemExit, match=message):
            Genome(tmp_path)
    with pytest.raises(SystemExit, match="run python prepare_hg38.py"):
        Genome(tmp_path / "nowhere")


def sampler(lengths, block, per_step, seed=0, rc=0.5):
    """(the batches, the windows) over stretches of random bases of these lengths, 7 N's between
    them.
    """
    rng = np.random.default_rng(1)
    stretches, parts, place = [], [], 0
    for n in lengths:
        stretches.append((place, place + n))
        parts += [rng.integers(0, 4, n), np.full(7, N)]
        place += n + 7
    bases = np.concatenate(parts).astype(np.uint8)
    windows = Windows(bases, np.array(stretches), block, seed, rc)
    return Mixture([windows], [1.0], per_step), windows


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 90), min_size=1, max_size=6),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(0, 2**31),
)
def test_every_base_once_an_epoch_and_never_across_a_gap(lengths, block, per_step, seed):
    batches, windows = sampler(lengths, block, per_step, seed)
    seen = np.zeros(len(windows.bases), int)
    steps = -(-2 * windows.per_epoch // per_step)  # two epochs; batches straddle them
    taken = 0
    for step in range(steps):
        start, low, high, flipped = windows.places_of(step * per_step, per_step)
        batch = batches.batch(step)
        for a, lo, hi, flip, row in zip(start, low, high, flipped, batch):
            if taken == windows.per_epoch:
                assert (seen == inside(windows)).all()
            if taken < 2 * windows.per_epoch:
                seen[max(a, lo) : min(a + block, hi)] += 1
            taken += 1
            row = reverse_complement(row) if flip else row
            expected = [windows.bases[p] if lo <= p < hi else N for p in range(a, a + block)]
            assert row.tolist() == expected
            assert (row != N).any()  # no window without a target
    assert (seen == 2 * inside(windows)).all()


@given(st.integers(1, 400), st.integers(1, 50))
def test_a_stretch_has_as_many_windows_as_half_of_all_phases_need(length, block):
    windows, low, high = (int(x[0]) for x in windows_per_stretch(np.array([length]), block))
    if length <= block:
        assert (windows, low, high) == (1, 0, 0)
        return
    needed = [-(-(phase + length) // block) for phase in range(block)]
    assert [phase for phase in range(block) if needed[phase] == windows] == list(
        range(low, high + 1)
    )
    assert high - low + 1 >= block / 2


def test_a_short_stretch_begins_its_window_on_either_strand():
    windows = sampler([7, 16, 12, 9], 16, 4)[1]
    rows = windows.read(0, 40)
    flipped = windows.places_of(0, 40)[3]
    assert 5 < flipped.sum() < 35
    real = rows & 7 < N
    assert real[:, 0].all() and (np.diff(real.astype(int), axis=1) <= 0).all()
    assert set(quarters(rows).tolist()) == {2, 3, 4}
    assert quarters(np.full((1, 16), N, np.uint8)).tolist() == [0]


def inside(windows):
    mark = np.zeros(len(windows.bases), int)
    for lo, hi in zip(windows.low, windows.high):
        mark[lo:hi] = 1
    return mark


def test_batches_are_a_pure_function_of_seed_and_step():
    (a, _), (b, _) = sampler([500, 300], 32, 5), sampler([500, 300], 32, 5)
    later = b.batch(7)
    assert np.array_equal(a.batch(7), later)
    assert np.array_equal(a.batch(0), b.batch(0))
    assert np.array_equal(a.batch(7), later)
    assert not np.array_equal(a.batch(1), a.batch(2))
    assert not np.array_equal(sampler([500, 300], 32, 5, seed=1)[0].batch(0), a.batch(0))


@pytest.mark.parametrize("world", (1, 2, 3, 4, 8))
def test_processes_share_a_step_without_overlap(world):
    batch = sampler([500, 300], 32, 11)[0].batch(3)
    shares = [rows_of_process(batch, rank, world) for rank in range(world)]
    sizes = [len(rows) for rows in shares]
    assert np.array_equal(np.concatenate(shares), batch)
    assert max(sizes) - min(sizes) <= 1


def test_phase_differs_between_epochs_and_half_is_flipped():
    windows = sampler([100_050], 100, 1000)[1]
    n = windows.per_epoch
    first, second = windows.places_of(0, n), windows.places_of(n, n)
    assert len(set(first[0] % 100)) == 1 and first[0][0] % 100 != second[0][-1] % 100
    assert 0.45 < first[3].mean() < 0.55
    assert not sampler([1000], 100, 10, rc=0.0)[1].places_of(0, 10)[3].any()
    assert sampler([1000], 100, 10, rc=1.0)[1].places_of(0, 10)[3].all()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0.001, 1), min_size=1, max_size=4),
    st.integers(1, 40),
    st.integers(1, 200),
)
def test_a_mixture_reads_each_genome_in_its_order_and_in_its_share(weights, per_step, steps):
    class Counted:
        """Windows of one base: which window of its genome it is."""

        def read(self, first, count):
            return np.arange(first, first + count)[:, None]

    shares = [weight / sum(weights) for weight in weights]
    genomes = [Counted() for _ in shares]
    mixture = Mixture(genomes, shares, per_step)
    for step in range(steps):
        assert len(mixture.batch(step)) == per_step
        before, after = mixture.before(step), mixture.before(step + 1)
        assert all(0 <= b - a for a, b in zip(before, after))
        read = [list(range(a, b)) for a, b in zip(before, after)]
        assert mixture.batch(step)[:, 0].tolist() == sum(read, [])
    total = steps * per_step
    for share_, count in zip(shares, mixture.before(steps)):
        assert abs(count - share_ * total) <= len(shares)


def test_genomes_of_a_mixture_are_drawn_each_for_itself():
    bases = np.random.default_rng(0).integers(0, 4, 5000).astype(np.uint8)
    stretches = np.array([[0, 5000]])
    one, other = (Windows(bases, stretches, 50, 7, stream=i) for i in (0, 1))
    assert not np.array_equal(one.places_of(0, 20)[0], other.places_of(0, 20)[0])
    mixture = Mixture([one, other], [0.5, 0.5], 10)
    expected = [one.read(15, 5), other.read(15, 5)]
    assert np.array_equal(mixture.batch(3), np.concatenate(expected))


@pytest.mark.parametrize("block", (100, 1000, 1024, 5000))
def test_validation_bases_do_not_depend_on_block_size(block):
    rng = np.random.default_rng(0)
    bases = rng.integers(0, 4, 200_000).astype(np.uint8)
    stretches = np.array([[0, 90_000], [95_000, 200_000]])
    rows = eval_windows(bases, stretches, block, 60_000)
    assert rows.shape[1] == block
    scored = rows[rows != N]
    reference = eval_windows(bases, stretches, 1, 60_000).ravel()
    assert np.array_equal(scored, reference) and 40_000 < len(scored) <= 80_000
    everything = eval_windows(bases, stretches, block, 10**9)
    expected = np.concatenate((bases[:90_000], bases[95_000:]))
    assert np.array_equal(everything[everything != N], expected)


def test_validation_of_short_stretches_scores_as_many_bases_as_asked_for():
    rng = np.random.default_rng(0)
    lengths = rng.integers(60, 900, 500)
    ends = np.cumsum(lengths)
    stretches = np.stack((ends - lengths, ends), 1)
    bases = rng.integers(0, 4, ends[-1]).astype(np.uint8)
    for wanted in (20_000, 100_000):
        scored = (eval_windows(bases, stretches, 1024, wanted) != N).sum()
        assert 0.85 * wanted < scored < 1.15 * wanted
    assert (eval_windows(bases, stretches, 1024, 10**7) != N).sum() == ends[-1]


def test_an_empty_split_opens(tmp_path):
    genome = Genome(write_genome(tmp_path, {"train": {"chr1": "ACGT" * 10}}))
    assert len(genome.bases("val")) == 0 and genome.stretches("val").shape == (0, 2)


def test_fingerprint_knows_what_is_held_and_how_it_is_split(tmp_path):
    chr1 = {"chr1": "ACGT" * 10}
    chr2 = {"chr2": "GATTACA"}
    one = {"train": {**chr1, **chr2}}
    other_split = {"train": chr1, "val": chr2}
    other_bases = {"train": {**chr1, "chr2": "GATTACC"}}
    fingerprints = set()
    for i, splits in enumerate((one, other_split, other_bases)):
        fingerprints.add(Genome(write_genome(tmp_path / f"{i}", splits)).fingerprint)
    assert len(fingerprints) == 3


def test_what_a_base_weighs_in_the_loss(monkeypatch):
    monkeypatch.setattr(train, "repeat_weight", 0.25)
    windows = torch.from_numpy(encode("ACGTNacgtnR")).view(1, -1)
    expected = [1, 1, 1, 1, 0, 0.25, 0.25, 0.25, 0.25, 0, 0]
    assert train.target_weights(windows).tolist() == [expected]


def test_bits_above_the_repeat_bit_change_nothing_else():
    """So that a further mask can be stored: bases, repeats and the other strand stay."""
    bases = np.array([0, 1, 2, 3, 4, 8, 9, 10, 11, 12], np.uint8)
    marked = bases | 16
    assert (reverse_complement(marked) == reverse_complement(bases) | 16).all()
    assert decode(marked) == decode(bases)
    weights = train.target_weights(torch.from_numpy(bases))
    assert torch.equal(train.target_weights(torch.from_numpy(marked)), weights)
