"""Train the GPT of model.py on a prepared genome: one loop for a laptop, two gaming cards, many nodes.

  python train.py config/hg38_small.py
  torchrun train.py config/hg38_small.py
  torchrun --nproc_per_node=2 train.py config/hg38_small.py --batch_size=8

Every process sees the same settings; a step is the same bases however many processes share it. Typing the same command
again continues the run that out_dir holds. Losses are per base: nats in the log, bits (nats / ln 2) in evaluations.
"""
import json
import math
import os
import signal
import sys
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read as torch loads: threads that wait leave their core to others

import numpy as np
import torch
import torch.distributed as dist

from config import configure, die, find_dataset
from data import N, REPEAT, SEGMENT, Genome, Windows, eval_windows, share
from model import GPT, GPTConfig, Markov, Muon, base_nll
from runtime import has_compiler, lock, machine_peak, open_log, peak_memory, pick_device, read_checkpoint, save_checkpoint, stop_on_signals

# ---- the run
out_dir = "out"         # where ckpt.pt (the last state), best.pt (the best) and log.csv go
init_from = "auto"      # auto: resume or start | scratch | resume | a checkpoint to fine-tune
dataset = "hg38"        # a folder under data/, or a path to a prepared genome
seed = 1337             # of the initial weights and of the order of windows
# ---- the model
block_size = 1024       # bases of context
n_layer = 12            # blocks
n_head = 6              # heads; n_embd / n_head = 128 suits GPUs
n_embd = 768            # width
stem_bases = 16         # bases that the detectors of the stem read
stem_width = 512        # detectors of the stem
dropout = 0.0           # more than a few passes over the data may want some
# ---- the batch
batch_tokens = 2**20    # bases in a step, over all processes and micro-batches
batch_size = 16         # windows in a micro-batch: halve it when memory runs out; the result stays the same
rc = 0.5                # share of windows read on the other strand
repeat_weight = 1.0     # weight of soft-masked bases in the training loss; evaluation never weighs
# ---- the optimiser
max_iters = 2050        # steps; 2,050 of 2**20 bases are about one pass of hg38's training chromosomes
learning_rate = 0.02    # Muon, for the matrices
embed_lr = 0.02         # AdamW, for the embeddings and the stem's detectors
head_lr = 0.004         # AdamW, for the output layer
weight_decay = 0.0      # decoupled, for the matrices
grad_clip = 1.0         # largest norm of the gradient; 0: no clipping
warmup = 0.01           # share of max_iters to rise to the full rate, 3 steps at least
cooldown = 0.45         # share of max_iters to fall linearly to zero
# ---- looking at it
log_interval = 10       # steps between lines in the log
eval_interval = 100     # steps between evaluations; each one saves a checkpoint
eval_tokens = 2**22     # bases scored in an evaluation, the same ones every time and in every run
markov_order = 12       # highest order of the Markov models scored at the end for comparison; 0: none
# ---- the machine
device = "auto"         # auto | cuda | cpu | mps | cuda:1 ...
dtype = "auto"          # auto | bfloat16 | float16 | float32
compile = "auto"        # torch.compile: auto | True | False
config = configure(globals())

FREE = set("out_dir dataset batch_size log_interval eval_interval markov_order device dtype compile".split())  # the rest makes a run what it is
LIMITS = {
    **dict.fromkeys("batch_size block_size n_layer n_head n_embd max_iters log_interval eval_interval eval_tokens".split(), (1, 2**62)),
    **dict.fromkeys("learning_rate embed_lr head_lr weight_decay grad_clip".split(), (0, 1e38)),
    **dict.fromkeys("rc warmup cooldown".split(), (0, 1)), "dropout": (0, 0.9), "repeat_weight": (0, 1e6), "seed": (0, 2**32),
    "stem_bases": (1, 256), "stem_width": (1, 2**20), "batch_tokens": (1, 2**30), "markov_order": (0, 13)}
SPIKE = 0.3  # bits by which a step's loss must exceed the last validation's to be logged as a spike


def main():
    for key, (low, high) in LIMITS.items():
        if not low <= config[key] <= high:
            die(f"{key} = {config[key]}: give {f'at least {low}' if high == 2**62 else f'{low} to {high}'}")
    if init_from not in ("auto", "scratch", "resume") and not Path(init_from).is_file():
        die(f"init_from = {init_from}: give auto, scratch, resume, or the file of a checkpoint, such as out/ckpt.pt")
    if compile not in ("auto", True, False):
        die(f"compile = {compile!r}: give auto, True or False")

    # ---- where we run
    rank, world, local = (int(os.environ.get(k, d)) for k, d in (("RANK", 0), ("WORLD_SIZE", 1), ("LOCAL_RANK", 0)))
    on_gpu = device == "auto" and torch.cuda.is_available() or device == "cuda"
    dev, precision, autocast = pick_device(f"cuda:{local}" if on_gpu else device, dtype)
    if dev.type == "cuda":
        torch.cuda.set_device(dev)
    if world > 1:
        dist.init_process_group("cpu:gloo,cuda:nccl" if dev.type == "cuda" else "gloo")
    say = print if rank == 0 else lambda *a, **k: None
    machine, peak = machine_peak(dev)
    stop = stop_on_signals()  # empty until SIGTERM or Ctrl-C

    # ---- the data: every process draws the whole step's windows and keeps its own
    genome = Genome(find_dataset(dataset))
    for split in ("train", "val"):
        if not len(genome.stretches(split)):
            die(f"{genome.folder} has no {split} bases: prepare it with --val_chroms naming some of its chromosomes, not all")
    per_step = max(1, round(batch_tokens / block_size))
    windows = Windows(genome.bases("train"), genome.stretches("train"), block_size, per_step, seed, rc)
    most = math.ceil(per_step / world)
    micro_steps = math.ceil(most / batch_size)
    micro = math.ceil(most / micro_steps)  # evened out, so that little of the last micro-batch is empty
    weights = np.zeros(16, np.float32)     # of a byte as a target: in load()'s sum and in the loss, which must agree
    weights[:N], weights[REPEAT:REPEAT + N] = 1, repeat_weight
    weight_of = torch.tensor(weights, device=dev)

    def load(step):
        """(this process's windows, one micro-batch a row; the whole step's sum of weights)"""
        batch = windows.batch(step)
        total = float(np.bincount(batch.ravel(), minlength=16) @ weights)
        mine = np.full((micro_steps * micro, block_size), N, np.uint8)  # what is not filled weighs nothing
        rows = share(batch, rank, world)
        mine[:len(rows)] = rows
        mine = torch.from_numpy(mine.reshape(micro_steps, micro, block_size))
        return (mine.pin_memory() if dev.type == "cuda" else mine), max(total, 1.0)

    # ---- the model
    torch.manual_seed(seed)
    model_args = dict(block_size=block_size, n_layer=n_layer, n_head=n_head, n_embd=n_embd, stem_bases=stem_bases, stem_width=stem_width, dropout=dropout)
    try:
        model = GPT(GPTConfig(**model_args))
    except (ValueError, RuntimeError) as error:
        die(f"no such model: {error}")
    model.to(dev)
    compiled = has_compiler(dev) and (compile is True or compile == "auto" and dev.type == "cuda")
    if compiled:
        model.compile(dynamic=False)
    elif compile is True or compile == "auto" and dev.type == "cuda":
        say("going on without compile, slower and in more memory: it needs a C++ compiler and Python.h (apt install g++ python3-dev) and is not for a Mac's GPU")
    parameters = list(model.parameters())
    matrices = model.matrices()
    elsewhere = {id(p) for p in (*matrices, model.lm_head.weight)}
    others = [p for p in parameters if id(p) not in elsewhere]
    muon = Muon(matrices, learning_rate, weight_decay=weight_decay, dtype=torch.bfloat16 if precision == torch.bfloat16 else torch.float32)
    adam = torch.optim.AdamW([dict(params=others, lr=embed_lr), dict(params=[model.lm_head.weight], lr=head_lr)],
                             betas=(0.9, 0.95), weight_decay=0.0, fused=dev.type in ("cuda", "cpu"))
    optimizers = [muon, adam]
    base_lrs = [[group["lr"] for group in opt.param_groups] for opt in optimizers]
    scaler = torch.amp.GradScaler(dev.type, enabled=precision == torch.float16)

    # ---- start, resume or fine-tune
    folder = Path(out_dir)
    last, best, summary_file = folder / "ckpt.pt", folder / "best.pt", folder / "summary.json"
    afresh = init_from == "scratch" and os.environ.get("TORCHELASTIC_RESTART_COUNT", "0") == "0"  # torchrun's restarts go on
    source = None if afresh else next((path for path in (last, best) if path.exists()), None)
    if init_from == "resume" and not source:
        die(f"nothing to resume: no {last}")
    held_lock = lock(folder) if rank == 0 else None
    run = dict(config, init_from="scratch" if init_from in ("auto", "resume") else init_from)
    start, seconds, best_bits, val, evaluated, since, held = 0, 0.0, math.inf, None, 0, [], None
    if source:
        held = read_checkpoint(source)
        differs = [f"{k} is {held['config'].get(k)} there and {run[k]} here" for k in run if k not in FREE and held["config"].get(k) != run[k]]
        if held["data"]["fingerprint"] != genome.fingerprint:
            differs.insert(0, "its data are not these")
        if differs and init_from != "resume":
            die(f"{source} is another run ({'; '.join(differs)}): give --out_dir another folder, --init_from=resume to carry on, or --init_from=scratch to start over")
        if dict(held["model_args"], dropout=dropout) != model_args:
            die(f"{source} holds another model ({'; '.join(differs)}): resume it with its own settings")
        try:
            start, seconds, best_bits, val, evaluated = (held[k] for k in ("step", "seconds", "best_bits", "val", "evaluated"))
            since = list(held["since"].to(dev))
            for opt, state in zip(optimizers, held["optimizers"]):
                opt.load_state_dict(state)
            if held["scaler"]:
                scaler.load_state_dict(held["scaler"])
        except (KeyError, ValueError, RuntimeError) as error:
            die(f"{source} was written by another version of train.py ({type(error).__name__}: {str(error)[:60]}): fine-tune it into another --out_dir by --init_from={source}")
        say(f"resuming {source} at step {start}" + ", its last" * (start >= max_iters) + (f", changing: {'; '.join(differs)}" if differs else ""))
        for group in muon.param_groups:
            group["weight_decay"] = weight_decay  # which may have changed; the learning rates are set at every step
    elif init_from not in ("auto", "scratch"):
        source, held = init_from, read_checkpoint(init_from)
        say(f"fine-tuning {init_from}, of step {held['step']}")
    if held:
        try:
            model.load_state_dict(held["model"])
        except RuntimeError:
            die(f"{source} holds another model: give " + " ".join(f"--{k}={v}" for k, v in held["model_args"].items() if k != "block_size"))
    if world > 1 and not same_everywhere(start, genome.fingerprint, {k: v for k, v in run.items() if k not in ("dataset", "out_dir", "device")}):
        die("the processes do not have the same settings, data and checkpoint: all nodes need the same command and an out_dir that they share")
    if rank == 0:
        summary_file.unlink(missing_ok=True)
        for path in (last, best, folder / "log.csv"):
            if afresh and path.exists():
                path.replace(f"{path}.old")
                say(f"{path} is now {path}.old")
    log = open_log(folder / "log.csv", start, evaluated) if rank == 0 else lambda row: None
    if start and (held["data"]["fingerprint"], held["config"]["eval_tokens"]) != (genome.fingerprint, eval_tokens):
        best_bits, val, evaluated = math.inf, None, 0  # of other bases: to be scored anew
    if rank == 0 and source == best:
        save_checkpoint(last, held)
    held = None
    data_info = dict(dataset=dataset, fingerprint=genome.fingerprint, source=genome.meta.get("source"),
                     **{s: [c["name"] for c in genome.meta["splits"][s]["chroms"]] for s in ("train", "val", "test")})

    n_matrix = sum(p.numel() for p in matrices) + model.lm_head.weight.numel()
    flops_per_base = 6 * n_matrix + 12 * n_layer * n_embd * block_size  # full attention counted, causal skipping not credited
    bases_per_step = per_step * block_size
    say(f"{sum(p.numel() for p in parameters):,} parameters, {sum(p.numel() for p in matrices):,} in matrices | {machine}, "
        f"{str(precision)[6:]}, compile {compiled}, {world} process{'es' * (world > 1)} x {micro_steps} micro-batches x {micro} windows")
    say(f"{max_iters} steps x {bases_per_step:,} bases = {max_iters * per_step / windows.per_epoch:.2f} passes of {genome.folder} "
        f"({windows.per_epoch:,} windows of {block_size})")

    val_windows = eval_windows(genome.bases("val"), genome.stretches("val"), block_size, eval_tokens)
    scored, places = int((val_windows & 7 < N).sum()), max(1, round(eval_tokens / SEGMENT))
    say(f"validation: {scored:,} bases" + f" from no more than {places} place{'s' * (places > 1)}: too few to compare with other runs, raise eval_tokens" * (places < 10))

    def checkpoint(step):
        """What it takes to go on after `step` steps as if nothing had happened."""
        if not all(p.isfinite().all() for p in parameters):
            die(f"step {step}: the weights are not finite: lower learning_rate or raise warmup; {last} is the last good state")
        return dict(model=model.state_dict(), model_args=model_args, config=run, data=data_info, torch=str(torch.__version__), step=step,
                    seconds=seconds, val=val, evaluated=evaluated, best_bits=best_bits, scaler=scaler.state_dict(),
                    optimizers=[opt.state_dict() for opt in optimizers], since=torch.stack(since).cpu() if since else torch.empty(0, 2))

    # ---- the loop
    loader = ThreadPoolExecutor(1)  # reads the next step's windows while this one is computed
    coming = loader.submit(load, start) if start < max_iters else None
    end, mark, mark_step, skipped = max(start, max_iters), time.time(), start, 0
    for step in range(start, end + 1):
        if step and (step % eval_interval == 0 or step == end) and evaluated != step:
            if since:
                since[-1].tolist()  # a GPU may still be at it
            seconds += time.time() - mark
            model.eval()
            found = evaluate(model, val_windows, micro, dev, autocast, rank, world, stop)
            model.train()
            mark, mark_step = time.time(), step
            if not found:
                break
            val, evaluated, improved = found, step, found["all"] < best_bits
            say(f"step {step}/{max_iters} | validation bits per base: all {val['all']:.4f}, repeats {val['repeats']:.4f}, unique {val['unique']:.4f}", flush=True)
            if not math.isfinite(val["all"]):
                die(f"step {step}: validation is not finite: lower learning_rate; {last} is the last good state")
            best_bits = min(val["all"], best_bits)
            if rank == 0:
                log(dict(step=step, tokens=step * bases_per_step, seconds=seconds, **{f"val_bits_{k}": v for k, v in val.items()}))
                for path in (best, last) if improved else (last,):  # the best first: a run cut off between the two finds it again
                    save_checkpoint(path, checkpoint(step))
        if step == end:
            break

        batch, weight_sum = coming.result()
        coming = loader.submit(load, step + 1) if step + 1 < max_iters else None
        batch = batch.to(dev, non_blocking=True)
        lr = schedule(step)
        for opt, rates in zip(optimizers, base_lrs):
            for group, rate in zip(opt.param_groups, rates):
                group["lr"] = rate * lr
        if dropout:
            torch.manual_seed((seed * 1_000_003 + step) * 1009 + rank)  # so that a resumed run draws what this one would have

        loss = torch.zeros((), device=dev)
        for x in batch:
            if stop:
                break
            with autocast:
                nll = base_nll(model, (x & 7).long())
            part = (nll * weight_of[x.long()]).sum() / weight_sum
            scaler.scale(part).backward()
            loss += part.detach()
        if any_rank(stop, world):
            break  # the step in hand is dropped
        if world > 1:  # one sum over all processes; every part was divided by the whole step's weight already
            flat = torch.cat([p.grad.flatten() for p in parameters] + [loss.view(1)])
            dist.all_reduce(flat)
            loss.copy_(flat[-1])
            for p, g in zip(parameters, flat[:-1].split([p.numel() for p in parameters])):
                p.grad = g.view_as(p)
            del flat, g
        for opt in optimizers if scaler.is_enabled() else ():
            scaler.unscale_(opt)
        grad_norm = torch.nn.utils.clip_grad_norm_(parameters, grad_clip or math.inf)
        if scaler.is_enabled() and not torch.isfinite(grad_norm):
            skipped += 1  # float16 overflowed: both optimisers skip, the scale halves
        else:
            for opt in optimizers:
                opt.step()
        if scaler.is_enabled():
            scaler.update()
        for p in parameters:
            p.grad = None

        done = step + 1
        since.append(torch.stack((loss, grad_norm)))
        if done % log_interval == 0 or done == max_iters or done == 1:
            history, now = torch.stack(since).tolist(), time.time()  # where a GPU is waited for
            for at, (nats, size) in enumerate(history, done - len(since) + 1):
                if not math.isfinite(nats) or not (math.isfinite(size) or scaler.is_enabled()):
                    die(f"step {at}: loss {nats}, gradient norm {size}: lower learning_rate or raise warmup; {last} is the last good state")
            if scaler.is_enabled() and scaler.get_scale() < 1:
                die(f"step {done}: float16 overflows however small the loss is scaled: give --dtype=bfloat16 or float32; {last} is the last good state")
            usual = val["all"] if val else 2.0
            spikes = [at for at, (nats, _) in enumerate(history, done - len(since) + 1) if nats / math.log(2) > usual + SPIKE]
            since.clear()
            speed = (done - mark_step) * bases_per_step / (now - mark)
            seconds, mark, mark_step = seconds + now - mark, now, done
            mfu, left = speed * flops_per_base / (peak * world), timedelta(seconds=round((max_iters - done) * bases_per_step / speed))
            row = dict(step=done, tokens=done * bases_per_step, loss=nats, bits=nats / math.log(2), lr=lr * learning_rate, grad_norm=size,
                       tokens_per_second=speed, mfu=mfu, seconds=seconds, spikes=" ".join(map(str, spikes)))
            log(row)
            say("step {step}/{0} | loss {loss:.4f} | {bits:.4f} bits | lr {lr:.2e} | norm {grad_norm:.2f} | {tokens_per_second:,.0f} bases/s".format(max_iters, **row)
                + f" | mfu {mfu:.1%}" * math.isfinite(mfu) + f" | {skipped} skipped" * bool(skipped) + f" | SPIKE at {spikes}" * bool(spikes) + f" | {left} left", flush=True)
    loader.shutdown()
    seconds += time.time() - mark
    if evaluated < end:  # told to stop
        if rank == 0 and step > start:
            save_checkpoint(last, checkpoint(step))
        say(f"stopped after step {step}" + f", which {last} holds: the same command{', without --init_from=scratch,' * (init_from == 'scratch')} goes on from there" * (step > 0), flush=True)
        sys.exit(128 + (stop or [signal.SIGTERM])[0])  # the signal may have come to another process
    stop_on_signals(False)
    if world > 1:
        dist.destroy_process_group()
    if rank:
        return

    # ---- what came of it, and what it is worth
    table = {"uniform": dict.fromkeys(("all", "repeats", "unique"), 2.0)}
    if markov_order:
        say(f"counting Markov models up to order {markov_order} on the training bases ...", flush=True)
        markov = Markov(genome.bases("train"), markov_order)
        for order in range(1, markov_order + 1):
            markov.order = order
            table["bigram" if order == 1 else f"Markov {order}"] = evaluate(markov, val_windows, max(1, 2**18 // block_size))
        top = min((k for k in table if k.startswith("Markov")), key=lambda k: table[k]["all"], default="bigram")
        table = {k: v for k, v in table.items() if k in ("uniform", "bigram", top)}
    table["this model"] = val
    say(f"\n{'validation, bits per base':27}{'all':>8}{'repeats':>9}{'unique':>8}")
    for name, row in table.items():
        say(f"{name + ' (best order)' * name.startswith('Markov'):27}{row['all']:8.4f}{row['repeats']:9.4f}{row['unique']:8.4f}")
    tokens = end * bases_per_step
    speed = tokens / max(seconds, 1e-9)
    summary = dict(val_bits_all=round(val["all"], 5), val_bits_repeats=round(val["repeats"], 5), val_bits_unique=round(val["unique"], 5), tokens=tokens,
                   seconds=round(seconds, 1), tokens_per_second=round(speed), mfu=round(speed * flops_per_base / (peak * world), 4),
                   peak_memory_gb=round(peak_memory(dev) / 1e9, 2), checkpoint=str(last))
    plain = json.loads(json.dumps(dict(summary, table=table)), parse_constant=lambda nan: None)  # JSON knows no nan
    Path(f"{summary_file}.tmp").write_text(json.dumps(plain, indent=1) + "\n")
    os.replace(f"{summary_file}.tmp", summary_file)
    say()
    for key, value in summary.items():
        say(f"{key}: {value}")


def any_rank(stop, world):
    """Whether any process was told to stop: they agree, so that all drop the same step. On the CPU, so that no GPU is waited for."""
    asked = torch.tensor(float(bool(stop)))
    if world > 1:
        dist.all_reduce(asked)
    return asked > 0


def same_everywhere(*what):
    """Whether all processes give the same values here."""
    number = zlib.crc32(repr(what).encode())
    extremes = torch.tensor([number, -number])
    dist.all_reduce(extremes, dist.ReduceOp.MAX)
    return extremes.sum() == 0


@torch.no_grad()
def evaluate(model, windows, rows, device="cpu", autocast=nullcontext(), rank=0, world=1, stop=()):
    """Bits per base over (M, block_size) uint8 windows, rows at a time: all, repeats, unique (nan if none is soft-masked).

    model: anything with GPT's interface. The processes of a run share the windows and all get the result; None if one was told to stop.
    """
    sums = torch.zeros(4, dtype=torch.float64)  # nats and bases of all, then of repeats
    for i in range(rank * rows, len(windows), world * rows):
        if stop:
            break
        x = np.full((rows, windows.shape[1]), N, np.uint8)
        x[:len(windows) - i] = windows[i:i + rows]  # always whole batches: one shape, compiled once
        bases = torch.from_numpy(x & 7).to(device).long()
        with autocast:
            nats = base_nll(model, bases).cpu().double().numpy()
        real = x & 7 < N
        repeat = real & (x >= REPEAT)
        sums += torch.tensor([nats.sum(), real.sum(), nats[repeat].sum(), repeat.sum()], dtype=torch.float64)
    if any_rank(stop, world):
        return None
    if world > 1:
        dist.all_reduce(sums)
    nats, n, nats_repeat, n_repeat = sums.tolist()
    bits = lambda nats, n: nats / n / math.log(2) if n and n_repeat else math.nan
    return {"all": nats / n / math.log(2), "repeats": bits(nats_repeat, n_repeat), "unique": bits(nats - nats_repeat, n - n_repeat)}


def schedule(step):
    """The learning rate's factor at a step: up over warmup, flat, then linearly to zero over cooldown (shares of max_iters).

    Up in no less than 3 steps: a first step at the full rate throws a wide model above 2 bits for a few more (EXPERIMENTS.md).
    """
    return min(1.0, (step + 1) / max(3, warmup * max_iters), (max_iters - step) / max(1, cooldown * max_iters))


main()
