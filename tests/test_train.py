"""train.py as a user runs it: every test types a command and looks at what it leaves behind."""

import csv
import fcntl
import importlib.util
import math
import os
import resource
import shutil
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import train as script
from data import Genome, N, eval_windows
from markov import Markov
from model import GPT, GPTConfig, base_nll
from runtime.device import has_compiler
from tests.conftest import ROOT, one_line_error, random_dna, run, write_genome

TINY = (
    "--block_size=64 --n_layer=2 --n_head=2 --n_embd=32 --batch_tokens=1024 --batch_size=4 "
    "--max_iters=6 --eval_interval=3 "
    "--eval_tokens=100000 --log_interval=1 --markov_order=3 "
    "--device=cpu --dtype=float32 --warmup=0.3"
).split()


def train(genome_folder, out, *words, **kwargs):
    return run(
        "train.py", f"--dataset={genome_folder}", f"--out_dir={out}", *TINY, *words, **kwargs
    )


def load(path):
    return torch.load(path, weights_only=True)


def rows(out):
    with open(out / "log.csv", newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "tokens_per_second", "mfu")}
            for row in csv.DictReader(file)
        ]


def same_weights(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.fixture(scope="module")
def whole(genome_folder, tmp_path_factory):
    """One uninterrupted run, which the other tests compare with."""
    out = tmp_path_factory.mktemp("whole")
    process = train(genome_folder, out)
    assert process.returncode == 0, process.stderr
    return out, process.stdout


def test_the_end_block_and_the_files(whole):
    out, text = whole
    block = dict(line.split(": ") for line in text.strip().splitlines()[-13:])
    assert list(block) == [
        "val_bits_all",
        "val_bits_repeats",
        "val_bits_unique",
        "val_bits_elements",
        "val_bits_flanks",
        "val_bits_elements_unique",
        "val_bits_flanks_unique",
        "tokens",
        "seconds",
        "tokens_per_second",
        "mfu",
        "peak_memory_gb",
        "checkpoint",
    ]
    assert 0.9 * 6 * 1024 < int(block["tokens"]) <= 6 * 1024  # what hangs over is not counted
    assert block["checkpoint"] == str(out / "ckpt.pt")
    assert float(block["val_bits_all"]) < 2.0 and float(block["peak_memory_gb"]) > 0.01
    checkpoint = load(out / "ckpt.pt")
    assert (
        checkpoint["step"] == 6
        and abs(checkpoint["val"]["all"] - float(block["val_bits_all"])) < 1e-4
    )
    assert checkpoint["data"]["train"] == ["chr1", "chr2"] and checkpoint["data"]["val"] == [
        "chr21"
    ]
    assert not any(k.startswith(("_orig_mod", "module")) for k in checkpoint["model"])
    assert (
        load(out / "best.pt")["val"]["all"]
        == checkpoint["best_bits"]
        == min(checkpoint["val"]["all"], checkpoint["best_bits"])
    )
    log = rows(out)
    assert [r["step"] for r in log] == ["1", "2", "3", "3", "4", "5", "6", "6"]
    assert float(log[0]["bits"]) == pytest.approx(2.0) and "Markov" in text and "uniform" in text
    assert not list(out.glob("*.tmp"))


def test_validation_is_what_the_model_says(whole, genome_folder):
    """The printed bits, recomputed base by base from the checkpoint: all, repeats and unique."""
    checkpoint = load(whole[0] / "ckpt.pt")
    model = GPT(GPTConfig(**checkpoint["model_args"])).eval()
    model.load_state_dict(checkpoint["model"])
    letters = torch.from_numpy(Genome(genome_folder).fetch("chr21", 0, 6000))
    x = torch.cat([letters, letters.new_full((6016 - 6000,), N)]).view(-1, 64)
    with torch.no_grad():
        nats = base_nll(model, (x & 7).long())
    for name, mask in (("all", x & 7 < N), ("repeats", (x & 7 < N) & (x >= 8)), ("unique", x < N)):
        assert float(nats[mask].double().mean()) / math.log(2) == pytest.approx(
            checkpoint["val"][name], abs=1e-5
        )


def same_run(a, b):
    """Two runs ended alike: weights, momentum, best and log, bit for bit."""
    x, y = load(a / "ckpt.pt"), load(b / "ckpt.pt")
    assert (
        same_weights(x["model"], y["model"])
        and x["val"] == pytest.approx(y["val"], abs=0, nan_ok=True)
        and x["best_bits"] == y["best_bits"]
    )
    assert same_weights(load(a / "best.pt")["model"], load(b / "best.pt")["model"])
    for s, t in zip(x["optimizers"], y["optimizers"]):
        assert all(
            torch.equal(v, t["state"][i][k])
            for i, held in s["state"].items()
            for k, v in held.items()
        )
    assert rows(a) == rows(b)  # no row twice, none missing


def cut(name, count=1, signal=9):
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT / "tests" / "cut"),
        "CUT_NAME": name,
        "CUT_COUNT": str(count),
        "CUT_SIGNAL": str(int(signal)),
    }


@pytest.mark.parametrize("name, count, step", [("ckpt.pt", 2, 3), ("best.pt", 2, 3)])
def test_killed_while_it_saves_and_resumed_is_bitwise_the_uninterrupted(
    whole, genome_folder, tmp_path, name, count, step
):
    """Killed before the second ckpt.pt, with the second best.pt written or not; then the same
    command again.
    """
    killed = train(genome_folder, tmp_path, env=cut(name, count))
    assert killed.returncode == -9 and load(tmp_path / "ckpt.pt")["step"] == step
    again = train(genome_folder, tmp_path)
    assert again.returncode == 0 and "resuming" in again.stdout, again.stderr
    same_run(whole[0], tmp_path)


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_told_to_stop_it_saves_the_step_that_it_has_done(whole, genome_folder, tmp_path, number):
    """The signal comes as step 3 is saved, so that the fourth is dropped."""
    process = train(genome_folder, tmp_path, env=cut("ckpt.pt", 1, number))
    assert (
        process.returncode == 128 + number
        and "stopped after step 3" in process.stdout
        and not process.stderr
    )
    if number == signal.SIGINT:  # fewer steps asked for than are done: nothing to do
        shutil.copytree(tmp_path, tmp_path / "fewer")
        fewer = train(genome_folder, tmp_path / "fewer", "--init_from=resume", "--max_iters=2")
        assert fewer.returncode == 0 and load(tmp_path / "fewer" / "ckpt.pt")["step"] == 3, (
            fewer.stderr
        )
    assert train(genome_folder, tmp_path).returncode == 0
    same_run(whole[0], tmp_path)


def test_two_processes_of_which_one_is_told_to_stop(whole, genome_folder, tmp_path):
    process = train(genome_folder, tmp_path, torchrun=2, env=cut("ckpt.pt", 1, signal.SIGTERM))
    assert (
        process.returncode != 0
        and "stopped after step 3" in process.stdout
        and load(tmp_path / "ckpt.pt")["step"] == 3
    ), process.stderr
    assert "IndexError" not in process.stderr
    assert train(genome_folder, tmp_path, torchrun=2).returncode == 0
    mine, its = (
        [float(row["loss"]) for row in rows(out) if row["loss"]] for out in (tmp_path, whole[0])
    )
    assert len(mine) == 6 and mine == pytest.approx(its, abs=1e-5)


def test_the_same_command_again_after_the_end(whole, genome_folder):
    out, text = whole
    before = rows(out)
    again = train(genome_folder, out, "--markov_order=0")
    assert (
        again.returncode == 0
        and again.stdout.splitlines()[-13:-5] == text.splitlines()[-13:-5]
        and rows(out) == before
    )


def test_with_its_best_checkpoint_alone_a_run_goes_on_from_there(whole, genome_folder, tmp_path):
    for name in ("best.pt", "log.csv"):
        shutil.copy(whole[0] / name, tmp_path)
    again = train(genome_folder, tmp_path)
    assert again.returncode == 0 and f"resuming {tmp_path / 'best.pt'}" in again.stdout, (
        again.stderr
    )
    same_run(whole[0], tmp_path)


def test_from_scratch_puts_aside_what_was_there(whole, genome_folder, tmp_path):
    for name in ("ckpt.pt", "best.pt", "log.csv"):
        shutil.copy(whole[0] / name, tmp_path)
    fresh = train(
        genome_folder, tmp_path, "--init_from=scratch", "--max_iters=1", "--markov_order=0"
    )
    assert (
        fresh.returncode == 0
        and load(tmp_path / "ckpt.pt")["step"] == load(tmp_path / "best.pt")["step"] == 1
    )
    assert all(
        (tmp_path / f"{name}.old").read_bytes() == (whole[0] / name).read_bytes()
        for name in ("ckpt.pt", "best.pt", "log.csv")
    )


def test_another_run_in_the_folder_is_refused(whole, genome_folder, tmp_path):
    out = whole[0]
    before = (out / "ckpt.pt").read_bytes()
    one_line_error(
        train(genome_folder, out, "--n_layer=3"),
        "n_layer is 2 there and 3 here): give --out_dir another folder, or --init_from=scratch",
    )
    other = write_genome(
        tmp_path / "other",
        {"train": {"chr1": "ACGTTGCA" * 200}, "val": {"chr21": "ACGTTGCA" * 100}},
    )
    one_line_error(train(other, out), "its data are not these")
    one_line_error(
        train(genome_folder, out, "--n_layer=3", "--init_from=resume"), "holds another model"
    )
    assert (out / "ckpt.pt").read_bytes() == before


def test_resume_with_more_steps_and_on_another_genome(whole, genome_folder, tmp_path):
    (tmp_path / "ckpt.pt").write_bytes((whole[0] / "ckpt.pt").read_bytes())
    longer = train(
        genome_folder,
        tmp_path,
        "--init_from=resume",
        "--max_iters=8",
        "--weight_decay=0.1",
        "--dtype=float16",
    )
    assert longer.returncode == 0 and "max_iters is 6 there and 8 here" in longer.stdout, (
        longer.stderr
    )
    checkpoint = load(tmp_path / "ckpt.pt")
    assert checkpoint["step"] == 8 and all(
        group["weight_decay"] == 0.1 for group in checkpoint["optimizers"][0]["param_groups"]
    )
    other = write_genome(
        tmp_path / "other",
        {"train": {"chr1": "ACGTTGCA" * 200}, "val": {"chr21": "ACGTTGCA" * 100}},
    )  # other bases, other bits
    elsewhere = train(other, tmp_path, "--init_from=resume", "--max_iters=8", "--weight_decay=0.1")
    assert elsewhere.returncode == 0 and "its data are not these" in elsewhere.stdout, (
        elsewhere.stderr
    )
    assert (
        load(tmp_path / "ckpt.pt")["val"]["all"]
        == load(tmp_path / "best.pt")["val"]["all"]
        != checkpoint["val"]["all"]
    )


def test_fine_tune(whole, genome_folder, tmp_path):
    source = shutil.copy(whole[0] / "ckpt.pt", tmp_path / "source.pt")
    words = (f"--init_from={source}", "--max_iters=1", "--learning_rate=0.0001")
    tuned = train(genome_folder, tmp_path / "tuned", *words)
    assert tuned.returncode == 0 and "fine-tuning" in tuned.stdout, tuned.stderr
    os.unlink(source)  # it is needed once: the same command again resumes
    again = train(genome_folder, tmp_path / "tuned", *words)
    assert again.returncode == 0 and "resuming" in again.stdout, again.stderr
    longer = ("--max_iters=2", *words[2:])
    resumed = train(genome_folder, tmp_path / "tuned", *longer, "--init_from=resume")
    assert resumed.returncode == 0, resumed.stderr
    other = train(genome_folder, tmp_path / "tuned", *longer)
    one_line_error(other, f"it began with those of {source} there and new weights here")
    again = train(genome_folder, tmp_path / "tuned", words[0], *longer)  # it is that run still
    assert again.returncode == 0 and "at step 2, its last" in again.stdout, again.stderr
    start = float(rows(tmp_path / "tuned")[0]["bits"])
    assert start < 1.99 and load(tmp_path / "tuned" / "ckpt.pt")["step"] == 2
    one_line_error(
        train(genome_folder, tmp_path / "no", f"--init_from={whole[0] / 'ckpt.pt'}", "--n_embd=64"),
        "another model",
        "--n_embd=32",
    )
    assert not (tmp_path / "no").exists()
    one_line_error(
        train(genome_folder, tmp_path / "empty", "--init_from=resume"), "nothing to resume"
    )
    one_line_error(
        train(genome_folder, tmp_path / "empty", f"--init_from={tmp_path}"), "is a folder"
    )
    (tmp_path / "file").write_text("")
    one_line_error(train(genome_folder, tmp_path / "file"), "is a file: name a folder")
    one_line_error(
        train(genome_folder, tmp_path / "empty", "--init_from=resum"),
        "init_from = resum: there is no such file",
        "auto, scratch or resume",
    )


TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
COUNT = """import atexit, os, runpy, sys, torch.distributed as dist
sums, real = [], dist.all_reduce
dist.all_reduce = lambda x, *a, **k: (sums.append(x.numel()), real(x, *a, **k))[1]
# a file of each process, for lines of two on one pipe may get lost
large = sys.argv[0] + os.environ["RANK"]
atexit.register(lambda: open(large, "w").write(str(sum(n > 100 for n in sums))))
del sys.argv[0]; sys.path[0] = ""
runpy.run_path("train.py", run_name="__main__")
"""


@pytest.mark.parametrize("words", ((), ("--repeat_weight=0.1", "--stem_bases=1")))
def test_the_loss_is_the_same_however_the_step_is_cut(genome_folder, tmp_path, words):
    """Micro-batches of 4 or 16 windows, one process or two: the same bases, and so the same losses,
    with weights too; and one sum of gradients a step.
    """
    (tmp_path / "count.py").write_text(COUNT)
    words = (
        "--max_iters=4",
        "--eval_interval=4",
        "--markov_order=0",
        "--batch_tokens=1000",
        *words,
    )
    processes = [
        train(genome_folder, tmp_path / "a", *words),
        train(genome_folder, tmp_path / "b", *words, "--batch_size=16"),
        train(genome_folder, tmp_path / "c", *words, start=[*TWO, tmp_path / "count.py"]),
    ]
    assert all(p.returncode == 0 for p in processes), [p.stderr[-2000:] for p in processes]
    assert processes[2].stdout.count("2 micro-batches") == 1 and [
        (tmp_path / f"count.py{rank}").read_text() for rank in (0, 1)
    ] == ["4", "4"]
    one, *others = ([float(r["loss"]) for r in rows(tmp_path / x) if r["loss"]] for x in "abc")
    assert len(one) == 4
    for losses in others:
        assert losses == pytest.approx(one, abs=1e-5)
    vals = [load(tmp_path / x / "ckpt.pt")["val"] for x in "abc"]
    assert vals[1]["all"] == pytest.approx(vals[0]["all"], abs=1e-4) and vals[2][
        "unique"
    ] == pytest.approx(vals[0]["unique"], abs=1e-4)


def test_processes_that_do_not_share_their_folder_are_refused(whole, genome_folder, tmp_path):
    """One has a checkpoint and the other has none: together they would train two models."""
    shutil.copy(whole[0] / "ckpt.pt", tmp_path)
    (tmp_path / "apart.py").write_text(
        COUNT.replace(
            "del sys.argv[0]", "del sys.argv[0]; sys.argv[2] += '1' * (os.environ['RANK'] == '1')"
        )
    )
    before = (tmp_path / "ckpt.pt").read_bytes()
    process = train(genome_folder, f"{tmp_path}/", start=[*TWO, tmp_path / "apart.py"])
    assert (
        process.returncode != 0
        and "error: the processes do not have the same" in process.stderr
        and (tmp_path / "ckpt.pt").read_bytes() == before
    ), process.stderr


def test_repeat_weight_and_n_change_only_their_own_bases(genome_folder, tmp_path):
    """The first step's loss is sum w nll / sum w over real bases: with the head at zero that is ln
    4 whatever w and N are.
    """
    out = train(genome_folder, tmp_path, "--max_iters=1", "--markov_order=0", "--repeat_weight=0.1")
    assert out.returncode == 0 and float(rows(tmp_path)[0]["loss"]) == pytest.approx(
        math.log(4), abs=1e-5
    )


def test_two_runs_in_one_folder(genome_folder, tmp_path):
    with open(tmp_path / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        one_line_error(train(genome_folder, tmp_path), "another run is writing", "--out_dir")
    assert [p.name for p in tmp_path.iterdir()] == ["lock"]


def test_a_full_disk_costs_nothing_that_was_saved(whole, genome_folder, tmp_path):
    """Files may not grow beyond a size that the checkpoint needs: writing it fails halfway, as on a
    full disk.
    """
    (tmp_path / "ckpt.pt").write_bytes((whole[0] / "ckpt.pt").read_bytes())
    full = train(
        genome_folder,
        tmp_path,
        "--init_from=resume",
        "--max_iters=8",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)),
    )
    one_line_error(full, "cannot write", "is the disk full?")
    assert load(tmp_path / "ckpt.pt")["step"] == 6 and not list(tmp_path.glob("*.tmp"))


def test_out_of_memory(genome_folder, tmp_path):
    """3 GB of address space hold torch, but not a micro-batch of 8 million bases."""
    out = train(
        genome_folder,
        tmp_path,
        "--batch_tokens=2**23",
        "--batch_size=2**17",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30)),
    )
    one_line_error(out, "out of memory", "batch_size")


def test_where_nothing_can_be_written(genome_folder, tmp_path):
    (tmp_path / "file").write_text("")
    one_line_error(train(genome_folder, tmp_path / "file" / "out"), "file")


class Code:
    """What a pickle may hold: a command to run as it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_checkpoint_runs_code(whole, genome_folder, tmp_path):
    torch.save(dict(load(whole[0] / "ckpt.pt"), val=Code(tmp_path / "ran")), tmp_path / "ckpt.pt")
    with pytest.raises(FileNotFoundError):
        os.rmdir(tmp_path / "ran")
    one_line_error(train(genome_folder, tmp_path), "is not a checkpoint of this project")
    for words in (("sample.py",), ("eval_dart.py",)):
        one_line_error(
            run(*words, f"--ckpt={tmp_path / 'ckpt.pt'}"), "is not a checkpoint of this project"
        )
    one_line_error(
        train(genome_folder, tmp_path / "tuned", f"--init_from={tmp_path / 'ckpt.pt'}"),
        "is not a checkpoint of this project",
    )
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "ckpt.pt", weights_only=False)  # the file does what it threatens
    assert (tmp_path / "ran").exists()


def test_a_checkpoint_of_another_version_or_cut_short(whole, genome_folder, tmp_path):
    held = load(whole[0] / "ckpt.pt")
    for change in ({"evaluated"}, {"optimizers"}):
        torch.save({k: v for k, v in held.items() if k not in change}, tmp_path / "ckpt.pt")
        one_line_error(train(genome_folder, tmp_path), "other code", *change)
    states = [dict(held["optimizers"][0], kind="Lion"), *held["optimizers"][1:]]
    torch.save(dict(held, optimizers=states), tmp_path / "ckpt.pt")
    one_line_error(train(genome_folder, tmp_path), "it was trained by Lion, not Muon")
    data = (whole[0] / "ckpt.pt").read_bytes()
    (tmp_path / "ckpt.pt").write_bytes(data[: len(data) // 2])
    one_line_error(
        train(genome_folder, tmp_path), "is not a checkpoint of this project, or is damaged"
    )
    middle = bytearray(data)
    middle[len(data) // 2] ^= 1  # one bit of a weight
    (tmp_path / "ckpt.pt").write_bytes(middle)
    one_line_error(train(genome_folder, tmp_path), "damaged")


@pytest.mark.parametrize(
    "words, message",
    [
        (("--learning_rat=1",), "did you mean 'learning_rate'"),
        (("--n_embd=33",), "n_embd = 33"),
        (("--dtype=int8",), "dtype 'int8'"),
        (("--batch_size=0",), "batch_size"),
        (("--device=cuda:7",), "no device 'cuda:7'"),
        (("--grad_clip=-1",), "grad_clip = -1"),
        (("--compile=maybe",), "compile = 'maybe'"),
    ],
)
def test_mistakes_are_one_line(genome_folder, tmp_path, words, message):
    one_line_error(train(genome_folder, tmp_path / "out", *words), message)
    assert not (tmp_path / "out").exists()


def test_no_validation_bases_and_no_checkpoint(tmp_path):
    lonely = write_genome(tmp_path / "lonely", {"train": {"chr1": "ACGTTGCA" * 200}})
    one_line_error(train(lonely, tmp_path / "out"), "no val bases", "--val_chroms")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "ckpt.pt").write_bytes(b"not a checkpoint")
    one_line_error(train(lonely, tmp_path / "bad"), "val")


def test_unannotated_repeats_are_nan(tmp_path):
    plain = write_genome(
        tmp_path / "plain",
        {"train": {"chr1": "ACGTTGCA" * 500}, "val": {"chr21": "ACGTTGCA" * 200}},
    )
    out = train(plain, tmp_path / "out", "--markov_order=0")
    assert "val_bits_repeats: nan" in out.stdout and "val_bits_unique: nan" in out.stdout, (
        out.stderr
    )


def test_the_learning_rate_rises_in_three_steps_and_falls_to_zero(genome_folder, tmp_path):
    words = (
        "--max_iters=8",
        "--eval_interval=8",
        "--learning_rate=0.02",
        "--warmup=0",
        "--cooldown=0.5",
        "--markov_order=0",
    )
    assert train(genome_folder, tmp_path, *words).returncode == 0
    found = [float(row["lr"]) / 0.02 for row in rows(tmp_path) if row["lr"]]
    assert found == pytest.approx([1 / 3, 2 / 3, 1, 1, 1, 3 / 4, 1 / 2, 1 / 4], rel=1e-6)
    again = train(genome_folder, tmp_path, *words)
    assert again.returncode == 0 and "at step 8, its last" in again.stdout, again.stderr


def test_a_diverging_run_stops_and_keeps_the_last_good_checkpoint(genome_folder, tmp_path):
    out = train(
        genome_folder,
        tmp_path,
        "--max_iters=40",
        "--eval_interval=1",
        "--learning_rate=1e30",
        "--embed_lr=1e30",
        "--warmup=0.1",
    )
    one_line_error(out, "lower learning_rate")
    if (tmp_path / "ckpt.pt").exists():
        assert all(torch.isfinite(p).all() for p in load(tmp_path / "ckpt.pt")["model"].values())


@pytest.mark.parametrize(
    "capability, triton, can", [((8, 9), True, True), ((8, 9), False, False), ((6, 1), True, False)]
)
def test_a_gpu_compiles_with_triton_and_if_it_is_new_enough(monkeypatch, capability, triton, can):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: triton or None)
    monkeypatch.setattr(shutil, "which", lambda name: name)
    monkeypatch.setattr(Path, "is_file", lambda path: True)
    assert has_compiler(torch.device("cuda")) is can


def test_without_a_compiler_compile_steps_aside(genome_folder, tmp_path):
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    out = train(
        genome_folder,
        tmp_path / "out",
        "--compile=True",
        "--max_iters=1",
        "--markov_order=0",
        env=bare,
    )
    assert out.returncode == 0 and "it needs a C++ compiler" in out.stdout, out.stderr


def test_a_short_soak():
    """Some six deaths of a run, by all means; tests/soak.py says what is compared afterwards."""
    out = run("-m", "tests.soak", "6")
    assert out.returncode == 0 and "to the bit" in out.stdout and "SIG" in out.stdout, out.stderr


def test_a_step_of_the_medium_config_at_one_block(genome_folder, tmp_path):
    words = "--n_layer=1 --block_size=128 --batch_tokens=256 --batch_size=2 --max_iters=1"
    words += " --eval_interval=1 --eval_tokens=2048 --markov_order=0 --device=cpu --compile=False"
    process = run(
        "train.py",
        "config/hg38_medium.py",
        f"--dataset={genome_folder}",
        f"--out_dir={tmp_path}",
        *words.split(),
    )
    assert process.returncode == 0, process.stderr
    width = load(tmp_path / "ckpt.pt")["model_args"]["n_embd"]
    assert width == 1152 and float(rows(tmp_path)[0]["bits"]) == pytest.approx(2)


def test_the_best_markov_model_is_of_all_orders(tmp_path, monkeypatch, capsys):
    """On bases of no order higher than 1 the bigram is the best: no row of a worse one."""
    rng = np.random.default_rng(0)
    letters = [random_dna(rng, 3000, repeats=False) for _ in range(2)]
    splits = {"train": {"chr1": letters[0]}, "val": {"chr2": letters[1]}}
    genome = Genome(write_genome(tmp_path / "genome", splits))
    monkeypatch.setattr(script, "markov_order", 6)
    windows = eval_windows(genome.bases("val"), genome.stretches("val"), 64, 10**6)
    baselines = script.markov_baselines(genome, windows)
    assert baselines["bigram"]["all"] < 2 and list(baselines)[0] == "bigram"
    orders = {}
    for order in range(1, 7):
        orders[order] = script.evaluate(Markov(genome.bases("train"), order), windows, 64)["all"]
    best = min(orders, key=orders.get)
    assert list(baselines) == ["bigram"] + [f"Markov {best}"] * (best > 1)
    assert min(row["all"] for row in baselines.values()) == pytest.approx(orders[best], abs=1e-3)
