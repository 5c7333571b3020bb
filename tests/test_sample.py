"""sample.py: what it draws, and what it says."""

import dataclasses
import math

import numpy as np
import pytest
import torch

import sample
from data import Genome, decode, encode
from model import GPT, GPTConfig, N
from runtime.checkpoint import load_model, save_checkpoint
from sample import divergence, generate, spectrum
from tests.conftest import one_line_error, run


def small(block_size=16, scale=0.5):
    torch.manual_seed(0)
    model = GPT(GPTConfig(block_size=block_size, n_layer=2, n_head=2, n_embd=32))
    for p in model.parameters():
        torch.nn.init.normal_(p, std=scale)
    return model.eval()


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory, genome_folder):
    model = small(64)
    path = tmp_path_factory.mktemp("ckpt") / "ckpt.pt"
    names = {split: [] for split in ("train", "val", "test")}
    checkpoint = dict(
        model=model.state_dict(),
        model_args=dataclasses.asdict(model.config),
        step=1,
        config={"dataset": str(genome_folder)},
        data={"dataset": str(genome_folder), "fingerprint": "", **names},
    )
    save_checkpoint(path, checkpoint)
    return path


def start_symbol(rows):
    return torch.full((rows, 1), N)


def greedy(model, prompt, n):
    return torch.stack(list(generate(model, prompt, n, temperature=0)), 1)


def test_greedy_within_the_context_is_the_full_models_argmax():
    model, tokens = small(32), start_symbol(2)
    drawn = greedy(model, tokens, 31)
    for _ in range(31):
        tokens = torch.cat((tokens, model(tokens)[:, -1].argmax(-1, keepdim=True)), 1)
    assert torch.equal(drawn, tokens[:, 1:])


def test_beyond_the_context_the_last_half_is_read_anew():
    """As stated: when block_size tokens are cached, the next base is drawn from a fresh reading of
    the start symbol and the last block_size / 2.
    """
    model, tokens = small(16), start_symbol(1)
    drawn = greedy(model, tokens, 60)
    first = 0
    for end in range(1, 61):
        if end - first > 16:
            first = end - 9  # the start symbol takes the place of the ninth last
        read = torch.cat((start_symbol(1), tokens[:, first + 1 : end]), 1)
        tokens = torch.cat((tokens, model(read)[:, -1].argmax(-1, keepdim=True)), 1)
    assert torch.equal(drawn, tokens[:, 1:])


@pytest.mark.parametrize(
    "rows, temperature, top_k", ((1, 1.0, 0), (5, 1.0, 0), (3, 0.7, 2), (2, 0, 0))
)
def test_drawing_ahead_draws_what_one_base_at_a_time_does(rows, temperature, top_k):
    model = small(32, scale=0.2)
    prompt = torch.cat((start_symbol(rows), torch.randint(0, 5, (rows, 9))), 1)
    passes = []
    model.register_forward_hook(lambda *_: passes.append(1))

    def draw(ahead):
        passes.clear()
        columns = generate(
            model, prompt, 200, temperature, top_k, torch.Generator().manual_seed(7), ahead=ahead
        )
        return torch.stack(list(columns), 1), len(passes)

    one, slow = draw(1)
    for ahead in (2, 7, 16, 100):
        many, fast = draw(ahead)
        assert torch.equal(one, many)
        assert fast < slow == 200


def test_more_bases_begin_with_the_same_bases():
    def draw(n):
        generator = torch.Generator().manual_seed(1)
        return torch.stack(list(generate(small(), start_symbol(3), n, generator=generator)), 1)

    assert torch.equal(draw(40)[:, :25], draw(25))


@pytest.mark.parametrize("length", (1, 15, 16, 17, 100))
def test_prompts_of_every_length(length):
    model = small(16)
    prompt = torch.cat((start_symbol(2), torch.randint(0, 5, (2, length - 1))), 1)
    drawn = greedy(model, prompt, 5)
    assert drawn.shape == (2, 5) and drawn.max() < 4


def test_draws_follow_the_models_probabilities():
    model = small()
    p = model(start_symbol(1))[0, -1].softmax(-1)
    generator = torch.Generator().manual_seed(0)

    def draw(rows, **how):
        """The next base of each of so many rows."""
        return next(generate(model, start_symbol(rows), 1, generator=generator, **how))

    drawn = torch.bincount(draw(20_000), minlength=4) / 20_000
    assert torch.allclose(drawn, p, atol=0.015)
    assert set(draw(2000, top_k=2).tolist()) == set(p.topk(2).indices.tolist())
    cold = torch.bincount(draw(20_000, temperature=0.5), minlength=4) / 20_000
    assert torch.allclose(cold, p**2 / (p**2).sum(), atol=0.015)


def test_spectrum_and_divergence_known_answers():
    assert spectrum(encode("ACGTACGT"), 1).tolist() == [0.25] * 4
    without_n = [1.0] + [0.0] * 15  # the k-mers that hold N do not count
    assert spectrum(encode("AANAA"), 2).tolist() == without_n
    assert spectrum(np.stack([encode("AC"), encode("AC")]), 2)[1] == 1.0  # none across two records
    a = np.array([1.0, 0, 0, 0])
    b = np.array([0, 1.0, 0, 0])
    assert divergence(a, a) == 0
    assert divergence(a, b) == pytest.approx(1.0)


def test_summary_of_known_bases():
    first = sample.summarise(np.array([[1, 2, 1, 2, 0, 3]], np.uint8), None)[0]
    assert "GC 0.667" in first
    assert "6 new bases" in first
    assert f"expected {(2 / 5) / (2 / 6 * 2 / 6):.2f}" in first


def fasta(text):
    records = [r.split("\n", 1) for r in text.split(">")[1:]]
    return {name.split()[0]: body.replace("\n", "") for name, body in records}


def sample_by_hand(ckpt, *words):
    return run("sample.py", f"--ckpt={ckpt}", *words)


def test_as_typed(ckpt, tmp_path):
    shown = sample_by_hand(ckpt, "--num_samples=3", "--max_new_tokens=150", "--batch_size=2")
    assert shown.returncode == 0, shown.stderr
    records = fasta(shown.stdout)
    assert list(records) == ["sample_1", "sample_2", "sample_3"]
    assert all(len(s) == 150 and set(s) <= set("ACGT") for s in records.values())
    assert len(set(records.values())) == 3
    assert max(map(len, shown.stdout.splitlines())) <= 100
    assert "GC" in shown.stderr
    assert "CpG" in shown.stderr
    assert "Jensen-Shannon" in shown.stderr

    words = ["--ckpt", ckpt, "--num-samples", "3", "--max-new-tokens", "150", "--batch_size=2"]
    again = run("sample.py", *words, "--out", tmp_path / "x.fa")
    assert again.stdout == ""
    assert (tmp_path / "x.fa").read_text() == shown.stdout


def test_a_prompt_from_the_genome_or_a_file(ckpt, genome_folder, tmp_path):
    few = ["--num_samples=1", "--max_new_tokens=5"]
    locus = sample_by_hand(ckpt, "--start=chr21:100-140", *few)
    assert locus.stdout.startswith(">sample_1 prompt=chr21:100-140 new=5 ")
    there = decode(Genome(genome_folder).fetch("chr21", 100, 140) & 7)
    assert fasta(locus.stdout)["sample_1"][:40] == there

    (tmp_path / "start.fa").write_text(">a\nACGT\nacgt\n")
    file = sample_by_hand(ckpt, f"--start=FILE:{tmp_path / 'start.fa'}", *few)
    letters = fasta(file.stdout)["sample_1"]
    assert letters.startswith("ACGTACGT")
    assert len(letters) == 13

    (tmp_path / "two.fa").write_text(">a\nACGT\n>b\nACGT\n")
    two = sample_by_hand(ckpt, f"--start=FILE:{tmp_path / 'two.fa'}")
    one_line_error(two, "several records")


def test_a_locus_by_another_name_of_its_chromosome(ckpt, genome_folder):
    few = ["--num_samples=1", "--max_new_tokens=5"]
    there = decode(Genome(genome_folder).fetch("chr21", 100, 140) & 7)
    locus = sample_by_hand(ckpt, "--start=NC_000021.9:100-140", *few)
    assert locus.stdout.startswith(">sample_1 prompt=chr21:100-140 new=5 ")
    assert fasta(locus.stdout)["sample_1"][:40] == there


def test_two_prompts_of_one_seed_draw_differently(monkeypatch):
    """Else they would share their noise, and so most of their bases: three in four at 1.9 bits."""
    monkeypatch.setattr(sample, "num_samples", 1)
    monkeypatch.setattr(sample, "max_new_tokens", 600)
    model = small()

    def draw(prompt, seed=1337):
        monkeypatch.setattr(sample, "seed", seed)
        return sample.draw_records(model, encode(prompt), torch.float32)[0]

    one, other = draw("ACGT"), draw("TCGT")
    assert (one == other).mean() < 0.5
    assert np.array_equal(one, draw("ACGT"))
    assert not np.array_equal(one, draw("ACGT", seed=1))
    assert sample.seed_of(encode("")) == sample.seed  # without a prompt, the seed itself


@pytest.mark.parametrize(
    "words, message",
    [
        (("--start=HELLO",), "--start holds"),
        (("--start=chr99:1-5",), "has no chr99"),
        (("--start=chr21:10-5",), "the end must lie behind"),
        (("--start=chr21:5990-6010",), "chr21 ends at 6000"),
        (("--start=chr1:10-50",), "is a gap"),
        (("--ckpt=tests",), "is a folder"),
        (("--start=FILE:nowhere",), "cannot read"),
        (("--start=README.md",), "type --start=FILE:README.md"),
        (("--top_k=5",), "--top_k=5: give at most 4"),
        (("--num_samples=0",), "at least 1"),
        (("--seed=-1",), "--seed=-1: give 0"),
        (("--temperature=-1",), "--temperature=-1.0: give at least 0"),
        (("--out=/no/such/folder/x.fa",), "no such folder"),
    ],
)
def test_mistakes(ckpt, genome_folder, monkeypatch, words, message):
    monkeypatch.setattr(sample, "ckpt", str(ckpt))
    for key, value in (w[2:].split("=") for w in words):
        monkeypatch.setattr(sample, key, type(getattr(sample, key))(value))
    with pytest.raises(SystemExit, match=f"error: .*{message}"):
        sample.main()


def test_bad_checkpoints_are_one_line(tmp_path):
    class Evil:
        def __reduce__(self):
            return (math.sqrt, (2,))

    torch.save({"model": Evil()}, tmp_path / "evil.pt")
    torch.save({"model": {}}, tmp_path / "other.pt")
    (tmp_path / "text.pt").write_text("hello")
    said = {
        "evil.pt": "not a checkpoint",
        "other.pt": "something else",
        "text.pt": "not a checkpoint",
        "none.pt": "no checkpoint",
    }
    for name, message in said.items():
        with pytest.raises(SystemExit, match=message):
            load_model(tmp_path / name)
    one_line_error(run("sample.py", f"--ckpt={tmp_path / 'text.pt'}"), "text.pt")
