"""DART-Eval: what does a model know of regulatory DNA?

  python eval_dart.py --ckpt=out/ckpt.pt                                   Task 1
  python eval_dart.py --ckpt=out/ckpt.pt --task=2 --motifs=motifs.meme     Task 2
  python eval_dart.py --ckpt=out/ckpt.pt --task=5 --variants=dsqtls.tsv    Task 5

Task 1: each regulatory element (cCRE) sits in a window of 350 bases; in its control the element is
shuffled, so that each pair of neighbours occurs as often as before. Zero-shot: the window must be
the likelier. Probe: a small CNN tells them apart by the model's frozen states. Task 2: a motif in
the middle of a background must be likelier than its letters in another order. Task 5: variants that
open or close chromatin; does the difference of their alleles' likelihoods follow their effect?

The protocol is that of Patel et al., NeurIPS 2024, arXiv:2412.05430; what differs is printed with
the result.
"""

import math
import os
import time

# torch reads this as it loads: threads that wait leave their core to others
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import numpy as np
import torch

from config import configure, die, find_dataset, main_dataset, read_script
from dart import notes
from dart.elements import CHROMS, WINDOW, choose, find_ccre, read_elements, spaced
from dart.folds import FEW, make_folds
from dart.footprints import (
    backgrounds_from,
    check_motifs,
    judge_motifs,
    read_backgrounds,
    shufflable,
    summary,
)
from dart.motifs import read_motifs
from dart.networks import CNN, AbInitio, linear
from dart.pairs import make_pairs
from dart.probe import Probe, embedder, probe_metrics, train_probe
from dart.table import Results, print_footprints, print_variants
from dart.variants import WINDOW as WINDOW_OF_VARIANT
from dart.variants import check_reference, judge_variants, make_windows, read_variants
from dart.zero_shot import Candidate, at_order, compare_orders, differences, in_float32, judge
from data import Genome
from markov import Markov
from model import GPT
from runtime.checkpoint import load_model
from runtime.device import pick_device
from runtime.output import check_output

ckpt = "out/ckpt.pt"  # the model to evaluate
task = 1  # 1 | 2 | 5
motifs = ""  # Task 2: a file of motifs, MEME's or JASPAR's; the official one is HOCOMOCO v12 CORE
backgrounds = ""  # Task 2: a file of 350 bases a line; "": controls of Task 1
max_motifs = 0  # Task 2: motifs scored; 0: all on a GPU, 100 on a CPU
max_backgrounds = 0  # Task 2: backgrounds for each; 0: 100 on a GPU, 10 on a CPU
variants = ""  # Task 5: a TSV of DART-Eval's, African caQTLs or Yoruban dsQTLs
dataset = ""  # a prepared genome; "": the one that the checkpoint was trained on
ccre = ""  # a BED of elements; "": ccre.bed in the dataset's folder, else ENCODE's list, downloaded
split = "test"  # whose DART-Eval chromosomes to test on: train | val | test
only = ""  # zero_shot | probe, to do one of the two
full = False  # the official size: all pairs, a probe of 150 epochs; days without a large GPU
max_pairs = 0  # pairs scored, or controls of Task 5; 0: all on a GPU, 1,000 on a CPU
probe_pairs = 0  # pairs that the probe trains on; 0: 5,000 on a GPU, 1,000 on a CPU
probe_epochs = 20  # passes over them
layer = -1  # the probe reads the states after this many blocks; -1: after all, as the official one
pool = ""  # mean: a linear probe on the mean state of a window; "": the official CNN on all states
probe_batch = 0  # pairs in a step of the probe; 0: about 32 steps an epoch, of 16 to 2,048 pairs
probe_memory = 4.0  # GB to keep states in; if they need more, each epoch computes them
markov_order = 12  # highest order of the Markov models beside the model; 0: the bigram (order 1)
batch_size = 0  # windows at once through the model; 0: 128 on a GPU, 8 on a CPU (its cache)
json = ""  # a file for the results, rewritten as each of them comes
device = "auto"  # auto | cuda | cpu | mps | cuda:1 ...
dtype = "auto"  # float32 is the official one; auto: bfloat16 where the hardware multiplies it
seed = 0  # of the probe and of the untrained model; the pairs have the official seeds
# ---- end of settings

ALL = 2**62  # more than there are
SOME_ON_GPU = 5_000  # pairs where all of them would take too long
SOME_ON_CPU = 1_000
CHECKED = 1_000  # pairs to choose the Markov order by, and to compare precisions on
ALLOWED = {
    "task": [1, 2, 5],
    "split": list(CHROMS),
    "only": ["", "zero_shot", "probe"],
    "pool": ["", "mean"],
}
NEEDED = {2: "motifs", 5: "variants"}  # setting that a task cannot do without
TASKS_OF = {  # settings that only some tasks have
    "motifs": [2],
    "backgrounds": [2],
    "max_motifs": [2],
    "max_backgrounds": [2],
    "variants": [5],
    "split": [1, 2],
    "ccre": [1, 2],
    "max_pairs": [1, 5],
    "only": [1],
    "probe_pairs": [1],
    "probe_epochs": [1],
    "probe_batch": [1],
    "layer": [1],
    "pool": [1],
}
AT_LEAST = {
    "max_pairs": 0,
    "max_motifs": 0,
    "max_backgrounds": 0,
    "probe_pairs": 0,
    "probe_epochs": 1,
    "probe_batch": 0,
    "markov_order": 0,
    "batch_size": 0,
    "seed": 0,
}


# ---- what may be wrong


def check_settings(settings):
    """Die at a setting out of its limits."""
    for key, allowed in ALLOWED.items():
        if settings[key] not in allowed:
            die(f"{key} = {settings[key]!r}: give one of {', '.join(map(repr, allowed))}")
    for key, low in AT_LEAST.items():
        if settings[key] < low:
            die(f"{key} = {settings[key]}: give at least {low}")
    defaults, comments = read_script(__file__)
    for number, key in NEEDED.items():
        if task == number and not settings[key]:
            die(f"--task={number} needs --{key}=FILE: {comments[key]}")
    for key, tasks in TASKS_OF.items():
        if settings[key] != defaults[key] and task not in tasks:
            die(f"--{key} is of --task={' and '.join(map(str, tasks))}, this is {task}: leave one")
    if full and (probe_epochs, probe_batch) != (defaults["probe_epochs"], defaults["probe_batch"]):
        die("--full has 150 epochs in steps of 2,048 pairs: leave --probe_epochs and --probe_batch")
    if json == "-":
        die("--json=-: name a file, standard output has the table")
    check_output(json or "-", "json", inputs=(ckpt, ccre, motifs, backgrounds, variants))


def check_model(model):
    """Die if the model has not the layer asked for, or too short a context."""
    n_layer = model.config.n_layer
    if not -1 <= layer <= n_layer:
        die(f"layer = {layer}: give 0 to {n_layer} for {ckpt}, or -1 for the last")
    context = model.config.block_size
    if context <= WINDOW:
        die(f"{ckpt} has a context of {context}: a window and its start symbol take {WINDOW + 1}")


# ---- how much of it


def how_many(kind):
    """(pairs to score, pairs to score on the other strand too, pairs for the probe to train on) on
    a kind of device: cuda, cpu or mps.
    """
    some = SOME_ON_GPU if kind == "cuda" else SOME_ON_CPU
    if full:
        some = ALL
    scored = max_pairs
    if not max_pairs:
        scored = ALL if kind == "cuda" else some
    return scored, max(some, max_pairs), probe_pairs or some


def windows_at_once(kind):
    """Windows in a batch for the model, on a kind of device."""
    if batch_size:
        return batch_size
    return 8 if kind == "cpu" else 128


# ---- zero-shot


def count_markov(genome, highest):
    """A Markov model of the training bases, of order `highest` or of what they are enough for, at
    least 1.
    """
    bases = genome.bases("train")
    enough_for = int(math.log(max(4, len(bases)), 4))  # as many contexts as bases
    order = max(1, min(highest, enough_for))
    where = f"{genome.folder}'s training bases"
    print(f"counting Markov models up to order {order} on {where} ...", flush=True)
    return Markov(bases, order)


def best_order(markov, genome, elements, rows, tested, results):
    """The Markov order of the best accuracy: on val pairs, or on the tested ones where there are
    too few of those.
    """
    part = "tested"
    choosing = tested
    if split == "test" and len(rows["val"]) >= FEW:
        part = "val"
        choosing = rows["val"]
    pairs, _ = make_pairs(genome, elements[spaced(choosing, CHECKED)])
    accuracy = compare_orders(markov, pairs)
    results.method.append(notes.about_orders(accuracy, len(pairs), part))
    return max(accuracy, key=accuracy.get)


def zero_shot_rows(gpt, markov, best):
    """Whom to score. A baseline is one more Candidate in this list: anything that maps (B, T)
    tokens to (B, T, 4) logits of the next base.
    """
    rows = [Candidate("uniform", None), Candidate("bigram", at_order(markov, 1))]
    if best > 1:
        rows.append(Candidate(f"Markov order {best}", at_order(markov, best)))
    rows.append(gpt)
    return rows


def run_zero_shot(candidates, pairs, kinds, n_twice, at_once, results):
    """Score the (M, 2, WINDOW) pairs by each candidate. kinds: (M,) classes of their elements;
    n_twice: how many to score on both strands; at_once: windows at a time.
    """
    twice = spaced(np.arange(len(pairs)), n_twice)
    if len(twice) < len(pairs):
        results.method.append(f"both strands: {len(twice):,} of the pairs")
    for candidate in candidates:
        began = time.perf_counter()
        result, difference = judge(candidate, pairs, twice, kinds, at_once)
        seconds = time.perf_counter() - began
        if candidate.precision != torch.float32:
            some = spaced(np.arange(len(pairs)), CHECKED)
            exact = differences(in_float32(candidate), pairs[some], at_once)
            line = notes.about_rounding(difference[some], exact, candidate.precision)
            results.method.append(line)
        results.record(candidate.name, "zero_shot", result, seconds)


# ---- the probe


def probe_rows(gpt, markov):
    """Whose states to probe. A baseline is one more row(...) in this list: its model needs the
    method states, (B, T) tokens to (B, T, C).
    """
    torch.manual_seed(seed)
    untrained = GPT(gpt.model.config).to(gpt.device).eval()
    one_hot = Candidate("one-hot", None, gpt.device)
    network = CNN
    tie = 0
    if pool:
        network = linear
        tie = 1e-4  # pooled states of a pair may be equal but for rounding, which is no win
    after = layer if layer >= 0 else None  # all blocks

    def row(candidate, after=None):
        return Probe(candidate.name, embedder(candidate, pool, after), network, tie=tie)

    return [
        row(one_hot),
        row(Candidate("bigram", at_order(markov, 1))),
        row(Candidate("untrained", untrained, gpt.device), after),
        row(gpt, after),
        Probe("ab initio CNN", embedder(one_hot), AbInitio, learning_rate=1e-3),
    ]


def run_probes(probes, pairs, folds, kind_of_folds, gpt, at_once, results):
    """Train and test each probe on the (M, 2, WINDOW) pairs, by their folds, as make_folds gives
    them; at_once: windows at a time.
    """
    epochs = probe_epochs
    batch = probe_batch or min(2048, max(16, len(folds[0][0]) // 32))
    if full:
        epochs = 150
        batch = 2048
    results.method.append(notes.about_probe(kind_of_folds, folds, epochs, batch, full))
    results.method += notes.about_states(layer, gpt.model.config.n_layer, pool)
    print(notes.probe_cost(folds, len(pairs), epochs), flush=True)
    for probe in probes:
        began = time.perf_counter()
        margins = train_probe(
            probe.embed,
            pairs,
            folds,
            probe.network,
            probe.learning_rate,
            epochs,
            batch,
            shuffle=not full,
            memory=probe_memory,
            chunk=(at_once + 1) // 2,
            seed=seed,
            name=probe.name,
            device=gpt.device,
        )
        tested = ~np.isnan(margins).any(1)
        result = probe_metrics(margins[tested], probe.tie)
        results.record(probe.name, "probe", result, time.perf_counter() - began)


# ---- the tasks


def open_elements(genome, said):
    """(the BED's path, its elements, {part: its rows of them}); said: a list that gets lines."""
    path = ccre or find_ccre(genome.folder, genome.meta["assembly"])
    elements = read_elements(path, said)
    return path, elements, choose(elements, genome, split, path, said)


def run_task1(gpt, genome, checkpoint, settings):
    """Task 1: elements against themselves shuffled, zero-shot and by a probe."""
    said = []  # on how the BED was read
    path, elements, rows = open_elements(genome, said)
    n_scored, n_twice, n_probe = how_many(gpt.device.type)
    tested = spaced(rows[split], n_scored)
    probed, folds, kind_of_folds = make_folds(elements, rows, tested, n_probe)
    if not folds and only != "zero_shot":
        die(
            "the probe needs elements on three chromosomes, to train, select and test: "
            "--only=zero_shot does without it"
        )
    chosen = elements[tested]
    pairs, holes = make_pairs(genome, chosen)
    about = [
        notes.about_elements(path, elements),
        *said,
        notes.about_pairs(chosen, holes, len(rows[split]), split, genome),
        notes.about_pretraining(chosen, genome, checkpoint["data"]),
        notes.about_genome(genome, checkpoint["data"]),
        notes.about_precision(gpt.precision),
    ]
    results = Results(settings, checkpoint["step"], about, json)

    markov = count_markov(genome, 1 if only == "probe" else markov_order)
    at_once = windows_at_once(gpt.device.type)
    if only != "probe":
        best = best_order(markov, genome, elements, rows, tested, results)
        candidates = zero_shot_rows(gpt, markov, best)
        run_zero_shot(candidates, pairs, chosen.kind, n_twice, at_once, results)
    if only != "zero_shot":
        pairs, _ = make_pairs(genome, elements[probed])
        probes = probe_rows(gpt, markov)
        run_probes(probes, pairs, folds, kind_of_folds, gpt, at_once, results)
    results.print_table()


def run_task2(gpt, genome, checkpoint, settings):
    """Task 2: motifs against their letters in another order."""
    said = []
    found = shufflable(read_motifs(motifs), said)
    if not found:
        die(f"{motifs} holds no motif of more than one letter: give another file of motifs")
    if gpt.device.type == "cuda" or full:
        n_motifs = max_motifs or ALL
        n_backgrounds = max_backgrounds or 100
    else:
        n_motifs = max_motifs or 100
        n_backgrounds = max_backgrounds or 10
    chosen = [found[i] for i in spaced(np.arange(len(found)), n_motifs)]
    check_motifs(chosen)
    if backgrounds:
        sequences = read_backgrounds(backgrounds)[:n_backgrounds]
        said.append(f"backgrounds: {len(sequences)} of {backgrounds}")
    else:
        path, elements, rows = open_elements(genome, said)
        on_split = elements[spaced(rows[split], n_backgrounds)]
        sequences = backgrounds_from(genome, on_split, len(on_split))
        said.append(f"backgrounds: {len(sequences)} shuffled controls of {path}")
        said.append(notes.about_pretraining(on_split, genome, checkpoint["data"]))
    about = [f"motifs: {motifs}, {len(chosen):,} of {len(found):,}", *said]
    about.append(notes.about_precision(gpt.precision))
    results = Results(settings, checkpoint["step"], about, json)
    for candidate in likelihood_rows(gpt, count_markov(genome, markov_order)):
        began = time.perf_counter()
        judged = judge_motifs(candidate, chosen, sequences, windows_at_once(gpt.device.type))
        result = dict(summary(judged), by_motif=judged)
        results.record(candidate.name, "footprints", result, time.perf_counter() - began)
    print_footprints(results)


def run_task5(gpt, genome, checkpoint, settings):
    """Task 5: variants' effects against the difference of their alleles' likelihoods."""
    said = []
    found, kind = read_variants(variants, said)
    found, more = check_reference(genome, found, variants)
    if not found.significant.any():
        die(f"{variants} has no significant variant (by its label): give DART-Eval's TSV")
    controls = np.flatnonzero(~found.significant)
    taken = controls
    if max_pairs or (gpt.device.type != "cuda" and not full):
        taken = spaced(controls, max_pairs or SOME_ON_CPU)
    kept = np.union1d(np.flatnonzero(found.significant), taken)
    about = [
        f"variants: {variants} ({kind.name}), {len(kept) - len(taken):,} significant ones, "
        f"{len(taken):,} of {len(controls):,} controls",
        *said,
        *more,
    ]
    found = found[kept]
    windows, holes = make_windows(genome, found)
    about.append(f"{holes:,} windows hold N or hang over an end, read as A")
    context = gpt.model.config.block_size
    line = f"alleles are given up to {min(context - 1, WINDOW_OF_VARIANT // 2):,} bases before them"
    about.append(f"{line} (official: {WINDOW_OF_VARIANT // 2:,})")
    about.append(notes.about_names(found.chrom, checkpoint["data"]))
    about.append(notes.about_precision(gpt.precision))
    results = Results(settings, checkpoint["step"], about, json)
    at_once = windows_at_once(gpt.device.type)

    def judge_by(name, candidate, read, whole=False):
        began = time.perf_counter()
        result = judge_variants(candidate, windows, found, at_once, read, whole)
        results.record(name, "variants", result, time.perf_counter() - began)

    for candidate in likelihood_rows(gpt, count_markov(genome, markov_order)):
        judge_by(candidate.name, candidate, context)
    judge_by(f"this model, all of {WINDOW} bases", gpt, WINDOW, whole=True)
    print_variants(results, kind)


def likelihood_rows(gpt, markov):
    """Whom to ask for likelihoods: nobody, Markov models of every order, and this model. An
    untrained one says 1/4 for every base, and so is the first.
    """
    rows = [Candidate("untrained (uniform)", None), Candidate("bigram", at_order(markov, 1))]
    for order in range(2, markov.order + 1):
        rows.append(Candidate(f"Markov order {order}", at_order(markov, order)))
    return [*rows, gpt]


def main(words=None):
    """Evaluate. words: of a command line, those that Python was started with by default."""
    settings = configure(globals(), words)
    check_settings(settings)
    torch_device, precision, _ = pick_device(device, dtype)
    torch.set_float32_matmul_precision("highest")  # float32 means it
    torch.backends.cudnn.allow_tf32 = False  # in the probe's convolutions too
    model, checkpoint = load_model(ckpt, torch_device)
    check_model(model)
    gpt = Candidate("this model", model, torch_device, precision)
    genome = Genome(find_dataset(dataset or main_dataset(checkpoint)))
    run = {1: run_task1, 2: run_task2, 5: run_task5}[task]
    run(gpt, genome, checkpoint, settings)


if __name__ == "__main__":
    main()
