"""The processes of a run (torchrun starts one for each GPU) and what they agree on."""

import os
import signal
import zlib
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
import torch.distributed as dist

from runtime.device import pick_device

if dist.is_available():
    # Loaded before a group is formed, or its functions keep the group as their default argument.
    # The group's threads then outlive leave(), and now and then abort a Python that is ending.
    import torch.distributed.nn.functional

# what Python does at these signals
USUAL = {signal.SIGTERM: signal.SIG_DFL, signal.SIGINT: signal.default_int_handler}


@dataclass
class Team:
    """This process among the processes of a run; by default one alone, on the CPU, in float32."""

    rank: int = 0
    world: int = 1  # number of processes
    device: torch.device = torch.device("cpu")
    precision: torch.dtype = torch.float32
    autocast: object = field(default_factory=nullcontext)  # the context in which a model computes
    signals: list = field(default_factory=list)  # those that told this process to stop

    @property
    def leads(self):
        """Whether this process is the one that prints and writes files."""
        return self.rank == 0

    def say(self, text=""):
        """Print a line, once for all processes."""
        if self.leads:
            print(text, flush=True)

    def told_to_stop(self):
        """Whether any process was told to stop. All get the same answer, and so drop the same step.

        It is asked on the CPU, so that no GPU is waited for.
        """
        asked = torch.tensor(float(bool(self.signals)))
        if self.world > 1:
            dist.all_reduce(asked)
        return bool(asked > 0)

    def agrees(self, *what):
        """Whether all processes give the same values here."""
        if self.world == 1:
            return True
        number = zlib.crc32(repr(what).encode())
        extremes = torch.tensor([number, -number])
        dist.all_reduce(extremes, dist.ReduceOp.MAX)
        largest, smallest = int(extremes[0]), -int(extremes[1])
        return largest == smallest

    def sum(self, tensor):
        """Replace a tensor by its sum over all processes."""
        if self.world > 1:
            dist.all_reduce(tensor)

    def sum_gradients(self, parameters, loss):
        """Replace the parameters' gradients, and the loss, by their sums over all processes."""
        if self.world == 1:
            return
        flat = torch.cat([p.grad.flatten() for p in parameters] + [loss.view(1)])
        dist.all_reduce(flat)
        loss.copy_(flat[-1])
        gradients = flat[:-1].split([p.numel() for p in parameters])
        for p, gradient in zip(parameters, gradients):
            p.grad = gradient.view_as(p)

    def wait_for_all(self):
        """Wait until every process is here."""
        self.sum(torch.zeros(1))

    def leave(self):
        """End the messages between processes, and let Ctrl-C end this one at once again."""
        for number, handler in USUAL.items():
            signal.signal(number, handler)
        if self.world > 1:
            dist.destroy_process_group()


def join_team(device="auto", dtype="auto"):
    """The Team that torchrun's environment describes, connected, or one process alone."""
    rank = int(os.environ.get("RANK", 0))
    world = int(os.environ.get("WORLD_SIZE", 1))
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    any_gpu = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    if any_gpu:
        device = f"cuda:{local_rank}"
    device, precision, autocast = pick_device(device, dtype)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if world > 1:
        # what is on the CPU is sent by gloo, what is on a GPU by nccl
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    return Team(rank, world, device, precision, autocast, catch_signals())


def catch_signals():
    """Have SIGTERM and Ctrl-C put their number into the list returned, and not end the process.

    A second Ctrl-C ends it at once.
    """
    asked = []

    def note(number, frame):
        asked.append(number)
        # not so of SIGTERM, which may well come twice: from a scheduler and from torchrun
        if number == signal.SIGINT:
            signal.signal(number, USUAL[number])

    for number in USUAL:
        signal.signal(number, note)
    return asked
