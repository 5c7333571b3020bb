"""New bases a second after an empty prompt: ours, without a cache, and nanoGPT's generate."""

import torch

from experiments.bench.measure import medians
from experiments.bench.training import FLAGSHIP, LAPTOP, TINY
from experiments.nanogpt import import_nanogpt, new_model
from model import GPT, GPTConfig, N
from runtime.checkpoint import load_model
from runtime.team import Team
from sample import generate


def measure_sampling(table, team, ckpt="", nanogpt="", quick=False):
    """Rows of sampling. How many bases a pass draws depends on what the model knows: without ckpt,
    one.
    """
    device = team.device
    sampler = Team() if device.type == "cpu" else team  # a CPU samples in float32, as in sample.py
    new = 50 if quick else 1000
    many = 8 if quick else 64
    model, size = pick_model(device, ckpt, quick)
    ahead = None if ckpt else 1

    def cached(rows, ahead):
        prompt = torch.full((rows, 1), N, device=device)
        for _ in generate(model, prompt, new, dtype=sampler.precision, ahead=ahead):
            pass

    @torch.no_grad()
    def without_cache():
        tokens = torch.full((1, 1), N, device=device)
        for _ in range(new):
            probabilities = model(tokens[:, -size["block_size"] :])[:, -1].softmax(-1)
            tokens = torch.cat((tokens, probabilities.multinomial(1)), 1)

    runs = {
        "one": lambda: cached(1, ahead),
        "few": lambda: cached(4, ahead),
        "many": lambda: cached(many, ahead),
        "one base a pass": lambda: cached(1, 1),
        "the whole context each time": without_cache,
    }
    if nanogpt:
        theirs = new_model(import_nanogpt(nanogpt), size).to(device).eval()
        start = torch.full((1, 1), N, device=device)
        runs["nanoGPT's generate"] = lambda: theirs.generate(start, new)
    rates = time_runs(table, sampler, runs, nanogpt)
    rows_of = {"one": 1, "few": 4, "many": many}
    speeds = {name: rate * new * rows_of.get(name, 1) for name, rate in rates.items()}
    trained = ckpt or "untrained"
    shape = f"{size['n_layer']} x {size['n_embd']}, block {size['block_size']}"
    case = f"{shape}, {new:,} bases, {trained}"
    for anchor in ("one base a pass", "the whole context each time", "nanoGPT's generate"):
        if anchor in speeds:
            args = (speeds["one"], "bases/s", anchor, speeds[anchor])
            table.row("sample", f"one at a time, {case}", *args)
    for name in ("few", "many"):
        args = (speeds[name], "bases/s", "one at a time", speeds["one"])
        table.row("sample", f"{rows_of[name]} at once, {case}", *args)


def pick_model(device, ckpt, quick):
    """(the checkpoint's model, or an untrained one of this device's usual size; its size as a
    dict).
    """
    if ckpt:
        model = load_model(ckpt, device)[0]
    else:
        shape = FLAGSHIP if device.type == "cuda" else LAPTOP
        size = dict(TINY, block_size=256) if quick else dict(shape, block_size=1024)
        model = GPT(GPTConfig(**size)).to(device).eval()
    keys = ("block_size", "n_layer", "n_head", "n_embd")
    return model, {key: getattr(model.config, key) for key in keys}


def time_runs(table, team, runs, nanogpt):
    """{name: calls a second}. On a CPU one thread, as sample.py has it; nanoGPT gets the faster of
    one and all.
    """
    threads = torch.get_num_threads()
    if team.device.type == "cpu":
        torch.set_num_threads(1)
    with team.autocast:
        rates = medians(table.turns(team.device, runs))
        torch.set_num_threads(threads)
        if nanogpt and threads > 1:
            name = "nanoGPT's generate"
            rates[name] = max(rates[name], table.rate(team.device, runs[name]))
    return rates
