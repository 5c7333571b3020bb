"""The benchmark: what its rows say, and that its quick form runs."""

import argparse
import json
import math
import os
import time

import pytest
import torch

import model
from experiments import gpu
from experiments.bench import measure
from experiments.bench.measure import Table
from experiments.bench.training import CudnnAttention
from tests.conftest import one_line_error, run


def test_a_ratio_above_one_is_better_than_the_anchor():
    table = Table()
    table.row("train", "a rate", 200.0, "bases/s", "nanoGPT", 100.0)
    table.row("prepare", "a time", 2.0, "s", "gzip -dc", 4.0)
    table.row("train", "alone", 3.0, "GB")
    assert [row["ratio"] for row in table.rows[:2]] == [2.0, 2.0]
    assert math.isnan(table.rows[2]["ratio"])


def test_calls_counts_calls(monkeypatch):
    """With a clock that each call moves on by two seconds: three calls fit into five."""
    clock, calls = [0.0], []
    monkeypatch.setattr(measure, "now", lambda device: clock[0])

    def call():
        calls.append(1)
        clock[0] += 2.0

    assert Table(seconds=5.0).calls(call, torch.device("cpu")) == 0.5 and len(calls) == 3


def test_the_spread_is_of_ratios_within_a_turn():
    turns = [{"a": 2.0, "b": 1.0}, {"a": 10.0, "b": 20.0}]
    assert measure.ratio_spread(turns, "a", "b") == (0.5, 2.0)


def test_rows_are_in_the_file_as_they_come(tmp_path):
    path = tmp_path / "rows.json"
    table = Table(path=path)
    for n in (1, 2):
        table.row("train", "a rate", n, "bases/s")
        rows = json.loads(path.read_text())
        assert [row["value"] for row in rows] == list(range(1, n + 1))
        assert rows[0]["ratio"] is None


def test_attention_is_chosen_where_the_compiler_sees_it():
    """cuDNN has no attention on a CPU: whoever asks for it gets an error, and not the model that
    was compiled before.
    """
    config = model.GPTConfig(block_size=8, n_layer=1, n_head=1, n_embd=8)
    tokens = torch.zeros(1, 8, dtype=torch.long)
    usual, cudnn = model.GPT(config), CudnnAttention(config)
    for gpt in (usual, cudnn):
        gpt.compile(backend="aot_eager", dynamic=False)
    assert usual(tokens).shape == (1, 8, 4)
    with pytest.raises(RuntimeError):
        cudnn(tokens)


def test_a_part_that_takes_too_long_ends_with_what_it_started(tmp_path):
    child = tmp_path / "child"
    code = (
        "import subprocess, sys, time; "
        "sleeper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        f"open({str(child)!r}, 'w').write(str(sleeper.pid)); time.sleep(60)"
    )
    args = argparse.Namespace(out=tmp_path, slower=2.0)
    ended, seconds = gpu.run(gpu.Part("a part", ["-c", code], 2.5), args)
    assert ended == "cut off after 5 s" and seconds < 30
    pid = int(child.read_text())
    for _ in range(100):
        if not is_running(pid):
            break
        time.sleep(0.1)
    assert not is_running(pid)


def is_running(pid):
    """Whether a process is there, and not only waits to be collected."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    if not os.path.isdir("/proc/self"):
        return True  # a Mac: its launchd collects at once
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(") ", 1)[1][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("part", ("loader", "eval"))
def test_quick(tmp_path, part):
    out = run(
        "-m",
        "experiments.bench",
        part,
        "--quick",
        f"--json={tmp_path / 'rows.json'}",
        "--device=cpu",
    )
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert (
        out.returncode == 0 and rows and all(r["part"] == part and r["value"] > 0 for r in rows)
    ), out.stderr
    assert set(rows[0]) == {"part", "case", "value", "unit", "anchor", "anchor_value", "ratio"}


def test_mistakes_are_one_line(tmp_path):
    one_line_error(run("-m", "experiments.bench", "training"), "is no part", "train, loader")
    one_line_error(
        run("-m", "experiments.bench", "train", "--quick", f"--nanogpt={tmp_path}", "--device=cpu"),
        "is no clone of nanoGPT",
    )
