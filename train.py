"""Train the GPT of model.py on a prepared genome: on a laptop, two gaming cards, many nodes.

  python train.py config/hg38_small.py
  torchrun train.py config/hg38_small.py
  torchrun --nproc_per_node=2 train.py config/hg38_small.py --batch_size=8

Every process sees the same settings; a step is the same bases however many processes share it.
Typing the same command again continues the run that out_dir holds. Losses are per base: nats, and
bits (nats / ln 2). The training loss is the weighted mean of a step, validation is unweighted.
"""

import math
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

# torch reads this as it loads: threads that wait leave their core to others
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from config import configure, dataset_names, die, read_script
from data import (
    ELEMENT,
    FLANK,
    REPEAT,
    Mixture,
    N,
    Windows,
    eval_windows,
    is_base,
    known_ccre,
    mark_elements,
    quarters,
    rows_of_process,
)
from data.corpus import (
    describe_data,
    held_out_here_trained_on_there,
    open_genomes,
    read_shares,
    validated_but_seen,
)
from data.download import md5_of
from data.regions import read_regions, region_file, training_regions
from markov import Markov
from model import GPT, GPTConfig, base_nll
from optim import Optimizers, schedule
from runtime.checkpoint import save_checkpoint
from runtime.device import has_compiler
from runtime.progress import Clock, Progress
from runtime.resume import make_checkpoint, start_or_resume
from runtime.run_folder import RunFolder
from runtime.team import Team, join_team
from runtime.watch import check_packages

# The settings are globals of this file; configure() sets them, and returns them as a dict for those
# who log, check or save them. To add one: docs/how-it-works.md, "Settings".
# ---- the run
out_dir = "out"  # where ckpt.pt (the last state), best.pt (the best) and log.csv go
init_from = "auto"  # auto: resume or start | scratch | resume | a checkpoint to fine-tune
dataset = "hg38"  # a folder under data/, or a path; several: "hg38,mm39", the main one first
dataset_shares = ""  # of several genomes, the share of windows from each: "3,1"; empty: by size
regions = ""  # a BED to train on beside all of the main genome; auto: the elements it came with
region_share = 0.5  # share of windows on regions
region_from = 0.7  # share of max_iters after which they are read; 0: from the start
region_classes = True  # each class of the BED gets as many windows; False: each region does
flank = 400  # bases to either side of a region; a window that could hold all begins within them
seed = 1337  # of the initial weights and of the order of windows
# ---- the model
block_size = 1024  # bases of context
n_layer = 12  # blocks
n_head = 6  # heads; n_embd / n_head = 128 suits GPUs
n_embd = 768  # width
stem_bases = 16  # bases that the detectors of the stem read
stem_width = 512  # detectors of the stem
dropout = 0.0  # more than a few passes over the data may want some
# ---- the batch
batch_tokens = 2**20  # bases in a step, over all processes and micro-batches
batch_size = 16  # windows in a micro-batch: halve it when memory runs out; only rounding changes
rc = 0.5  # share of windows read on the other strand
repeat_weight = 1.0  # weight of soft-masked bases in the training loss; evaluations do not weigh
# ---- the optimiser
max_iters = 2050  # steps; 2,050 of 2**20 bases are about one pass of hg38's training chromosomes
learning_rate = 0.02  # Muon, for the matrices
embed_lr = 0.02  # AdamW, for the embeddings and the stem's detectors
head_lr = 0.004  # AdamW, for the output layer
weight_decay = 0.0  # decoupled, for the matrices
grad_clip = 1.0  # largest norm of the gradient; 0: no clipping
warmup = 0.01  # share of max_iters to rise to the full rate, 3 steps at least
cooldown = 0.7  # share of max_iters to fall linearly to zero
# ---- looking at it
log_interval = 10  # steps between lines in the log
eval_interval = 100  # steps between evaluations; each one saves a checkpoint
eval_tokens = 2**22  # bases scored in an evaluation, the same ones in every run that has as many
best_by = "all"  # loss that best.pt and patience go by: all | repeats | unique | elements ...
patience = 0  # evaluations without a better best_by after which the run ends; 0: never
keep_every = 0  # steps between checkpoints that are kept, as ckpt-STEP.pt; 0: none
markov_order = 12  # highest order of the Markov models scored at the end for comparison; 0: none
wandb_log = False  # log to Weights & Biases too: pip install wandb
wandb_project = "nanogpt-dna"  # the project there
wandb_run_name = ""  # of this run there; empty: as out_dir
tensorboard_log = False  # log to out_dir/tensorboard too: pip install tensorboard
# ---- the machine
device = "auto"  # auto | cuda | cpu | mps | cuda:1 ...
dtype = "auto"  # auto | bfloat16 | float16 | float32
compile = "auto"  # torch.compile: auto | True | False
# ---- end of settings

FULL = 0.9  # if windows of a source are less full than this, on the mean, micro-batches are trimmed
ANY = 2**62  # no upper limit
AT_LEAST_1 = ["n_layer", "n_head", "n_embd", "batch_size", "max_iters"]
AT_LEAST_1 += ["log_interval", "eval_interval", "eval_tokens"]
AT_LEAST_0 = ["learning_rate", "embed_lr", "head_lr", "weight_decay", "grad_clip"]
LIMITS = {  # lowest and highest value
    **{key: (1, ANY) for key in AT_LEAST_1},
    **{key: (0, 1e38) for key in AT_LEAST_0},
    "seed": (0, 2**32),
    "block_size": (1, 2**17),
    "stem_bases": (1, 256),
    "stem_width": (1, 2**20),
    "dropout": (0, 0.9),
    "batch_tokens": (1, 2**30),
    "rc": (0, 1),
    "region_share": (0, 1),
    "region_from": (0, 1),
    "flank": (0, 10_000),
    "repeat_weight": (0, 1e6),
    "warmup": (0, 1),
    "cooldown": (0, 1),
    "patience": (0, ANY),
    "keep_every": (0, ANY),
    "markov_order": (0, 13),
}


# ---- the data


class Loader:
    """The windows of each step that fall to this process.

    They are read on a thread while the step before is computed. Where stretches are short and leave
    windows half empty, those of a step are sorted by length, and each micro-batch is cut to its
    longest one, rounded up to a quarter of block_size: little time is lost on the empty part, and
    there are but four shapes to compile.
    """

    def __init__(self, genomes, team):
        self.per_step = max(1, round(batch_tokens / block_size))  # windows, over all processes
        self.bases_per_step = self.per_step * block_size  # where every window is full
        self.names, self.mixture = self.mix(genomes)
        self.trims = any(source.fill < FULL for source in self.mixture.sources)
        self.team = team
        most = math.ceil(self.per_step / team.world)  # windows of a process
        self.micro_steps = math.ceil(most / batch_size)
        self.micro = math.ceil(most / self.micro_steps)  # windows of a micro-batch, evened out
        self.thread = ThreadPoolExecutor(1)
        self.coming = (None, None)  # a step, and its windows as they are being read

    def mix(self, genomes):
        """(names of what is read, the Mixture of its windows): the genomes, and after region_from
        of the steps the regions too, class by class.
        """
        names = dataset_names(dataset)
        sources = []
        for i, genome in enumerate(genomes):
            bases, stretches = genome.bases("train"), genome.stretches("train")
            sources.append(Windows(bases, stretches, block_size, seed, rc, stream=i))
        shares = read_shares(dataset_shares, [source.per_epoch for source in sources])
        later = shares
        by_kind = training_regions(regions, flank, region_classes, genomes[0])
        for kind, stretches in by_kind.items():
            bases, stream = genomes[0].bases("train"), len(sources)
            names.append(f"regions {kind}".strip())
            sources.append(Windows(bases, stretches, block_size, seed, rc, stream, jitter=flank))
        if by_kind:
            later = [(1 - region_share) * share for share in shares]
            later += [region_share / len(by_kind)] * len(by_kind)
            shares = shares + [0.0] * len(by_kind)
        switch_step = round(region_from * max_iters)
        return names, Mixture(sources, shares, self.per_step, later, switch_step)

    def read(self, step):
        """(micro-batches, weight_sum, n_bases) of a step.

        micro-batches: this process's, a list of uint8 (micro, block_size or less). weight_sum,
        n_bases: the weights of all targets of the step, and how many they are, over all processes;
        what is cut off below is N, which weighs nothing.
        """
        batch = self.mixture.batch(step)
        raw = torch.from_numpy(batch)
        weight_sum = float(target_weights(raw).sum(dtype=torch.float64))
        n_bases = int(is_base(raw).sum())
        if self.trims:
            batch = batch[np.argsort(quarters(batch), kind="stable")]
            rows = batch[self.team.rank :: self.team.world]  # of all lengths, for each process
        else:
            rows = rows_of_process(batch, self.team.rank, self.team.world)
        mine = np.full((self.micro_steps * self.micro, block_size), N, np.uint8)
        mine[: len(rows)] = rows  # rows that are left over are N, which weighs nothing
        micro_batches = []
        for some in np.split(mine, self.micro_steps):
            if self.trims:
                some = some[:, : math.ceil(max(1, quarters(some).max()) * block_size / 4)]
            micro_batches.append(self.to_send(torch.from_numpy(some)))
        return micro_batches, max(weight_sum, 1.0), n_bases

    def to_send(self, tensor):
        """A tensor as it goes to the device fastest."""
        tensor = tensor.contiguous()
        if self.team.device.type == "cuda":
            return tensor.pin_memory()
        return tensor

    def next(self, step):
        """What read(step) gives, on the device; the step after it is read meanwhile."""
        expected, future = self.coming
        if expected != step:
            future = self.thread.submit(self.read, step)
        micro_batches, weight_sum, n_bases = future.result()
        self.coming = (None, None)
        if step + 1 < max_iters:
            self.coming = (step + 1, self.thread.submit(self.read, step + 1))
        device = self.team.device
        return [raw.to(device, non_blocking=True) for raw in micro_batches], weight_sum, n_bases


def remarks(genomes, data, settings):
    """Lines on what is trained on: the regions, and what is held out here and trained on elsewhere,
    in another genome or in an earlier run. data: what the checkpoint will say of the genomes.
    """
    lines = held_out_here_trained_on_there(genomes) + validated_but_seen(data)
    if regions:
        lines.append(read_regions(region_file(regions, genomes[0]), genomes[0]).summary())
        return lines
    defaults, _ = read_script(__file__)
    of_regions = ("region_share", "region_from", "region_classes", "flank")
    ignored = [key for key in of_regions if settings[key] != defaults[key]]
    if ignored:
        lines.append(f"warning: regions is empty, so these change nothing: {', '.join(ignored)}")
    return lines


# ---- the model


def model_settings():
    """The settings that make a GPTConfig."""
    return dict(
        block_size=block_size,
        n_layer=n_layer,
        n_head=n_head,
        n_embd=n_embd,
        stem_bases=stem_bases,
        stem_width=stem_width,
        dropout=dropout,
    )


def build_model(team):
    """A new GPT on the team's device; its weights follow from seed.

    Compiled where that is asked for and possible here.
    """
    torch.manual_seed(seed)
    try:
        model = GPT(GPTConfig(**model_settings()))
    except (ValueError, RuntimeError) as error:
        die(f"no such model: {error}")
    model.to(team.device)
    wanted = compile is True or (compile == "auto" and team.device.type == "cuda")
    model.is_compiled = wanted and has_compiler(team.device)
    if model.is_compiled:
        model.compile(dynamic=False)
    elif wanted:
        team.say(
            "going on without compile, slower and in more memory: it needs a C++ compiler and "
            "Python.h (apt install g++ python3-dev), on a GPU Triton too, and is not for a Mac's "
            "GPU or one older than a V100"
        )
    return model


def build_optimizers(model, team):
    """The optimisers of a model of build_model's."""
    return Optimizers(model, learning_rate, embed_lr, head_lr, weight_decay, team.precision)


@dataclass
class Learner:
    """The model and what trains it: all that a step changes."""

    model: GPT
    optimizers: Optimizers
    scaler: torch.amp.GradScaler  # scales the loss in float16, does nothing otherwise


def build_learner(team):
    """A Learner at its start."""
    model = build_model(team)
    optimizers = build_optimizers(model, team)
    scaler = torch.amp.GradScaler(team.device.type, enabled=team.precision == torch.float16)
    return Learner(model, optimizers, scaler)


def flops_per_base(model):
    """Flops of a forward and a backward pass, for each base: 6 for each parameter of the matrices
    and the output layer, and 12 n_layer n_embd block_size.

    All of attention is counted, causal skipping not credited (PaLM, Chowdhery et al. 2022,
    appendix B).
    """
    n_matrix = sum(p.numel() for p in model.matrices()) + model.lm_head.weight.numel()
    return 6 * n_matrix + 12 * n_layer * n_embd * block_size


def describe_run(settings, genomes):
    """What a checkpoint says of its run: settings, model, data, torch's version."""
    start = "scratch" if init_from in ("auto", "resume") else init_from
    data, *others = [
        describe_data(genome, name) for genome, name in zip(genomes, dataset_names(dataset))
    ]
    if others:
        data["others"] = others
    if regions:
        data["regions"] = md5_of(region_file(regions, genomes[0]))
    return dict(
        model_args=model_settings(),
        config=dict(settings, init_from=start),
        data=data,
        torch=str(torch.__version__),
    )


# ---- the loss


def target_weights(raw):
    """What each base weighs as a target in the training loss: uint8 -> float32, the same shape.

    raw: (..., T) windows of bytes as in the .bin (data/genome.py); each of their bases is a target,
    and what the model reads before it is the base before. N weighs nothing, a soft-masked repeat
    repeat_weight, any other base 1. The training loss divides by the sum of these weights, so this
    function alone decides what a base counts; evaluation weighs all bases alike. A weight that
    needs a base's neighbours sees those in its window alone, so a pair that the window's edge cuts
    is missed.
    """
    is_repeat = (raw & REPEAT) > 0
    return is_base(raw) * torch.where(is_repeat, repeat_weight, 1.0)


def step_loss(nll, raw, weight_sum):
    """What a micro-batch adds to the loss of its step.

    nll: (B, T) nats of the bases of raw, uint8 windows. weight_sum: the weights of all targets of
    the step, over all its micro-batches and processes.
    """
    return (nll * target_weights(raw)).sum() / weight_sum


# ---- a step


def train_step(learner, batch, weight_sum, team):
    """One step of the optimisers -> (loss in nats, gradient norm); None if told to stop.

    batch: micro-batches of uint8 windows, on the team's device. The loss is the sum of
    weight x nll over the whole step, all processes together, divided by weight_sum: how a step is
    cut into micro-batches and processes changes nothing but rounding. If a process was told to
    stop, the step is dropped and nothing has changed.
    """
    model, optimizers, scaler = learner.model, learner.optimizers, learner.scaler
    loss = torch.zeros((), device=team.device)
    for raw in batch:
        if team.signals:
            break
        with team.autocast:
            nll = base_nll(model, (raw & 7).long())
        part = step_loss(nll, raw, weight_sum)
        scaler.scale(part).backward()
        loss += part.detach()
    if team.told_to_stop():
        return None
    parameters = list(model.parameters())
    team.sum_gradients(parameters, loss)
    if scaler.is_enabled():
        optimizers.unscale(scaler)
    grad_norm = torch.nn.utils.clip_grad_norm_(parameters, grad_clip or math.inf)
    overflowed = scaler.is_enabled() and not torch.isfinite(grad_norm)
    if not overflowed:  # else both optimisers skip the step, and the scale halves
        optimizers.step()
    if scaler.is_enabled():
        scaler.update()
    optimizers.zero_grad()
    return loss, grad_norm


# ---- looking at it


def validation_windows(genome):
    """The (M, block_size) uint8 windows that evaluations score, the same ones every time, with the
    bits ELEMENT and FLANK where regulatory elements are known.
    """
    bases, stretches = genome.bases("val"), genome.stretches("val")
    windows = eval_windows(bases, stretches, block_size, eval_tokens)
    path = known_ccre(genome.folder, genome.meta["assembly"])
    if path:
        marks = mark_elements(read_regions(path, genome).all("val"), stretches, len(bases))
        # the marks of the same places; their windows are filled up with the N that is there already
        windows |= eval_windows(marks, stretches, block_size, eval_tokens)
    return windows


def validation_of_all(genomes):
    """The validation windows of each genome; dies if the main one's have no bases of best_by."""
    val_windows = [validation_windows(genome) for genome in genomes]
    counts = {name: mask.sum() for name, mask in measured(val_windows[0]).items()}
    if not is_known(best_by, counts):
        die(f"best_by = {best_by}: no such bases are known in {genomes[0].folder}'s validation")
    return val_windows


def measured(windows):
    """{name: (M, block_size) bool}: the bases of each loss. unique: not soft-masked. elements:
    regulatory ones, flanks: what is beside them. A loss that is added here goes into log.csv and
    summary.json; SHOWN of runtime/progress.py has those that are printed. One whose name ends in
    unique is unknown where nothing is soft-masked.
    """
    real = is_base(windows)
    unique = real & ((windows & REPEAT) == 0)
    element = (windows & ELEMENT) > 0
    beside = (windows & FLANK) > 0
    return {
        "all": real,
        "repeats": real & ~unique,
        "unique": unique,
        "elements": real & element,
        "flanks": real & beside,
        "elements_unique": unique & element,
        "flanks_unique": unique & beside,
    }


def is_known(loss, counts):
    """Whether a loss has any bases; counts: {name: bases} of measured(). Where nothing is
    soft-masked nobody knows which bases are unique.
    """
    if loss.endswith("unique") and counts["repeats"] == 0:
        return False
    return counts[loss] > 0


LOSSES = list(measured(np.empty((0, 1), np.uint8)))  # their names; no windows are needed for that


@torch.no_grad()
def evaluate(model, windows, windows_at_once, team=None):
    """Bits per base of windows, uint8 (M, block_size), for each of measured(): {"all": bits, ...}.

    model: a GPT or a Markov model. Bits are nan where is_known says no. The processes of a team
    share the windows and all get the result; None if one of them was told to stop.
    """
    team = team or Team()
    sums = torch.zeros(len(LOSSES), 2, dtype=torch.float64)  # nats and bases of each
    mine = range(team.rank * windows_at_once, len(windows), team.world * windows_at_once)
    for i in mine:
        if team.signals:
            break
        # always a whole batch, the last one filled up with N: one shape, compiled once
        x = np.full((windows_at_once, windows.shape[1]), N, np.uint8)
        x[: len(windows) - i] = windows[i : i + windows_at_once]
        bases = torch.from_numpy(x & 7).to(team.device).long()
        with team.autocast:
            nats = base_nll(model, bases).cpu().double().numpy()
        counted = [(nats[mask].sum(), mask.sum()) for mask in measured(x).values()]
        sums += torch.tensor(counted, dtype=torch.float64)
    if team.told_to_stop():
        return None
    team.sum(sums)
    counts = dict(zip(LOSSES, sums[:, 1].tolist()))
    bits = {}
    for name, nats in zip(LOSSES, sums[:, 0].tolist()):
        bits[name] = nats / counts[name] / math.log(2) if is_known(name, counts) else math.nan
    return bits


def evaluate_and_save(learner, run, val_windows, windows_at_once, about, progress, folder, team):
    """Score the model and save it, also as the best if it is the best on the main genome.

    val_windows: of each genome, the main one first. False, and nothing is done, if a process was
    told to stop.
    """
    learner.model.eval()
    vals = [evaluate(learner.model, windows, windows_at_once, team) for windows in val_windows]
    learner.model.train()
    if None in vals:
        return False
    val, *run.other_vals = vals
    improved = val[best_by] < run.best_bits
    run.val = val
    run.evaluated = run.step
    run.best_bits = min(val[best_by], run.best_bits)
    run.waited = 0 if improved else run.waited + 1
    progress.evaluation(run)
    if team.leads:
        checkpoint = make_checkpoint(learner, run, about, folder)
        if improved:  # the best first: a run cut off between the two finds it again
            save_checkpoint(folder.best, checkpoint)
        if keep_every and run.step % keep_every == 0:
            save_checkpoint(folder.kept(run.step), checkpoint)
        save_checkpoint(folder.last, checkpoint)
    return True


def markov_baselines(genome, val_windows):
    """{name: bits per base} of the bigram and the best Markov model, on the same bases.

    Orders go up to markov_order, and are counted on the training bases.
    """
    if not markov_order:
        return {}
    print(
        f"counting Markov models up to order {markov_order} on the training bases ...", flush=True
    )
    markov = Markov(genome.bases("train"), markov_order)
    bits = {}
    for order in range(1, markov_order + 1):
        bits[order] = evaluate(markov.at_order(order), val_windows, max(1, 2**18 // block_size))
    best = min(bits, key=lambda order: bits[order]["all"])
    baselines = {"bigram": bits[1]}
    if best > 1:
        baselines[f"Markov {best}"] = bits[best]
    return baselines


# ---- the loop


def check_settings(settings):
    """Die at a setting out of its limits."""
    for key, (low, high) in LIMITS.items():
        if not low <= settings[key] <= high:
            allowed = f"at least {low}" if high == ANY else f"{low} to {high}"
            die(f"{key} = {settings[key]}: give {allowed}")
    if regions and region_share == 0:
        die("region_share = 0 reads no regions: give it a share above 0, or leave out regions")
    if regions and round(region_from * max_iters) >= max_iters:
        die(f"region_from = {region_from} reads no regions: give it a share below 1")
    if compile not in ("auto", True, False):
        die(f"compile = {compile!r}: give auto, True or False")
    if best_by not in LOSSES:
        die(f"best_by = {best_by}: give one of {', '.join(LOSSES)}")
    if keep_every % eval_interval:
        die(f"keep_every = {keep_every}: give a multiple of eval_interval = {eval_interval}, or 0")
    check_packages(settings)


def evaluation_is_due(run, last_step):
    """Whether the model is to be evaluated and saved before the next step is made."""
    if run.evaluated == run.step and run.val is not None:
        return False  # before it was stopped
    return run.step == last_step or (run.step > 0 and run.step % eval_interval == 0)


def out_of_patience(run, team):
    """Whether `patience` evaluations in a row, the last one made at this step, were no better than
    the best one before.
    """
    if not patience or run.waited < patience or run.evaluated != run.step:
        return False
    team.say(
        f"ending after step {run.step}: {run.waited} evaluations were no better than best.pt, by "
        f"{best_by}; a larger patience, or 0, goes on"
    )
    return True


def stop_here(learner, run, about, folder, started_at, team):
    """Save the steps done, say how to go on, and end this process with the signal's exit code."""
    if team.leads and run.step > started_at:
        save_checkpoint(folder.last, make_checkpoint(learner, run, about, folder))
    line = f"stopped after step {run.step}"
    if run.step == 0:
        line += ": nothing is saved yet, the same command begins anew"
    else:
        same = "the same command"
        if init_from == "scratch":
            same += ", without --init_from=scratch,"
        line += f", which {folder.last} holds: {same} goes on from there"
    team.say(line)
    team.wait_for_all()  # torchrun ends all processes as soon as one has ended
    team.leave()
    number = team.signals[0] if team.signals else signal.SIGTERM  # another process got the signal
    sys.exit(128 + number)


def main(words=None):
    """Train. words: of a command line, those that Python was started with by default."""
    settings = configure(globals(), words)
    check_settings(settings)
    team = join_team(device, dtype)
    genomes = open_genomes(dataset_names(dataset))
    val_windows = validation_of_all(genomes)
    loader = Loader(genomes, team)
    learner = build_learner(team)
    folder = RunFolder(out_dir)
    about = describe_run(settings, genomes)
    run = start_or_resume(learner, folder, settings, about, team)
    flops = flops_per_base(learner.model)
    progress = Progress(settings, run, loader, flops, LOSSES, folder, team)
    progress.introduce(learner.model, val_windows)
    for line in remarks(genomes, about["data"], settings):
        team.say(line)

    started_at = run.step
    last_step = max(run.step, max_iters)
    clock = Clock(run)
    stopped = False
    while True:
        if evaluation_is_due(run, last_step):
            if run.since_log:
                run.since_log[-1].tolist()  # waits for the GPU: its seconds are training's
            run.seconds += clock.look(run)[0]
            stopped = not evaluate_and_save(
                learner, run, val_windows, loader.micro, about, progress, folder, team
            )
            clock.restart(run)
        if stopped or run.step == last_step or out_of_patience(run, team):
            break

        batch, weight_sum, n_bases = loader.next(run.step)
        factor = schedule(run.step, max_iters, warmup, cooldown)
        learner.optimizers.set_rate(factor)
        if dropout:  # so that a resumed run drops what this one would have
            torch.manual_seed((seed * 1_000_003 + run.step) * 1009 + team.rank)
        result = train_step(learner, batch, weight_sum, team)
        if result is None:
            stopped = True
            break
        run.step += 1
        run.bases += n_bases
        run.since_log.append(torch.stack(result))
        if run.step % log_interval == 0 or run.step in (1, max_iters):
            progress.steps(run, factor, clock, learner.scaler)

    loader.thread.shutdown()
    run.seconds += clock.look(run)[0]
    if stopped:
        stop_here(learner, run, about, folder, started_at, team)
    team.leave()
    if team.leads:
        progress.table(run, markov_baselines(genomes[0], val_windows[0]))


if __name__ == "__main__":
    main()
