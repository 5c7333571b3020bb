"""The recipe, one switch at a time: each variant is some settings of train.py, or a few lines of model.py or train.py exchanged.

  python -m tests.ablate --list
  python -m tests.ablate --dataset=pieces --out=out-ablate baseline 'muon 0.01' 'no convolution'
  python -m tests.ablate --dataset=pieces --out=out-ablate --seeds 1 2 -- --n_layer=4 --n_embd=192 --n_head=3 --max_iters=300

'this + that' is both at once. Every variant is trained in a copy of the repository of its own, on the same windows, and scored on the same bases; what
stands after -- goes to each train.py. Runs that out holds already are not run again. The lines to exchange must be there:
a variant that no longer applies is an error.
"""
import argparse
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from config import find_dataset

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--block_size=512 --n_layer=3 --n_head=2 --n_embd=128 --batch_tokens=8192 --batch_size=16 --max_iters=120 --eval_interval=120 "
         "--eval_tokens=262144 --log_interval=10 --markov_order=0 --compile=False").split()

VARIANTS = {"baseline": ()}


def setting(name, **values):
    VARIANTS[name] = tuple(f"--{k}={v}" for k, v in values.items())


def edit(name, *edits, **values):
    """edits: (file, old, new), or (old, new) in model.py."""
    setting(name, **values)
    VARIANTS[name] += edits


for rate in (0.005, 0.01, 0.03, 0.04, 0.06, 0.08):
    setting(f"muon {rate}", learning_rate=rate)
for rate in (0.005, 0.01, 0.04, 0.08):
    setting(f"embed_lr {rate}", embed_lr=rate)
for rate in (0.001, 0.01, 0.03):
    setting(f"head_lr {rate}", head_lr=rate)
for share in (0.2, 0.7, 0.95):
    setting(f"cooldown {share}", cooldown=share)
setting("no clipping", grad_clip=0)
setting("weight decay 0.1", weight_decay=0.1)
setting("warmup 0.1", warmup=0.1)
setting("no reverse complements", rc=0)
setting("4 heads", n_head=4)
setting("1 head", n_head=1)
setting("repeats weigh 0.5", repeat_weight=0.5)
setting("repeats weigh 0.1", repeat_weight=0.1)
for layers, width, heads in ((2, 160, 2), (6, 96, 2), (12, 64, 1)):  # about as many weights as 3 of 128
    setting(f"{layers} layers of {width}", n_layer=layers, n_embd=width, n_head=heads)
for context in (256, 1024, 2048):
    setting(f"context {context}", block_size=context, batch_size=8192 // context)
for share in (0.1, 0.2):
    setting(f"dropout {share}", dropout=share)

# what the edits hold on to: lines of model.py
ROTATED = "        q, k = rotate(norm(qk), cos, sin).type_as(v).chunk(2, 1)\n"
CALL = "is_causal=T > 1 and not pos)"
BLOCKS = "x = block(x, cos, sin, cache[\"kv\"][i], cache[\"past\"][i], pos) if cache else block(x, cos, sin)"
MLP_IN, MLP_OUT = "self.mlp_in = nn.Linear(D, 4 * D, bias=False)", "self.mlp_out = nn.Linear(4 * D, D, bias=False)"
BEFORE_ATTENTION, BEFORE_MLP = "convolve(norm(x), self.attn_conv, past[0], pos)", "convolve(norm(x), self.mlp_conv, past[1], pos)"
MLP = f"self.mlp_out(relu2(self.mlp_in({BEFORE_MLP})))"
NORMED = "x, cos, sin = norm(self.wte(idx)), self.cos"
INIT = ("            else:\n                nn.init.normal_(p, std=0.5 if name", "            elif \"extra\" not in name:\n                nn.init.normal_(p, std=0.5 if name")
NOT_MUON = ("return [p for p in self.blocks.parameters() if p.ndim == 2]", "return [p for n, p in self.blocks.named_parameters() if p.ndim == 2 and \"extra\" not in n]")
IN_GPT = "head = config.n_embd // config.n_head\n"


def new(text, where="self.qkv = nn.Linear"):
    """A parameter (named extra...) in Block, or before another line; the AdamW of the embeddings trains it."""
    return where, text + "\n        " + where


NOT_BEFORE_ATTENTION, NOT_BEFORE_MLP = (BEFORE_ATTENTION, "norm(x) + 0 * self.attn_conv.sum()"), (BEFORE_MLP, "norm(x) + 0 * self.mlp_conv.sum()")
for width in (2, 4, 16, 32):
    setting(f"convolutions of {width}", conv=width)
setting("no convolution", conv=1)
edit("convolution before attention alone", NOT_BEFORE_MLP)
edit("convolution before the MLP alone", NOT_BEFORE_ATTENTION)
edit("convolution inside the MLP too", INIT, new("self.extra = nn.Parameter(torch.zeros(config.conv - 1, 1, 4 * D))"), (MLP, f"self.mlp_out(relu2(convolve(self.mlp_in({BEFORE_MLP}), self.extra, None)))"))
edit("convolution of q, k, v", INIT, NOT_BEFORE_ATTENTION, new("self.extra = nn.Parameter(torch.zeros(config.conv - 1, 1, 3 * D))"), ("self.qkv(x).view", "convolve(self.qkv(x), self.extra, None).view"))
for share in (2, 4):  # of each half of a head, so that pairs of the rotation stay together
    edit(f"1/{share} of each key from the base before", (ROTATED, ROTATED + f"""        if T > 1:
            k = torch.cat([torch.cat((F.pad(p[:, :, :-1, :p.size(-1) // {share}], (0, 0, 1, 0)), p[..., p.size(-1) // {share}:]), -1) for p in k.chunk(2, -1)], -1)
"""))
for more, weight in ((1, 0.3), (3, 0.3), (3, 0.1)):  # heads on the same states, in training only
    edit(f"{more} further bases predicted, weight {weight}", INIT, new(f"self.extra = nn.Linear(config.n_embd, 4 * {more}, bias=False)\n        nn.init.zeros_(self.extra.weight)", IN_GPT),
         ("    logits = model(F.pad(bases[:, :-1], (1, 0), value=N))\n", f"""    states = model.states(F.pad(bases[:, :-1], (1, 0), value=N))
    logits = model.lm_head(states)[..., :N].float()
    if model.training:
        further = model.extra(states).float().view(*bases.shape, {more}, 4)
        nll = F.cross_entropy(logits.flatten(0, 1), bases.flatten(), ignore_index=N, reduction="none").view_as(bases)
        for j in range({more}):
            target = F.pad(bases[:, j + 1:], (0, j + 1), value=N)
            nll = nll + {weight} * F.cross_entropy(further[:, :, j].flatten(0, 1), target.flatten(), ignore_index=N, reduction="none").view_as(bases)
        return nll
"""))
edit("no QK-norm", (ROTATED, ROTATED.replace("norm(qk)", "qk.float()")))
edit("no rotary positions", (ROTATED, "        q, k = norm(qk).type_as(v).chunk(2, 1)\n"))
edit("attention twice as sharp", (CALL, CALL[:-1] + ", scale=2 * q.size(-1) ** -0.5)"))
edit("learned sharpness", INIT, new("self.extra = nn.Parameter(torch.zeros(config.n_head, 1, 1))"), (ROTATED, ROTATED + "        q = q * (10 * self.extra).exp().type_as(q)\n"))
edit("gated heads", INIT, NOT_MUON, new("self.extra = nn.Parameter(torch.zeros(12, config.n_head))"),
     ("y = F.scaled", "gate = 2 * torch.sigmoid(x[..., :12] @ self.extra).mT[..., None]\n        y = gate.type_as(v) * F.scaled"))
edit("input enters every block", INIT, (BLOCKS, BLOCKS.replace("block(x,", "block(x + self.extra[i] * x0,")), (NORMED, "x0 = norm(self.wte(idx))\n        x, cos, sin = x0, self.cos"),
     new("self.extra = nn.Parameter(torch.zeros(config.n_layer))", IN_GPT))
edit("value residual", INIT, ("@dataclass", "FIRST = []\n\n\n@dataclass"), new("self.extra = nn.Parameter(torch.tensor(0.5))"), (BLOCKS, "FIRST[i:] = []\n            " + BLOCKS),
     (ROTATED, ROTATED + "        FIRST.append(v)\n        v = torch.lerp(v, FIRST[0], self.extra)\n"))


def code_of(k):
    """Lines for GPT.states: `code`, the last k tokens as one number."""
    return f"code = sum(5 ** j * F.pad(idx, (j, 0), value=N)[:, :T] for j in range({k}))\n        "


for k in (2, 3, 4, 5, 6, 7):  # the last 2, 3 ... k bases enter as embeddings too
    for std in (0.02, 0.5):
        edit(f"k-mer inputs up to {k}" + ", starting at 0.5" * (std > 0.02), INIT, new(f"self.extra = nn.ModuleList(nn.Embedding(5 ** k, config.n_embd) for k in range(2, {k + 1}))\n        [nn.init.normal_(t.weight, std={std}) for t in self.extra]", IN_GPT),
             (NORMED, NORMED.replace("norm(self.wte(idx))", "norm(self.wte(idx) + sum(t(sum(5 ** j * F.pad(idx, (j, 0), value=N)[:, :T] for j in range(k))) for k, t in enumerate(self.extra, 2)))")))
edit("6-mer values in every block", INIT, NOT_MUON, ("@dataclass", "CODE = [0]\n\n\n@dataclass"), new("self.extra = nn.Embedding(5 ** 6, D)\n        nn.init.zeros_(self.extra.weight)"),
     (NORMED, code_of(6) + "CODE[0] = code\n        " + NORMED), (ROTATED, ROTATED + "        v = v + self.extra(CODE[0]).view(B, T, self.n_head, -1).transpose(1, 2)\n"))
for k, rows in ((8, 2 ** 16), (10, 2 ** 18), (12, 2 ** 18), (16, 2 ** 18)):
    edit(f"{k}-mer embedding, {rows} rows", INIT, new(f"self.extra = nn.Embedding({rows}, config.n_embd)\n        nn.init.normal_(self.extra.weight, std=0.02)", IN_GPT),
         (NORMED, code_of(k) + NORMED.replace("self.wte(idx)", f"self.wte(idx) + self.extra((code * 0x9E3779B97F4A7C15 >> 20) % {rows})")))
for top in (6, 8, 10):
    edit(f"k-mer logits up to {top}", INIT, new(f"self.extra = nn.ParameterList(torch.zeros(4 ** k, 4) for k in range(1, {top} + 1))", IN_GPT),
         ("return self.lm_head(self.states(idx, cache))[..., :N].float()", f"""logits, code = self.lm_head(self.states(idx, cache))[..., :N].float(), 0
        for k in range(1, {top} + 1):
            code = code + F.pad(idx, (k - 1, 0))[:, :idx.size(1)].clamp(max=3) * 4 ** (k - 1)
            logits = logits + 0.1 * F.embedding(code, self.extra[k - 1])
        return logits"""))
edit("qkv orthogonalised together", ("rows = cols if rows == 3 * cols else rows", "pass"))
edit("update scaled by 0.2 sqrt(max)", ("-group[\"lr\"] * max(1, rows / cols) ** 0.5", "-group[\"lr\"] * 0.2 * max(rows, cols) ** 0.5"), learning_rate=0.01)
for rate in (0.001, 0.002, 0.004):
    edit(f"AdamW {rate} for the matrices", ("train.py", "optimizers = [muon, adam]", "optimizers = [torch.optim.AdamW(matrices, lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True), adam]"), learning_rate=rate)
edit("Muon momentum 0.9", ("momentum=0.95", "momentum=0.90"))
edit("Muon momentum 0.8", ("momentum=0.95", "momentum=0.80"))
for rate in (0.005, 0.06):
    edit(f"convolutions' rate {rate}", ("train.py", "adam = torch.optim.AdamW([dict(params=others, lr=embed_lr), ", f"adam = torch.optim.AdamW([dict(params=[p for p in others if p.ndim != 3], lr=embed_lr), dict(params=[p for p in others if p.ndim == 3], lr={rate}), "))
setting("batches of 4,096", batch_tokens=4096, batch_size=8, max_iters=600, eval_interval=600)
setting("batches of 2,048", batch_tokens=2048, batch_size=4, max_iters=1200, eval_interval=1200)
edit("half of each head is not rotated", ("10000 ** (-torch.arange(0, head, 2) / head))", "10000 ** (-torch.arange(0, head, 2) / head) * (torch.arange(0, head, 2) < head // 2))"))
edit("Muon momentum 0.85 to 0.95 in 100 steps", ("train.py", "        for opt, rates in zip(optimizers, base_lrs):", "        for group in muon.param_groups:\n            group[\"momentum\"] = min(0.95, 0.85 + step / 1000)\n        for opt, rates in zip(optimizers, base_lrs):"))
edit("normalised rows (NorMuon)", ("            for p, u in zip(params, update):", """            second = self.state[params[0]].setdefault("second", torch.zeros_like(update[..., :1]))
            second.lerp_(update.square().mean(-1, keepdim=True), 0.05)
            size = update.norm(dim=(-2, -1), keepdim=True)
            update = update * (second.view_as(update[..., :1]) + 1e-10).rsqrt()
            update = update * (size / (update.norm(dim=(-2, -1), keepdim=True) + 1e-7))
            for p, u in zip(params, update):"""))
edit("AdamW betas 0.8, 0.95", ("train.py", "betas=(0.9, 0.95)", "betas=(0.8, 0.95)"))
edit("AdamW betas 0.9, 0.99", ("train.py", "betas=(0.9, 0.95)", "betas=(0.9, 0.99)"))
edit("AdamW betas 0.9, 0.999", ("train.py", "betas=(0.9, 0.95)", "betas=(0.9, 0.999)"))
edit("GELU", (MLP, MLP.replace("relu2(", "F.gelu(")))
edit("SwiGLU", (MLP_IN, MLP_IN.replace("4 * D", "6 * D")), (MLP_OUT, MLP_OUT.replace("4 * D", "3 * D")),
     (MLP, "self.mlp_out(torch.mul(*(lambda a, b: (F.silu(a), b))(*self.mlp_in(convolve(norm(x), self.mlp_conv, past[1], pos)).chunk(2, -1))))"), ("rows = cols if rows == 3 * cols else rows", "rows = cols if rows % cols == 0 and rows > 4 * cols or rows == 3 * cols else rows"))
edit("MLP of 8 widths", (MLP_IN, MLP_IN.replace("4 *", "8 *")), (MLP_OUT, MLP_OUT.replace("4 *", "8 *")))
edit("rotary base 1,000", ("10000 **", "1000 **"))
edit("z-loss 1e-4", ("train.py", "part = (nll * weight_of[x.long()]).sum() / weight_sum", "part = ((nll + 1e-4 * model(F.pad((x & 7).long()[:, :-1], (1, 0), value=N)).logsumexp(-1).square()) * weight_of[x.long()]).sum() / weight_sum"),
     ("train.py", "import torch.distributed as dist", "import torch.distributed as dist\nimport torch.nn.functional as F"))


def edited_copy(folder, edits):
    """The scripts, copied into folder, with (file, old, new) or (old, new) in model.py exchanged; exits where old is not there."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ROOT, folder, ignore=lambda at, names: [n for n in names if not n.endswith(".py") and n not in ("config", "data", "toy")])
    for *file, old, new in edits:
        path = folder / (file or ["model.py"])[0]
        text = path.read_text()
        if new in text:
            continue
        if old not in text:
            sys.exit(f"error: this no longer applies, {path.name} has no {old.strip()!r}")
        path.write_text(text.replace(old, new, 1))


def run(job):
    name, seed, args, words = job
    changes = [change for part in name.split(" + ") for change in VARIANTS[part]]
    folder = Path(args.out).resolve() / f"{name.replace('/', '_')} seed {seed}"
    result = folder / "out" / "summary.json"
    if not result.exists():
        edited_copy(folder, [c for c in changes if isinstance(c, tuple)])
        given = [c for c in changes if isinstance(c, str)]
        with open(folder / "log", "w") as log:
            done = subprocess.run([sys.executable, "train.py", *SMALL, f"--dataset={args.dataset}", "--out_dir=out", f"--seed={seed}", *words, *given],
                                  cwd=folder, stdout=log, stderr=log, env=dict(os.environ, OMP_NUM_THREADS=str(args.threads)))
        if done.returncode:
            return name, seed, None
    return name, seed, json.loads(result.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="variants; all of them if none is named")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--dataset", default="hg38", help="a prepared genome, as train.py has it")
    parser.add_argument("--out", default="out-ablate")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1337])
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time")
    parser.add_argument("--threads", type=int, default=1, help="threads of each")
    mine, words = sys.argv[1:], []
    if "--" in mine:
        mine, words = mine[:mine.index("--")], mine[mine.index("--") + 1:]
    args = parser.parse_args(mine)
    if args.list:
        return print(*VARIANTS, sep="\n")
    args.dataset = Path(find_dataset(args.dataset)).resolve()
    names = args.names or list(VARIANTS)
    for name in names:
        if not set(name.split(" + ")) <= set(VARIANTS):
            sys.exit(f"error: no variant {name!r}: see --list")
    jobs = [(name, seed, args, words) for seed in args.seeds for name in names]
    print(f"{'variant':45}{'seed':>6}{'all':>8}{'repeats':>9}{'unique':>8}{'bases/s':>9}")
    with ThreadPoolExecutor(args.jobs) as pool:
        for name, seed, r in pool.map(run, jobs):
            print(f"{name:45}{seed:6}" + (f"{r['val_bits_all']:8.4f}{r['val_bits_repeats']:9.4f}{r['val_bits_unique']:8.4f}{r['tokens_per_second']:9,}" if r else "  failed: see its log"), flush=True)


if __name__ == "__main__":
    main()
