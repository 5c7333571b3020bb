"""Training on several genomes at once, and on one of short scaffolds."""

import json
import math
import shutil

import numpy as np
import pytest
import torch

import train as script
from dart import notes
from data import SPLITS, Genome, N, eval_windows
from data.corpus import (
    describe_data,
    held_out_here_trained_on_there,
    open_genomes,
    read_shares,
)
from runtime.checkpoint import load_model
from runtime.resume import add_history
from runtime.team import Team
from tests.conftest import one_line_error, random_dna, run, write_genome
from tests.test_train import TINY, cut, load, rows, same_run


@pytest.fixture(scope="module")
def two(genome_folder, tmp_path_factory):
    """The setting that names two genomes, the second of shorter stretches than a window."""
    rng = np.random.default_rng(7)
    scaffolds = {f"s{i}": random_dna(rng, int(rng.integers(20, 60))) for i in range(200)}
    names = list(scaffolds)
    splits = {
        "train": {name: scaffolds[name] for name in names[:150]},
        "val": {name: scaffolds[name] for name in names[150:]},
    }
    other = write_genome(tmp_path_factory.mktemp("other"), splits)
    return f"{genome_folder},{other}"


def train(dataset, out, *words, **kwargs):
    return run("train.py", f"--dataset={dataset}", f"--out_dir={out}", *TINY, *words, **kwargs)


def configured(dataset, *words):
    return script.configure(vars(script), [*TINY, f"--dataset={dataset}", *words])


def opened():
    """The genomes of the configured run."""
    return open_genomes(script.dataset.split(","))


def test_a_run_on_two_genomes(two, tmp_path):
    """Validated on each, as each alone would be; resumed as if it had never stopped."""
    words = ("--dataset_shares=3,1", "--markov_order=0")
    whole = train(two, tmp_path / "whole", *words)
    assert whole.returncode == 0, whole.stderr
    assert train(two, tmp_path / "cut", *words, env=cut("ckpt.pt", 2)).returncode == -9
    again = train(two, tmp_path / "cut", *words)
    assert again.returncode == 0 and "resuming" in again.stdout, again.stderr
    same_run(tmp_path / "whole", tmp_path / "cut")
    checkpoint = load(tmp_path / "cut" / "ckpt.pt")
    model, _ = load_model(tmp_path / "cut" / "ckpt.pt")
    vals = [checkpoint["val"], *checkpoint["other_vals"]]
    for folder, val in zip(two.split(","), vals):
        genome = Genome(folder)
        windows = eval_windows(genome.bases("val"), genome.stretches("val"), 64, 100_000)
        assert script.evaluate(model, windows, 4) == pytest.approx(val, abs=1e-5, nan_ok=True)
    other = two.split(",")[1]
    logged = rows(tmp_path / "cut")[-1]["val_bits_others"]
    assert logged == " ".join([other, *(f"{vals[1][key]:.5f}" for key in vals[1])])
    assert checkpoint["data"]["others"][0]["fingerprint"] == Genome(other).fingerprint
    assert f"on {other}" in again.stdout
    # one genome alone, by all its windows, is another run
    refused = train(other, tmp_path / "cut", "--markov_order=0")
    one_line_error(refused, "its data are not these", "dataset_shares is 3,1 there and empty here")
    # sampling takes the main genome
    sampled = run(
        "sample.py",
        f"--ckpt={tmp_path / 'cut' / 'ckpt.pt'}",
        "--start=chr21:100-140",
        "--max_new_tokens=70",
        "--num_samples=1",
    )
    assert sampled.returncode == 0, sampled.stderr
    assert "spectrum" in sampled.stderr


def test_two_processes_are_one(two, tmp_path):
    words = ("--max_iters=3", "--eval_interval=3", "--markov_order=0")
    losses = []
    for processes in (0, 2):
        out = tmp_path / str(processes)
        process = train(two, out, *words, torchrun=processes)
        assert process.returncode == 0, process.stderr
        losses.append([float(row["loss"]) for row in rows(out) if row["loss"]])
        losses.append(load(out / "ckpt.pt")["bases"])
    assert losses[2] == pytest.approx(losses[0], abs=1e-5) and losses[1] == losses[3]


@pytest.mark.parametrize("world", (1, 2, 3))
def test_the_windows_of_all_processes_are_those_of_one(two, world):
    configured(two, "--dataset_shares=2,1")
    genomes = opened()
    loaders = [script.Loader(genomes, Team(rank, world)) for rank in range(world)]
    for step in (0, 1, 17):
        batch = loaders[0].mixture.batch(step)
        read = [loader.read(step) for loader in loaders]
        mine = []
        for micro_batches, _, _ in read:
            for raw in micro_batches:
                padded = torch.nn.functional.pad(raw, (0, 64 - raw.size(1)), value=N)
                mine += [row for row in padded.tolist() if any(base & 7 < N for base in row)]
        assert sorted(mine) == sorted(batch.tolist())  # bit for bit, each once
        assert len({weight_sum for _, weight_sum, _ in read}) == 1
        assert read[0][2] == (batch & 7 < N).sum()
    for loader in loaders:
        loader.thread.shutdown()


def test_by_default_all_genomes_pass_at_the_same_pace(two):
    configured(two)
    loader = script.Loader(opened(), Team())
    passes = [
        share / w.per_epoch for share, w in zip(loader.mixture.shares, loader.mixture.sources)
    ]
    assert passes[0] == pytest.approx(passes[1])
    steps = sum(w.per_epoch for w in loader.mixture.sources) // loader.per_step
    for windows, count in zip(loader.mixture.sources, loader.mixture.before(steps)):
        assert abs(count - windows.per_epoch) <= loader.per_step
    loader.thread.shutdown()


def test_one_genome_twice_and_one_that_trains_on_what_another_holds_out(tmp_path):
    rng = np.random.default_rng(3)
    chr1, chr21, chr3 = (random_dna(rng, 900) for _ in range(3))
    cow = write_genome(tmp_path / "cow", {"train": {"chr1": chr1}, "val": {"chr21": chr21}})
    cow2 = write_genome(tmp_path / "cow2", {"train": {"21": chr21}, "val": {"chr3": chr3}})
    pig = write_genome(tmp_path / "pig", {"train": {"chr21": chr3}, "val": {"chr1": chr21}})
    configured(f"{cow},{cow}")
    with pytest.raises(SystemExit, match="two of them are the same genome"):
        opened()
    configured(f"{cow},{cow2}")
    lines = held_out_here_trained_on_there(opened())
    assert lines == [f"warning: chr21 is held out by {cow} and trained on as a part of {cow2}"]
    # a chromosome that is cut: its md5 is of all of it, and the other genome trains on all of it
    cut = write_genome(tmp_path / "cut", {"train": {"chr9": chr21}, "val": {"chr9 too": chr21}})
    for names in (f"{cut},{cow2}", f"{cow2},{cut}"):
        configured(names)
        assert f"warning: chr9 too is held out by {cut} and trained on as a part of {cow2}" in (
            held_out_here_trained_on_there(opened())
        )
    configured(f"{cow},{pig}")  # the same names, other bases
    assert held_out_here_trained_on_there(opened()) == []


def test_what_pretraining_saw_is_told_by_content_in_all_that_was_ever_trained_on(tmp_path):
    rng = np.random.default_rng(3)
    chr1, chr21, chr3 = (random_dna(rng, 900) for _ in range(3))
    folders = {
        "cow": {"train": {"chr1": chr1}, "val": {"chr21": chr21}},
        "cow2": {"train": {"21": chr21}, "val": {"chr3": chr3}},  # cow's chr21 by another name
        "pig": {"train": {"chr21": chr3}, "val": {"chr1": random_dna(rng, 900)}},
    }
    genomes, data = {}, {}
    for name, splits in folders.items():
        genomes[name] = Genome(write_genome(tmp_path / name, splits))
        data[name] = describe_data(genomes[name], name)
    elements = np.rec.array(
        [("chr21", 100, 300)], [("chrom", object), ("start", int), ("end", int)]
    )
    clean = "saw none of these chromosomes; its best checkpoint was chosen on chr21"

    def said(*names, before=()):
        held = dict(data[names[0]], others=[data[name] for name in names[1:]])
        for name in before:
            add_history(held, data[name])
        return notes.about_pretraining(elements, genomes["cow"], held)

    assert clean in said("cow")
    assert clean in said("cow", "pig")  # its chr21 is another one
    for seen in (said("cow", "cow2"), said("cow", before=["cow2"]), said("cow2")):
        assert "pretraining saw chr21 of these chromosomes; warning" in seen
    assert "chosen" not in said("pig")
    # a part of a chromosome
    part = dict(data["cow"], train=["chr21:0-90"], val=["chr21:90-900"])
    part["md5"] = dict.fromkeys(("chr21:0-90", "chr21:90-900"), data["cow"]["md5"]["chr21"])
    assert clean in notes.about_pretraining(elements, genomes["cow"], part)
    # an older checkpoint knows names alone
    old = {"train": ["chr21"], "val": []}
    assert "saw chr21 of these" in notes.about_pretraining(elements, genomes["cow"], old)


def test_what_a_model_saw_before_is_remembered(genome_folder, tmp_path):
    rng = np.random.default_rng(3)
    splits = {"train": {"chr1": random_dna(rng, 900)}, "val": {"chr2": random_dna(rng, 900)}}
    other = write_genome(tmp_path / "other", splits)
    words = ("--max_iters=1", "--eval_interval=1", "--markov_order=0")
    assert train(genome_folder, tmp_path / "a", *words).returncode == 0
    first = load(tmp_path / "a" / "ckpt.pt")["data"]
    assert "before" not in first
    tuned = train(other, tmp_path / "b", *words, f"--init_from={tmp_path / 'a' / 'ckpt.pt'}")
    assert tuned.returncode == 0, tuned.stderr
    assert load(tmp_path / "b" / "ckpt.pt")["data"]["before"] == [first]
    assert "has trained on it" not in tuned.stdout
    turned = {"train": {"chr3": random_dna(rng, 900)}, "val": {"chr1": splits["train"]["chr1"]}}
    turned = write_genome(tmp_path / "turned", turned)
    again = train(turned, tmp_path / "c", *words, f"--init_from={tmp_path / 'b' / 'ckpt.pt'}")
    assert "warning: chr1 validates here, and this model has trained on it" in again.stdout
    held = load(tmp_path / "b" / "ckpt.pt")["data"]
    resumed = {"fingerprint": held["fingerprint"]}
    add_history(resumed, held)
    assert resumed["before"] == [first]


def test_a_run_goes_on_only_on_the_same_repeats(genome_folder, tmp_path):
    folder = tmp_path / "genome"
    shutil.copytree(genome_folder, folder)
    meta = json.loads((folder / "meta.json").read_text())
    for split in SPLITS:
        meta["splits"][split]["repeats"] = 7
    (folder / "meta.json").write_text(json.dumps(meta))
    words = ("--max_iters=1", "--eval_interval=1", "--markov_order=0")
    assert train(folder, tmp_path / "out", *words).returncode == 0
    assert "resuming" in train(folder, tmp_path / "out", *words).stdout
    meta["splits"]["train"]["repeats"] = 8
    (folder / "meta.json").write_text(json.dumps(meta))
    again = train(folder, tmp_path / "out", *words)
    one_line_error(again, "another run", "soft-masked in another way")


@pytest.mark.parametrize("shares", ("1", "1,2,3", "1,x", "0,1", "-1,2", "nan,1", ","))
def test_shares_that_cannot_be(shares):
    with pytest.raises(SystemExit, match="dataset_shares = .*give 2 numbers above 0"):
        read_shares(shares, [10, 20])


def test_one_genome_with_the_setting_left_alone_is_as_before(genome_folder):
    configured(genome_folder)
    loader = script.Loader(opened(), Team())
    windows = loader.mixture.sources[0]
    assert np.array_equal(loader.mixture.batch(5), windows.read(5 * loader.per_step, 16))
    loader.thread.shutdown()


def test_of_short_scaffolds_real_bases_are_counted(two, tmp_path):
    """Every window has a target, and what is logged and printed is bases and not windows."""
    other = two.split(",")[1]
    configured(other, "--batch_size=16")
    genome = opened()[0]
    loader = script.Loader([genome], Team())
    expected = 0
    for step in range(6):
        batch = loader.mixture.batch(step)
        assert (batch & 7 < N).any(1).all()
        expected += int((batch & 7 < N).sum())
    loader.thread.shutdown()
    process = train(other, tmp_path, "--markov_order=0")
    assert process.returncode == 0, process.stderr
    assert int(rows(tmp_path)[-1]["tokens"]) == expected == load(tmp_path / "ckpt.pt")["bases"]
    assert all(float(row["loss"]) > 1 for row in rows(tmp_path) if row["loss"])
    fill = len(genome.bases("train")) / (150 * 64)
    assert f"{fill:.0%} full" in process.stdout
    assert f"validation on {other}: {len(genome.bases('val')):,} bases" in process.stdout


def test_cutting_micro_batches_to_their_longest_changes_rounding_alone(two):
    """The loss of a step on scaffolds is the mean over their bases, however windows are filled."""
    learners = []
    for trims in (True, False):
        configured(two.split(",")[1], "--dropout=0")
        loader = script.Loader(opened(), Team())
        assert loader.trims
        loader.trims = trims
        learner = script.build_learner(Team())
        losses = []
        for step in range(3):
            batch, weight_sum, bases = loader.read(step)
            assert weight_sum == bases
            losses.append(float(script.train_step(learner, batch, weight_sum, Team())[0]))
        widths = {raw.size(1) for raw in batch}
        assert (max(widths) <= 64 and min(widths) < 64) if trims else widths == {64}
        learners.append((losses, learner.model.state_dict()))
        loader.thread.shutdown()
    (trimmed, weights), (whole, others) = learners
    assert trimmed[0] == pytest.approx(math.log(4))  # the output layer starts at zero
    assert trimmed == pytest.approx(whole, abs=1e-6)
    for name, weight in weights.items():
        # AdamW may make a whole step of a detector's gradient that is rounding alone
        atol = 1e-4 if name == "stem.detect.weight" else 1e-5
        assert torch.allclose(weight, others[name], atol=atol), name
