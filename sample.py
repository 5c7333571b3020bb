"""Write DNA with a trained model, as FASTA on standard output.

  python sample.py
  python sample.py --start=ACGTACGT --num_samples=4 --temperature=0.8 --out=samples.fa
  python sample.py --start=chr21:22000000-22000500      (0-based, half-open, as in BED; from the prepared genome)

A record is its prompt, if there was one, followed by the new bases. A summary of the new bases goes to standard error.
"""
import math
import os
import re
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from config import configure, die, find_dataset
from data import N, Genome, decode, encode
from runtime.checkpoint import load_model
from runtime.device import pick_device

ckpt = "out/ckpt.pt"     # the checkpoint to sample from
start = ""               # what to continue: DNA, FILE:path, chr21:22000000-22000500 (if too long, its last block_size / 2)
num_samples = 4          # records to write
max_new_tokens = 1000    # new bases in each
temperature = 1.0        # below 1: likelier bases; 0: always the likeliest
top_k = 0                # sample from the k likeliest bases only; 0: all four
seed = 1337              # same seed, num_samples, batch_size and machine: same DNA
out = ""                 # a file to write instead of standard output
dataset = ""             # prepared genome for a locus and for the comparison; default: the one trained on
batch_size = 64          # records sampled at once: lower it when memory runs out
device = "auto"          # auto | cuda | cpu | mps | cuda:1 ...
dtype = "auto"           # auto | bfloat16 | float16 | float32


@torch.inference_mode()
def generate(model, prompt, n, temperature=1.0, top_k=0, generator=None, dtype=torch.float32, ahead=None):
    """Yield n times the (B,) next bases after a (B, T) prompt of tokens that opens with the start symbol.

    A base is the argmax of p / noise, which for noise from Exp(1) is a draw from p. All noise is drawn first: what it alone would choose
    is a guess, right three times in four, and one pass of the model draws up to `ahead` bases, each behind the guesses before it. Those
    behind right guesses are final, the same that one pass a base would draw; the others are the next pass's guesses (Wiggers and Hoogeboom, 2020).
    By default 16, fewer on a CPU that many rows keep busy.

    Keys and values are cached. When block_size tokens are in the cache it is made anew from the start symbol and the last half of
    them, so every base is drawn knowing at least the block_size / 2 before it. N is never drawn: the model has no output for it.
    """
    size, end, cache = model.config.block_size, prompt.size(1), None
    ahead = ahead or (16 if prompt.is_cuda else max(1, min(16, 64 // len(prompt))))
    noise = torch.ones(n, len(prompt), N, device=prompt.device)
    if temperature > 0:
        noise.exponential_(generator=generator)
    tokens = torch.cat((prompt, noise.argmin(-1).T), 1)  # up to `end` known, then guesses
    while len(noise):
        if end > size:
            tokens, end, cache = torch.cat((tokens[:, :1], tokens[:, end - size // 2:]), 1), 1 + size // 2, None
        cache = cache or model.new_cache(len(prompt), dtype)
        m = min(ahead, len(noise), size + 1 - end)
        logits = model(tokens[:, cache.pos:end + m - 1], cache)[:, -m:]
        if top_k:
            logits = logits.masked_fill(logits < logits.topk(top_k).values[..., -1:], -math.inf)
        weights = (logits / temperature).softmax(-1) if temperature > 0 else logits
        drawn = (weights / noise[:m].transpose(0, 1)).argmax(-1)
        right = (drawn == tokens[:, end:end + m]).all(0)[:-1]
        final = 1 + int(right.cumprod(0).sum())
        tokens[:, end:end + m] = drawn
        yield from drawn[:, :final].unbind(1)
        cache.pos, noise, end = end + final - 1, noise[final:], end + final


def read_prompt(text, genome):
    """The bases that --start asks for: DNA, FILE:path, or a locus of `genome`, a function that opens the prepared genome."""
    locus = re.fullmatch(r"(\S+):(\d[\d,]*)-(\d[\d,]*)", text)
    if locus:
        lo, hi = (int(x.replace(",", "")) for x in locus.group(2, 3))
        if lo >= hi:
            die(f"--start={text}: the end must lie behind the start")
        if hi > genome().chroms.get(locus[1], {"length": hi})["length"]:
            die(f"--start={text}: {locus[1]} ends at {genome().chroms[locus[1]]['length']}")
        bases = genome().fetch(locus[1], lo, hi) & 7
        return bases if (bases < N).any() else die(f"--start={text} is a gap, N throughout: choose another place")
    if text.startswith("FILE:"):
        try:
            lines = Path(text[5:]).read_text(encoding="ascii").split("\n")
        except (OSError, UnicodeDecodeError) as error:
            die(f"--start={text}: cannot read that file as text ({type(error).__name__})")
        if sum(line.startswith(">") for line in lines) > 1:
            die(f"--start={text}: that FASTA has several records: give a file with one")
        text = "".join(line.strip() for line in lines if not line.startswith(">")) or die(f"--start={text}: no DNA in that file")
    wrong = sorted(set(text.upper()) - set("ACGTN"))
    if wrong:
        die(f"--start holds {''.join(wrong)[:10]!r}: give DNA (A, C, G, T, N), FILE:path, or a locus such as chr21:22000000-22000500")
    return encode(text) & 7


def spectrum(bases, k):
    """(4^k,) frequencies of the k-mers without N in an (n,) array of bases, or in each row of a 2-D one together."""
    rows = np.atleast_2d(bases & 7)
    code, known = np.zeros((len(rows), max(rows.shape[1] - k + 1, 0)), np.int64), True
    for j in range(k):
        piece = rows[:, j:rows.shape[1] - k + 1 + j]
        code, known = code * 4 + piece, known & (piece < N)
    counts = np.bincount(code[known], minlength=4 ** k)
    return counts / max(counts.sum(), 1)


def divergence(p, q):
    """Jensen-Shannon divergence of two spectra, in bits (Lin 1991): 0 for equal ones, 1 for disjoint ones."""
    m = (p + q) / 2
    entropy = lambda x: -(x[x > 0] * np.log2(x[x > 0])).sum()
    return entropy(m) - (entropy(p) + entropy(q)) / 2


def summarise(new, genome):
    """Lines on the (B, n) new bases: GC, CpG observed / expected, and how far their k-mers are from the genome's."""
    share = np.bincount(new.ravel(), minlength=4) / new.size
    cpg = ((new[:, :-1] == 1) & (new[:, 1:] == 2)).mean() / max(share[1] * share[2], 1e-9) if new.shape[1] > 1 else math.nan
    lines = [f"{new.size:,} new bases | GC {share[1] + share[2]:.3f} | CpG observed/expected {cpg:.2f}"]
    n, long_enough = new.shape[1], [(a, b) for a, b in genome.stretches("train") if b - a >= new.shape[1]] if genome else []
    if long_enough and new.size >= 64:
        k = max(1, min(6, int(math.log(new.size / 16, 4))))
        rng, (low, high) = np.random.default_rng(0), np.array(long_enough).T
        stretch = rng.choice(len(low), max(8 * len(new), 2 ** 22 // n), p=(high - low - n + 1) / (high - low - n + 1).sum())
        real = np.stack([genome.bases("train")[a:a + n] for a in rng.integers(low[stretch], high[stretch] - n + 1)])
        whole = spectrum(real, k)
        alike = np.mean([divergence(spectrum(part, k), whole) for part in real[:8 * len(new)].reshape(8, len(new), n)])
        lines.append(f"{k}-mer spectrum against the training chromosomes', Jensen-Shannon bits: {divergence(spectrum(new, k), whole):.4f}"
                     f" (as much real DNA: {alike:.4f}, uniform: {divergence(spectrum(rng.integers(0, 4, new.shape), k), whole):.4f})")
    return lines


def main():
    for name, low, value in (("num_samples", 1, num_samples), ("max_new_tokens", 1, max_new_tokens), ("batch_size", 1, batch_size), ("top_k", 0, top_k)):
        if value < low:
            die(f"--{name}={value}: give at least {low}")
    if temperature < 0 or top_k > N or not 0 <= seed < 2 ** 63:
        die("--temperature must be 0 or more, --top_k at most 4, --seed from 0 to 2**63 - 1")
    if out and not Path(out).absolute().parent.is_dir():
        die(f"--out={out}: no such folder: make it first")
    dev, precision, autocast = pick_device(device, dtype)
    torch.backends.cuda.enable_cudnn_sdp(False)  # it may plan anew for every length of the cache
    if dev.type == "cpu":
        torch.set_num_threads(1)  # a step is too small to share: threads would mostly wait for each other
        if dtype == "auto":
            precision, autocast = torch.float32, nullcontext()  # and too small for bfloat16 to gain
    model, checkpoint = load_model(ckpt, dev)
    locus = ":" in start and not start.startswith("FILE:")
    folder = find_dataset(dataset or checkpoint["config"]["dataset"], required=bool(dataset) or locus)
    genome = Genome(folder) if folder else None
    prompt = read_prompt(start, lambda: genome)
    context = torch.tensor([N, *prompt.tolist()], device=dev)[None]
    generator = torch.Generator(dev).manual_seed(seed)
    made = []
    with tqdm(total=num_samples * max_new_tokens, unit=" bases", unit_scale=True, disable=None, leave=False) as bar, autocast:
        for first in range(0, num_samples, batch_size):
            rows = min(batch_size, num_samples - first)
            columns = []
            for column in generate(model, context.expand(rows, -1), max_new_tokens, temperature, top_k, generator, precision):
                columns.append(column)
                bar.update(rows)
            made.append(torch.stack(columns, 1).byte().cpu().numpy())
    made = np.concatenate(made)
    lines = []
    for i, row in enumerate(made):
        lines.append(f">sample_{i + 1} prompt={start if locus else len(prompt)} new={len(row)} temperature={temperature} top_k={top_k} seed={seed}")
        letters = decode(np.concatenate((prompt, row)))
        lines += [letters[j:j + 60] for j in range(0, len(letters), 60)]
    text = "\n".join(lines) + "\n"
    if out:
        Path(f"{out}.tmp").write_text(text)
        os.replace(f"{out}.tmp", out)
    else:
        sys.stdout.write(text)
    print("\n".join(summarise(made, genome)), file=sys.stderr)


if __name__ == "__main__":
    configure(globals())
    main()
