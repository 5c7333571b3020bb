"""What the measuring scripts rest on: variants that train; crossings and copies that are found."""

import math

import numpy as np
import pytest
import torch

import model
import optim
import train
from data import Genome, Regions, encode
from experiments import inside, mixing, pieces, relatives, scaling
from experiments.against_nanogpt import always_ahead, seen_before, tokens_to
from experiments.bench import memory
from experiments.variants import VARIANTS, spectral_loss
from figures.demo import print_table
from model import GPTConfig, base_nll
from runtime.run_folder import log_columns
from tests.conftest import one_line_error, run, write_genome


@pytest.fixture
def restored():
    """Puts back what a variant has exchanged."""
    before = [(module, dict(vars(module))) for module in (model, optim, train)]
    start = model.Stem.INIT_STD
    yield
    for module, names in before:
        vars(module).update(names)
    model.Stem.INIT_STD = start


def losses(words=(), steps=5):
    """The losses of a tiny model trained on the same bases again and again."""
    settings = dict(word[2:].split("=") for word in words)
    size = dict(block_size=32, n_layer=2, n_head=int(settings.get("n_head", 2)), n_embd=32)
    for key in ("stem_bases", "stem_width"):
        if key in settings:
            size[key] = int(settings[key])
    torch.manual_seed(0)
    gpt = train.GPT(GPTConfig(**size))
    bases = torch.randint(0, 4, (4, 32), generator=torch.Generator().manual_seed(0))
    optimizers = optim.Optimizers(gpt, 0.01, 0.01, 0.01, 0.0, torch.float32)
    found = []
    for _ in range(steps):
        loss = train.step_loss(base_nll(gpt, bases), bases.byte(), bases.numel())
        loss.backward()
        optimizers.step()
        optimizers.zero_grad()
        found.append(loss.item())
    return found


@pytest.mark.parametrize("period, share", ((3, 0.1), (10, 0.7), (100, 0.1)))
def test_the_spectral_loss_knows_the_periods_of_motifs(period, share):
    """Probabilities that rise and fall every 10 bases are within 6 to 20, others are not; what
    stands behind N does not count.
    """
    nll = 1.5 + torch.sin(torch.arange(400) * 2 * math.pi / period)[None]
    is_base = torch.ones(1, 400, dtype=torch.bool)
    loss = float(spectral_loss(nll, is_base))
    assert loss < 1 - share if period == 10 else loss > 1 - share
    is_base[:, 300:] = False
    changed = nll.clone()
    changed[:, 300:] = 0
    assert torch.equal(spectral_loss(nll, is_base), spectral_loss(changed, is_base))


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_learns(name, restored):
    variant = VARIANTS[name]
    if variant.change:
        variant.change()
    first, *_, last = losses(variant.words)
    assert last < first
    if not name.startswith("spectral"):  # which adds a term
        assert first == pytest.approx(math.log(4))


@pytest.mark.parametrize("name", [name for name in VARIANTS if VARIANTS[name].change])
def test_every_change_changes_something(name, restored):
    """In the fifth loss: blocks and stem start as the identity, so the first ones agree."""
    baseline = losses()
    VARIANTS[name].change()
    assert losses()[-1] != baseline[-1]


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_trains(name, genome_folder, tmp_path):
    """pytest -m slow tests/test_experiments.py: two steps of each, as a user starts them."""
    tiny = "--block_size=32 --n_layer=2 --n_embd=32 --eval_tokens=1000 --device=cpu".split()
    tiny += ["--max_iters=2", "--batch_tokens=128", "--batch_size=2"]
    given = [
        word
        for word in VARIANTS[name].words
        if word.split("=")[0] in {w.split("=")[0] for w in tiny}
    ]
    if given:
        pytest.skip("its settings are those that this test makes small")
    words = [f"--dataset={genome_folder}", f"--out={tmp_path}", "--threads=1", "--", *tiny]
    done = run("-m", "experiments.ablate", name, *words)
    summary = tmp_path / f"{name.replace('/', '_')} seed 1337" / "summary.json"
    assert done.returncode == 0 and summary.exists(), done.stdout + done.stderr


def test_the_demos_table_says_which_order_is_the_best_in_task_1(capsys):
    bits = dict.fromkeys(("bigram", "Markov 12"), {"all": 1.9, "repeats": 1.8, "unique": 2.0})
    rate = {"accuracy": 0.73, "low": 0.7, "high": 0.76, "ties": 0, "pairs": 10}
    scores = {"bigram": ("bigram", rate), "Markov": ("Markov order 10", rate)}
    print_table(bits, scores)
    bigram, markov = [line for line in capsys.readouterr().out.split("\n") if "0.730" in line]
    assert "order" not in bigram
    assert markov.startswith("Markov 12") and markov.endswith("(order 10)")


def test_tokens_to():
    curve = [(100, 1.9), (200, 1.8), (300, 1.85)]
    assert (
        tokens_to(1.95, curve) == 50
        and tokens_to(1.85, curve) == pytest.approx(150)
        and tokens_to(1.8, curve) == pytest.approx(200)
    )
    assert tokens_to(1.7, curve) == math.inf


def test_always_ahead_compares_at_equal_seconds():
    ours, theirs = [(100, 1.9), (200, 1.8)], [(100, 1.95), (400, 1.85)]
    assert always_ahead(ours, theirs, 1, 1) and not always_ahead(theirs, ours, 1, 1)
    assert always_ahead(ours, theirs, 1, 1.5) and not always_ahead(
        ours, theirs, 1, 10
    )  # a slower loss wins if its steps are quick enough
    assert always_ahead(ours, theirs, 1, 10, after=180)


def test_seen_before():
    unit = "ACGTTGCAGGATCCA"
    window = encode(unit + "TTTACGACTAG" + unit)[None]
    expected = np.zeros_like(window, bool)
    expected[0, len(unit) + 11 + 8 :] = True  # from the ninth base of the second copy on
    assert (seen_before(window) == expected).all()


def test_the_fit_finds_the_curve_that_the_losses_lie_on():
    p = torch.tensor((2.0, 3.0, 0.55, 0.35, 0.30), dtype=torch.float64)
    N, D = [1e5] * 3 + [6e5] * 3 + [1.8e6] * 3, [8e5, 2.4e6, 8e6] * 3
    found = scaling.fit(N, D, [scaling.predict(p, n, d) for n, d in zip(N, D)])
    assert (
        torch.allclose(found, p, atol=0.01)
        and abs(scaling.predict(found, *scaling.TARGET) - scaling.predict(p, *scaling.TARGET))
        < 1e-3
    )


def test_a_mixture_finds_the_part_that_knows():
    torch.manual_seed(0)
    targets, vague = torch.randint(0, 4, (8, 50)), torch.full((8, 50, 4), 0.25).log()
    sure = torch.where(torch.nn.functional.one_hot(targets, 4) > 0, 0.7, 0.1).log()
    bits, weights = mixing.mixed([vague, sure], targets)
    assert (
        bits
        < mixing.mixed([sure], targets, [1.0])[0]
        < mixing.mixed([vague], targets, [1.0])[0]
        == pytest.approx(2.0)
        and weights[1] > 1
    )


def test_copier():
    p = mixing.copier(torch.tensor([[4, 0, 1, 2, 3, 0, 1, 2]]), 3).exp()[0]
    assert p[-1].tolist() == pytest.approx([0.1, 0.1, 0.1, 0.7]) and (p[:-1] == 0.25).all()


def test_the_curve_of_a_run_that_has_not_ended(tmp_path):
    """Drawn as far as it goes, though the last row is cut off; no folder of a run is one line."""
    columns = log_columns(train.LOSSES)
    evaluated = dict(step=50, tokens=204800, val_bits_all=1.99, val_bits_unique=2.0)
    evaluated = ",".join(str(evaluated.get(column, "")) for column in columns)
    step = f"50,204800,1.386,2.000{',' * (len(columns) - 4)}"
    log = f"{','.join(columns)}\n{step}\n{evaluated}\n51,2090"
    (tmp_path / "log.csv").write_text(log)
    drawn = run("figures/curve.py", tmp_path, tmp_path / "curve.png")
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "curve.png").stat().st_size > 5000
    one_line_error(run("figures/curve.py", tmp_path / "none", "x.png"), "give the out_dir of a run")
    for name in ("dart", "positions", "against_nanogpt", "demo"):
        one_line_error(run(f"figures/{name}.py"), "give the")
    one_line_error(run("figures/dart.py", tmp_path / "none", "x.png"), "is no JSON file")
    one_line_error(run("figures/demo.py", tmp_path / "none"), "make demo writes it")


def test_a_piece_is_at_its_own_coordinates(tmp_path):
    letters = "ACGTacgtNNGATTACA"
    genome = Genome(write_genome(tmp_path, {"train": {"c": letters}, "val": {"d": letters}}))
    assert pieces.letters_of(genome, "c", 2, 12, True) == "NNGTacgtNNGA"
    assert pieces.letters_of(genome, "c", 0, 12, False) == "ACGTACGTNNGA"


def test_labels_of_bases_by_a_gtf(tmp_path):
    letters = "ACGT" * 250
    genome = write_genome(tmp_path / "genome", {"train": {"c": letters}, "val": {"d": letters}})
    rows = [
        "#!genome-build x",
        "d\tRefSeq\tgene\t101\t400\t.\t+\t.\tgene_id x",
        "d\tRefSeq\texon\t101\t150\t.\t+\t.\tgene_id x",
        "d\tRefSeq\texon\t351\t400\t.\t+\t.\tgene_id x",
        "c\tRefSeq\tgene\t1\t900\t.\t+\t.\tgene_id y",
    ]
    (tmp_path / "x.gtf").write_text("\n".join(rows))
    labels = relatives.label_bases(Genome(genome), tmp_path / "x.gtf")
    expected = np.full(1000, relatives.BETWEEN)
    expected[100:400] = relatives.INTRON
    expected[100:150] = expected[350:400] = relatives.EXON
    assert np.array_equal(labels, expected)


def test_what_a_forward_pass_keeps_grows_evenly_with_windows_and_blocks():
    train.configure(vars(train), ["--block_size=32", "--n_head=1", "--n_embd=32"])
    size = {key: memory.kept(*key, compiled=False) for key in ((1, 1), (1, 2), (1, 3))}
    of_a_window = size[1, 2] - size[1, 1]
    assert size[1, 3] - size[1, 2] == of_a_window > 0
    train.n_layer = 3
    assert memory.bytes_of_a_window(False) == memory.kept(3, 2, False) - memory.kept(3, 1, False)


def test_inside_counts_the_unique_bases_of_elements_once_each(tmp_path):
    rng = np.random.default_rng(0)
    letters = np.array(list("ACGT"))[rng.integers(0, 4, 3000)]
    letters[1000:1050] = np.char.lower(letters[1000:1050])  # a repeat, half of an element
    splits = {"train": {"chr1": "ACGT" * 100}, "val": {"chr10": "".join(letters)}}
    genome = Genome(write_genome(tmp_path / "g", splits))
    rows = [(3, 13, "PLS"), (1000, 1100, "PLS,CTCF-bound"), (2000, 2300, "dELS")]
    bed = tmp_path / "some.bed"
    bed.write_text("".join(f"chr10\t{a}\t{b}\tx\t0\t.\t0\t0\t0\t{kind}\n" for a, b, kind in rows))
    groups, windows = inside.groups_of(genome, Regions(bed, genome), 256)
    assert {name: int(marks.sum()) for name, marks in groups.items()} == {
        "all": 10 + 50 + 256,  # the third one is longer than a window
        "PLS": 10 + 50,
        "dELS": 256,
        "beside them": (256 - 10) + (256 - 100),
    }
    found = windows[groups["PLS"]] & 7
    assert found.tolist() == encode("".join([*letters[3:13], *letters[1050:1100]])).tolist()
    middle = np.flatnonzero(
        groups["beside them"][1] == 0
    )  # the second window: 78 bases, the element
    assert (middle[0], middle[-1]) == (78, 177)
    none, counts = np.zeros(5), np.full(5, 7)
    assert inside.interval(none, counts, rng).tolist() == [0, 0]
    low, high = inside.interval(np.arange(5.0), counts, rng)
    assert 0 <= low < 2 / 7 < high <= 4 / 7
