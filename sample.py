"""Write DNA with a trained model, as FASTA on standard output.

  python sample.py
  python sample.py --start=ACGTACGT --num_samples=4 --temperature=0.8 --out=samples.fa
  python sample.py --start=chr21:22000000-22000500

A locus is 0-based and half-open, as in BED, and is read from the prepared genome. A record is its
prompt, if there was one, followed by the new bases. A summary of the new bases goes to standard
error.
"""

import hashlib
import math
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from config import configure, die, find_dataset, main_dataset
from data import Genome, N, decode, encode
from data.genome import C, G
from data.locus import parse_locus, read_locus
from model import LETTERS
from runtime.checkpoint import load_model
from runtime.device import pick_device
from runtime.output import check_output, open_output

ckpt = "out/ckpt.pt"  # the checkpoint to sample from
start = ""  # what to continue: DNA, FILE:path or chr21:22000000-22000500; its end if it is too long
num_samples = 4  # records to write
max_new_tokens = 1000  # new bases in each
temperature = 1.0  # below 1: likelier bases; 0: always the likeliest
top_k = 0  # sample from the k likeliest bases only; 0: all four
seed = 1337  # same seed, start, num_samples, batch_size and machine: same DNA
out = ""  # a file to write instead of standard output
dataset = ""  # prepared genome for a locus and the comparison; default: the one trained on
batch_size = 64  # records sampled at once: lower it when memory runs out
device = "auto"  # auto | cuda | cpu | mps | cuda:1 ...
dtype = "auto"  # auto | bfloat16 | float16 | float32


# ---- drawing bases


@torch.inference_mode()
def generate(
    model, prompt, n, temperature=1.0, top_k=0, generator=None, dtype=torch.float32, ahead=None
):
    """Yield the next base of each row, n times: (B,) tokens, of A, C, G, T alone.

    prompt: (B, T) tokens, the first of them the start symbol. dtype: of the cached keys and values.
    ahead: how many bases a pass of the model may draw; None: what suits the device.

    nanoGPT's generate runs the model once for each token. This one guesses some bases, runs the
    model once over all of them, and keeps those that turn out right. It yields the very bases that
    one pass for each would (predictive sampling: Wiggers and Hoogeboom, 2020):

    - All chance is drawn first, as noise for each base to come. A base is then a function of the
      noise and the bases before it, and nothing else (see draw).
    - The first guess at a base is what its noise alone would choose, if all four were equally
      likely. The next base of DNA is so uncertain that this is right three times in four.
    - A pass draws m bases, each behind the guesses before it. The first of them is final, and so is
      each further one for as long as the guesses before it are right. What is drawn behind a wrong
      guess is not final, but a better guess for the next pass.

    The rows advance together, by what is final in all of them.

    The context: when block_size tokens are cached, the cache is made anew from the start symbol and
    the last block_size / 2 tokens, so each base is drawn knowing at least that many before it.
    """
    rows = len(prompt)
    block_size = model.config.block_size
    if ahead is None:
        ahead = bases_per_pass(prompt)
    noise = torch.ones(n, rows, LETTERS, device=prompt.device)
    if temperature > 0:
        noise.exponential_(generator=generator)
    # draw takes the largest p / noise: where all p are equal, the smallest noise
    tokens = torch.cat((prompt, noise.argmin(-1).T), 1)
    known = prompt.size(1)  # tokens[:, :known] are final, those behind them are guesses
    done = 0  # bases yielded
    cache = model.new_cache(rows, dtype)
    while done < n:
        if known > block_size:
            tokens = torch.cat((tokens[:, :1], tokens[:, known - block_size // 2 :]), 1)
            known = 1 + block_size // 2
            cache = model.new_cache(rows, dtype)
        m = min(ahead, n - done, block_size + 1 - known)
        unread = tokens[:, cache.pos : known + m - 1]  # known ones, then m - 1 guesses
        logits = model(unread, cache)[:, -m:]  # (B, m, 4)
        drawn = draw(logits, noise[done : done + m], temperature, top_k)  # (B, m)
        final = count_final(drawn, tokens[:, known : known + m])
        tokens[:, known : known + m] = drawn
        yield from drawn[:, :final].unbind(1)
        done += final
        known += final
        cache.pos = known - 1  # forget what the model read behind a wrong guess


def bases_per_pass(prompt):
    """How many bases generate draws in a pass: 16, fewer on a CPU that many rows keep busy."""
    if prompt.is_cuda:
        return 16
    return max(1, min(16, 64 // len(prompt)))


def draw(logits, noise, temperature, top_k):
    """Logits (B, m, 4) and noise (m, B, 4) -> (B, m) bases.

    The argmax of p / noise is a draw from p if the noise is from Exp(1): of four exponential
    clocks that tick at the rates p, base i's is the first with probability p_i. temperature 0: the
    likeliest base, given noise that is 1 throughout.
    """
    if top_k:
        lowest = logits.topk(top_k).values[..., -1:]
        logits = logits.masked_fill(logits < lowest, -math.inf)
    weights = (logits / temperature).softmax(-1) if temperature > 0 else logits
    return (weights / noise.transpose(0, 1)).argmax(-1)


def count_final(drawn, guesses):
    """How many of the m bases drawn, (B, m), are final: one more than the right guesses they open
    with, in all rows, since a base is final if all guesses before it were right.
    """
    right = (drawn == guesses).all(0)
    right_before = right[:-1].cumprod(0)  # 1 until the first wrong guess, then 0
    return 1 + int(right_before.sum())


# ---- the prompt


def read_prompt_file(path):
    """The letters of a FASTA file of one record, or of a file of letters alone; dies if none."""
    text = f"FILE:{path}"
    try:
        lines = Path(path).read_text(encoding="ascii").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        die(f"--start={text}: cannot read that file as text ({type(error).__name__})")
    names = [line for line in lines if line.startswith(">")]
    if len(names) > 1:
        die(f"--start={text}: that FASTA has several records: give a file with one")
    letters = "".join(line.strip() for line in lines if not line.startswith(">"))
    if not letters:
        die(f"--start={text}: no DNA in that file")
    return letters


def read_prompt(text, genome):
    """(n,) bases, without repeat bits, that --start asks for: DNA, FILE:path, or a locus.

    genome: where a locus is read; not used otherwise. Dies if there is no such DNA.
    """
    if parse_locus(text):
        return read_locus(text, genome)
    letters = read_prompt_file(text[5:]) if text.startswith("FILE:") else text
    wrong = sorted(set(letters.upper()) - set("ACGTN"))
    if wrong and Path(letters).is_file():
        die(f"--start={letters} is a file: type --start=FILE:{letters}")
    if wrong and ":" in letters:
        die(f"--start={letters}: a locus has a start and an end: chr21:22000000-22000500")
    if wrong:
        die(
            f"--start holds {''.join(wrong)[:10]!r}: give DNA (A, C, G, T, N), FILE:path, "
            "or a locus such as chr21:22000000-22000500"
        )
    return encode(letters) & 7


# ---- the summary: does the new DNA look like the genome's?


def spectrum(bases, k):
    """(4^k,) frequencies of the k-mers without N in (n,) bases, or in all rows of (B, n) bases."""
    rows = np.atleast_2d(bases & 7)
    width = max(rows.shape[1] - k + 1, 0)  # k-mers in a row
    code = np.zeros((len(rows), width), np.int64)  # of each k-mer, its letters in base 4
    known = np.ones((len(rows), width), bool)
    for j in range(k):
        letter = rows[:, j : j + width]
        code = code * 4 + letter
        known = known & (letter < N)
    counts = np.bincount(code[known], minlength=4**k)
    return counts / max(counts.sum(), 1)


def entropy(p):
    """Shannon's entropy of (n,) frequencies, in bits."""
    p = p[p > 0]
    return -(p * np.log2(p)).sum()


def divergence(p, q):
    """Jensen-Shannon divergence of two spectra, in bits (Lin 1991): equal 0, disjoint 1."""
    return entropy((p + q) / 2) - (entropy(p) + entropy(q)) / 2


def real_windows(genome, width, count, rng):
    """(count, width) bytes of windows drawn evenly from the training chromosomes, outside of gaps;
    None if no stretch between gaps is that long.
    """
    stretches = genome.stretches("train")
    low = stretches[:, 0]
    places = stretches[:, 1] - low - width + 1  # where a window can start in each stretch
    low = low[places > 0]
    places = places[places > 0]
    if not len(places):
        return None
    chosen = rng.choice(len(places), count, p=places / places.sum())
    starts = rng.integers(low[chosen], low[chosen] + places[chosen])
    bases = genome.bases("train")
    return np.stack([bases[first : first + width] for first in starts])


def describe_composition(new):
    """A line on (B, n) new bases: GC, and CpG observed / expected."""
    share = np.bincount(new.ravel(), minlength=LETTERS) / new.size
    cpg = math.nan
    if new.shape[1] > 1:
        observed = ((new[:, :-1] == C) & (new[:, 1:] == G)).mean()
        cpg = observed / max(share[C] * share[G], 1e-9)
    gc = share[C] + share[G]
    return f"{new.size:,} new bases | GC {gc:.3f} | CpG observed/expected {cpg:.2f}"


def describe_spectrum(new, genome):
    """A line on how far the k-mers of (B, n) new bases are from those of the training chromosomes.

    Beside it two yardsticks: as many real bases, the mean of eight draws, and as many random ones.
    None if there are too few new bases, or no real windows of n.
    """
    if new.size < 64:
        return None
    rows, width = new.shape
    rng = np.random.default_rng(0)
    real = real_windows(genome, width, max(8 * rows, 2**22 // width), rng)
    if real is None:
        return None
    k = max(1, min(6, int(math.log(new.size / 16, 4))))  # 16 bases or more for each k-mer
    whole = spectrum(real, k)
    parts = real[: 8 * rows].reshape(8, rows, width)
    alike = np.mean([divergence(spectrum(part, k), whole) for part in parts])
    ours = divergence(spectrum(new, k), whole)
    uniform = divergence(spectrum(rng.integers(0, LETTERS, new.shape), k), whole)
    return (
        f"{k}-mer spectrum against the training chromosomes', Jensen-Shannon bits: {ours:.4f}"
        f" (as much real DNA: {alike:.4f}, uniform: {uniform:.4f})"
    )


def summarise(new, genome):
    """Lines on (B, n) new bases. genome: to compare with, or None."""
    lines = [describe_composition(new)]
    if genome:
        line = describe_spectrum(new, genome)
        if line:
            lines.append(line)
    return lines


# ---- the command


def check_settings():
    """Die at a setting that cannot be."""
    for name, value, low in (
        ("num_samples", num_samples, 1),
        ("max_new_tokens", max_new_tokens, 1),
        ("batch_size", batch_size, 1),
        ("top_k", top_k, 0),
    ):
        if value < low:
            die(f"--{name}={value}: give at least {low}")
    if temperature < 0:
        die(f"--temperature={temperature}: give at least 0")
    if top_k > LETTERS:
        die(f"--top_k={top_k}: give at most {LETTERS}")
    if not 0 <= seed < 2**63:
        die(f"--seed={seed}: give 0 to 2**63 - 1")
    check_output(out or "-", inputs=(ckpt,))


def choose_device():
    """(device, precision, autocast context) that suit sampling, where a step is small."""
    torch.backends.cuda.enable_cudnn_sdp(False)  # it may plan anew for every length of the cache
    dev, precision, autocast = pick_device(device, dtype)
    if dev.type == "cpu":
        torch.set_num_threads(1)  # threads would mostly wait for each other
        if dtype == "auto":
            return dev, torch.float32, nullcontext()  # bfloat16 gains nothing
    return dev, precision, autocast


def open_genome(trained_on):
    """The genome that `dataset` names, by default the one trained on; None if that is not here.

    Dies if there is none although the settings need it.
    """
    needed = dataset != "" or parse_locus(start) is not None
    folder = find_dataset(dataset or trained_on, required=needed)
    return Genome(folder) if folder else None


def seed_of(prompt):
    """What the generator is seeded by: the seed, and the (n,) bases of a prompt if there is one.

    Else two prompts of one seed would share their noise, and so nearly all of their new bases.
    """
    if not len(prompt):
        return seed
    text = f"{seed} {decode(prompt)}"
    return int.from_bytes(hashlib.md5(text.encode()).digest()[:7], "little")


def draw_records(model, prompt, precision):
    """(num_samples, max_new_tokens) uint8 new bases after a prompt of (n,) bases."""
    dev = model.cos.device
    context = torch.tensor([N, *prompt.tolist()], device=dev)
    generator = torch.Generator(dev).manual_seed(seed_of(prompt))
    total = num_samples * max_new_tokens
    batches = []
    with tqdm(total=total, unit=" bases", unit_scale=True, disable=None, leave=False) as bar:
        for first in range(0, num_samples, batch_size):
            rows = min(batch_size, num_samples - first)
            contexts = context.expand(rows, -1)
            columns = []
            for column in generate(
                model, contexts, max_new_tokens, temperature, top_k, generator, precision
            ):
                columns.append(column)
                bar.update(rows)
            batches.append(torch.stack(columns, 1).byte().cpu().numpy())
    return np.concatenate(batches)


def to_fasta(prompt, new, told):
    """FASTA of a record for each row of (B, n) new bases, the prompt's (m,) bases first; told: what
    a header says of the prompt.
    """
    drawn_by = f"temperature={temperature} top_k={top_k} seed={seed}"
    lines = []
    for number, row in enumerate(new, 1):
        lines.append(f">sample_{number} prompt={told} new={len(row)} {drawn_by}")
        letters = decode(np.concatenate((prompt, row)))
        lines += [letters[i : i + 60] for i in range(0, len(letters), 60)]
    return "\n".join(lines) + "\n"


def main():
    check_settings()
    dev, precision, autocast = choose_device()
    model, checkpoint = load_model(ckpt, dev)
    genome = open_genome(main_dataset(checkpoint))
    prompt = read_prompt(start, genome)
    told = len(prompt)
    if parse_locus(start):
        chrom, low, high = parse_locus(start)
        told = f"{genome.find(chrom)}:{low}-{high}"
    with autocast:
        new = draw_records(model, prompt, precision)
    with open_output(out or "-") as file:
        file.write(to_fasta(prompt, new, told))
    for line in summarise(new, genome):
        print(line, file=sys.stderr)


if __name__ == "__main__":
    configure(globals())
    main()
