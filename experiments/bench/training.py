"""A training step, ours and nanoGPT's: bases a second, where its time goes, its memory."""

import math
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from statistics import median

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import model
import train
from config import die
from experiments.bench.measure import medians, now, ratio_spread
from experiments.nanogpt import import_nanogpt, new_model
from model import N, base_nll
from optim import orthogonalize
from runtime.device import has_compiler, machine_peak, peak_memory

TINY = dict(n_layer=2, n_head=2, n_embd=64)
LAPTOP = dict(n_layer=4, n_head=1, n_embd=192)  # config/laptop.py
FLAGSHIP = dict(n_layer=12, n_head=6, n_embd=768)
GPU_CASES = {  # block_size x windows at a time
    "1024x8": (FLAGSHIP, 1024, 8),
    "1024x16": (FLAGSHIP, 1024, 16),
    "1024x32": (FLAGSHIP, 1024, 32),
    "4096x4": (FLAGSHIP, 4096, 4),
    "4096x8": (FLAGSHIP, 4096, 8),
}
CPU_CASES = {"512x16": (LAPTOP, 512, 16)}
QUICK_CASES = {"128x8": (TINY, 128, 8)}


class Ours:
    """Our model and optimisers as train.py builds them, and its step."""

    def __init__(self, size, batch, compiled, team, gpt=model.GPT):
        """gpt: the class of the model."""
        words = [f"--{key}={value}" for key, value in size.items()]
        train.configure(vars(train), [*words, f"--compile={compiled}"])
        train.GPT = gpt
        self.team = team
        self.batch = batch
        self.weight_sum = float(train.target_weights(batch).sum())
        self.learner = train.build_learner(team)
        self.model = self.learner.model
        train.GPT = model.GPT

    def step(self):
        train.train_step(self.learner, self.batch[None], self.weight_sum, self.team)

    def loss(self):
        with self.team.autocast:
            nll = base_nll(self.model, (self.batch & 7).long())
        return train.step_loss(nll, self.batch, self.weight_sum)

    def update(self):
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.learner.optimizers.step()
        self.learner.optimizers.zero_grad()


class Bfloat16Residual(model.GPT):
    """The residual stream in bfloat16 rather than float32: half of its bytes."""

    def embed(self, idx, cache=None):
        return super().embed(idx, cache).to(torch.bfloat16)


class CudnnAttention(model.GPT):
    """Attention by cuDNN, where torch's own choice is as a rule FlashAttention. It is chosen inside
    the model, since a compiled model keeps what it was compiled with, whatever is chosen around it.
    """

    def forward(self, idx, cache=None):
        with sdpa_kernel(SDPBackend.CUDNN_ATTENTION):
            return super().forward(idx, cache)


VARIANTS = {"bfloat16 residual": Bfloat16Residual}
GPU_VARIANTS = {"cuDNN's attention": CudnnAttention}  # from an A100 on


class Theirs:
    """nanoGPT's model and optimiser, on the same bases, its loss inside the model as it has it."""

    def __init__(self, nanogpt, size, batch, compiled, team):
        self.team = team
        self.batch = batch
        self.model = new_model(import_nanogpt(nanogpt), size).to(team.device)
        with redirect_stdout(None):  # it counts its tensors aloud
            self.optimizer = self.model.configure_optimizers(
                0.1, 1e-3, (0.9, 0.95), team.device.type
            )
        if compiled:
            self.model.compile(dynamic=False)

    def step(self):
        bases = self.batch.long()
        with self.team.autocast:
            loss = self.model(F.pad(bases[:, :-1], (1, 0), value=N), bases)[1]
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


@dataclass
class Options:
    """nanogpt: a clone of it, "": without. only: one case. quick: small sizes. variants: time those
    of VARIANTS too.
    """

    nanogpt: str = ""
    only: str = ""
    quick: bool = False
    variants: bool = False


def measure_training(table, team, options):
    """Rows of every case; returns (bases a second, block_size) of the last one, for the loader's
    sake.
    """
    cases = CPU_CASES
    if team.device.type == "cuda":
        cases = GPU_CASES
    if options.quick:
        cases = QUICK_CASES
    if options.only:
        if options.only not in cases:
            die(f"only = {options.only}: give one of {', '.join(cases)}")
        cases = {options.only: cases[options.only]}
    matmul = matmul_rate(table, team, options.quick)
    for shape, block_size, micro in cases.values():
        speed = measure_case(table, team, options, matmul, shape, block_size, micro)
    return speed, block_size


def matmul_rate(table, team, quick):
    """Flops a second of a large matrix product on this device."""
    n = 1024
    if team.device.type == "cuda":
        n = 8192
    if quick:
        n = 256
    a = torch.randn(n, n, device=team.device, dtype=team.precision)
    rate = table.rate(team.device, lambda: a @ a) * 2 * n**3
    name, sheet = machine_peak(team.device)
    case = f"matmul of {n}, {str(team.precision).removeprefix('torch.')}, {name}"
    if math.isnan(sheet):
        table.row("train", case, rate / 1e12, "Tflop/s")
    else:
        table.row("train", case, rate / 1e12, "Tflop/s", "data sheet", sheet / 1e12)
    return rate


def has_fast_attention(device):
    """Whether GPU_VARIANTS run on a device."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)


def make_trainers(size, batch, team, options):
    """{name: a function that builds it} of what is timed; on a GPU only what is compiled, where it
    can compile.
    """
    can_compile = has_compiler(team.device) and not options.quick
    kinds = [False, True] if can_compile else [False]
    if team.device.type == "cuda" and can_compile:
        kinds = [True]
    makers = {}
    for compiled in kinds:
        how = "compiled" if compiled else "eager"
        makers[f"ours, {how}"] = partial(Ours, size, batch, compiled, team)
        if options.nanogpt:
            clone = options.nanogpt
            makers[f"nanoGPT, {how}"] = partial(Theirs, clone, size, batch, compiled, team)
            of_64 = dict(size, n_head=size["n_embd"] // 64)  # as nanoGPT's own configs have heads
            if team.device.type == "cpu" and of_64 != size:
                name = f"nanoGPT with heads of 64, {how}"
                makers[name] = partial(Theirs, clone, of_64, batch, compiled, team)
        if options.variants:
            variants = dict(VARIANTS)
            if has_fast_attention(team.device):
                variants.update(GPU_VARIANTS)
            for name, gpt in variants.items():
                makers[f"ours, {name}, {how}"] = partial(Ours, size, batch, compiled, team, gpt)
    return makers


def measure_case(table, team, options, matmul, shape, block_size, micro):
    """Rows of one size of model, context and micro-batch; returns our bases a second."""
    torch.compiler.reset()  # torch compiles a function for 8 shapes, then no more
    device = team.device
    case = f"{shape['n_layer']} x {shape['n_embd']}, block {block_size}, micro-batch {micro}"
    batch = torch.randint(4, (micro, block_size), dtype=torch.uint8, device=device)
    makers = make_trainers(dict(shape, block_size=block_size), batch, team, options)
    trainers = first_steps(table, device, makers, case)
    turns = table.turns(device, {name: trainer.step for name, trainer in trainers.items()})
    compare(table, turns, batch.numel(), case)
    rates = medians(turns)
    fastest = max((name for name in rates if name.startswith("ours")), key=rates.get)
    speed = rates[fastest] * batch.numel()
    utilisation(table, team, speed * train.flops_per_base(trainers[fastest].model), matmul, case)
    breakdown(table, trainers[fastest], f"{fastest}, {case}")
    return speed


def first_steps(table, device, makers, case):
    """Build what is timed and make a step of each: {name: trainer}. Rows of the seconds that this
    takes where it compiles, and of the memory on a GPU.
    """
    trainers = {}
    for name, make in makers.items():
        torch.manual_seed(0)
        held_before = 0
        if device.type == "cuda":
            held_before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)
        trainers[name] = make()
        began = now(device)
        trainers[name].step()
        if name.endswith("compiled"):
            table.row("train", f"first step, {name}, {case}", now(device) - began, "s")
        if device.type == "cuda":
            held = peak_memory(device) - held_before
            table.row("train", f"memory, {name}, {case}", held / 1e9, "GB")
    return trainers


def compare(table, turns, n_bases, case):
    """Rows of bases a second: each of ours beside each of nanoGPT's that is compiled as it is.
    turns: steps a second, as Table.turns has them; n_bases: in a step.
    """
    rates = medians(turns)
    for name, rate in rates.items():
        how = name.split(", ")[-1]
        anchors = [f"nanoGPT, {how}", f"nanoGPT with heads of 64, {how}"]
        bases = rate * n_bases
        beside = [anchor for anchor in anchors if anchor in rates and name.startswith("ours")]
        for anchor in beside:
            spread = ratio_spread(turns, name, anchor)
            theirs = rates[anchor] * n_bases
            table.row("train", f"{name}, {case}", bases, "bases/s", anchor, theirs, spread)
        if not beside:
            table.row("train", f"{name}, {case}", bases, "bases/s")


def utilisation(table, team, flops, matmul, case):
    """Rows of the share of this device's speed that `flops` a second are."""
    table.row("train", f"MFU, {case}", flops / matmul, "of the matmul rate")
    sheet = machine_peak(team.device)[1]
    if not math.isnan(sheet):
        table.row("train", f"MFU, {case}", flops / sheet, "of the data sheet")


def breakdown(table, trainer, case):
    """Where the time of a step goes, and the optimisers' share of a step of 2^20 bases."""
    device = trainer.team.device
    host = trainer.batch.cpu()
    seconds = {"data to the device": [], "forward": [], "backward": [], "clip and optimisers": []}
    warming = 2
    for _ in range(warming + 3 * table.rounds):
        marks = [now(device)]
        host.to(device)
        marks.append(now(device))
        loss = trainer.loss()
        marks.append(now(device))
        loss.backward()
        marks.append(now(device))
        trainer.update()
        marks.append(now(device))
        for part, began, ended in zip(seconds, marks, marks[1:]):
            seconds[part].append(ended - began)
    took = {part: median(times[warming:]) for part, times in seconds.items()}
    for part, time in took.items():
        table.row("train", f"{part}, {case}", time * 1e3, "ms")
    update = took.pop("clip and optimisers")
    step = update + 2**20 / trainer.batch.numel() * sum(took.values())
    table.row("train", f"optimisers of 2^20 bases' step, {case}", update / step, "of the step")
    newton = newton_schulz_seconds(table, trainer)
    table.row("train", f"Newton-Schulz of 2^20 bases' step, {case}", newton / step, "of the step")


def newton_schulz_seconds(table, trainer):
    """Seconds of the orthogonalisations of one step of Muon alone."""
    muon = trainer.learner.optimizers.of_matrices
    stacks = []
    for group in muon.param_groups:
        stacks.append(muon.stack([p.detach() for p in group["params"]], group["params"]))

    def run():
        for stack in stacks:
            orthogonalize(stack)

    return 1 / table.rate(trainer.team.device, run)
