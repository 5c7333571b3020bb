"""torchrun: more processes, restarts, and two nodes that are two launchers on this machine's
loopback.
"""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.conftest import ROOT
from tests.test_train import TINY, cut, load, rows, same_run, train

TORCHRUN = [sys.executable, "-m", "torch.distributed.run"]


LEAVES = """
import os, time
from runtime.team import join_team
team = join_team("cpu")
import torch._dynamo  # as the optimisers load it
team.wait_for_all()
team.leave()
time.sleep(0.5)
threads = [open(f"/proc/self/task/{t}/comm").read() for t in os.listdir("/proc/self/task")]
assert not [name for name in threads if "gloo" in name], threads
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="looks at Linux's threads")
def test_no_thread_of_the_team_is_left_behind(tmp_path):
    """Such a thread aborts a process that is ending, now and then."""
    (tmp_path / "leaves.py").write_text(LEAVES)
    done = subprocess.run(
        [*TORCHRUN, "--standalone", "--nproc_per_node=2", tmp_path / "leaves.py"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_rank_that_dies_is_restarted_and_resumes(genome_folder, tmp_path):
    words = ("--max_iters=4", "--eval_interval=2", "--markov_order=0")
    assert train(genome_folder, tmp_path / "uncut", *words, torchrun=2).returncode == 0
    restarted = train(
        genome_folder,
        tmp_path / "cut",
        *words,
        env={**cut("ckpt.pt", 2), "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
        start=[*TORCHRUN, "--standalone", "--nproc_per_node=2", "--max_restarts=1"],
    )
    assert restarted.returncode == 0 and "resuming" in restarted.stdout, (
        restarted.stdout + restarted.stderr
    )
    same_run(tmp_path / "uncut", tmp_path / "cut")


@pytest.mark.slow
def test_ten_steps_are_the_same_on_one_two_and_four_processes(genome_folder, tmp_path):
    words = ("--max_iters=10", "--eval_interval=10", "--markov_order=0")
    losses = []
    for processes in (0, 2, 4):
        out = tmp_path / str(processes)
        process = train(genome_folder, out, *words, torchrun=processes)
        assert process.returncode == 0, process.stderr
        losses.append([float(row["loss"]) for row in rows(out) if row["loss"]])
    assert len(losses[0]) == 10
    assert losses[1] == pytest.approx(losses[0], abs=1e-5) and losses[2] == pytest.approx(
        losses[0], abs=1e-5
    )


@pytest.mark.slow
def test_a_run_resumes_on_another_number_of_processes(genome_folder, tmp_path):
    words = ("--max_iters=10", "--eval_interval=5", "--markov_order=0")
    assert train(genome_folder, tmp_path / "one", *words).returncode == 0
    assert (
        train(
            genome_folder, tmp_path / "changing", *words, env=cut("ckpt.pt", 2), torchrun=2
        ).returncode
        != 0
    )
    assert train(genome_folder, tmp_path / "changing", *words, torchrun=4).returncode == 0
    one, changing = (
        [float(row["loss"]) for row in rows(tmp_path / x) if row["loss"]]
        for x in ("one", "changing")
    )
    assert len(one) == 10 and changing == pytest.approx(one, abs=1e-5)


def start_two_nodes(port, words):
    """Two torchrun launchers of one process each, as on two machines that meet at a port."""
    meeting = ["--rdzv_backend=c10d", f"--rdzv_endpoint=127.0.0.1:{port}", "--rdzv_id=1"]
    line = [*TORCHRUN, "--nnodes=2", "--nproc_per_node=1", *meeting, "train.py", *words]
    return [
        subprocess.Popen(
            line,
            cwd=ROOT,
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]


@pytest.mark.slow
def test_two_nodes_lose_one_and_resume(genome_folder, tmp_path):
    """A node is killed whole: the other ends by itself, and the same two commands go on to what one
    node with two processes reaches.
    """
    words = [f"--dataset={genome_folder}", *TINY]
    words += ["--max_iters=60", "--eval_interval=4", "--markov_order=0"]
    own = [*words, f"--out_dir={tmp_path / 'two'}"]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    first, second = start_two_nodes(port, own)
    while not (tmp_path / "two" / "ckpt.pt").exists():
        assert first.poll() is None and second.poll() is None, (
            first.communicate()[0] + second.communicate()[0]
        )
        time.sleep(0.05)
    children = subprocess.run(
        ["pgrep", "-P", str(second.pid)], capture_output=True, text=True
    ).stdout.split()
    for pid in (second.pid, *map(int, children)):
        os.kill(pid, signal.SIGKILL)
    began = time.time()
    assert first.wait(timeout=60) != 0 and time.time() - began < 60
    step = load(tmp_path / "two" / "ckpt.pt")["step"]
    assert 0 < step < 60, "killed too late to tell"
    again = start_two_nodes(port, own)
    texts = [node.communicate(timeout=120)[0] for node in again]
    assert [node.returncode for node in again] == [0, 0] and any(
        "resuming" in text for text in texts
    ), texts
    assert (
        train(
            genome_folder,
            tmp_path / "one",
            "--max_iters=60",
            "--eval_interval=4",
            "--markov_order=0",
            torchrun=2,
        ).returncode
        == 0
    )
    same_run(tmp_path / "one", tmp_path / "two")
