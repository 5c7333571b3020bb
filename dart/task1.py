"""Task 1, from the BED to the table: regulatory elements against themselves shuffled, zero-shot and
by a probe.
"""

import time

import numpy as np
import torch

from config import die
from dart import notes
from dart.baselines import best_order, count_markov, probe_rows, zero_shot_rows
from dart.elements import open_elements, spaced
from dart.folds import make_folds
from dart.pairs import make_pairs
from dart.probe import probe_metrics, train_probe
from dart.table import Results
from dart.zero_shot import differences, in_float32, judge, windows_at_once

ALL = 2**62  # more than there are
SOME_ON_GPU = 5_000  # pairs where all of them would take too long
SOME_ON_CPU = 1_000
CHECKED = 1_000  # pairs to compare precisions on


def run(gpt, genome, checkpoint, settings):
    """Task 1. gpt: the model, a Candidate. settings: those of eval_dart.py, by name."""
    said = []  # on how the BED was read
    path, elements, rows = open_elements(genome, settings, said)
    n_scored, n_twice, n_probe = how_many(settings, gpt.device.type)
    tested = spaced(rows[settings.split], n_scored)
    probed, folds, kind_of_folds = make_folds(elements, rows, tested, n_probe)
    if not folds and settings.only != "zero_shot":
        die(
            "the probe needs elements on three chromosomes, to train, select and test: "
            "--only=zero_shot does without it"
        )
    chosen = elements[tested]
    pairs, holes = make_pairs(genome, chosen)
    of_pairs = notes.about_pairs(chosen, holes, len(rows[settings.split]), settings.split, genome)
    of_pretraining = notes.about_pretraining(chosen, genome, checkpoint["data"])
    about = [
        notes.about_elements(path, elements),
        *said,
        of_pairs,
        of_pretraining,
        notes.about_genome(genome, checkpoint["data"]),
        notes.about_precision(gpt.precision),
    ]
    results = Results(settings, checkpoint["step"], about)
    results.title = f"{of_pairs.split(';')[0]}\n{of_pretraining}"

    markov = count_markov(genome, 1 if settings.only == "probe" else settings.markov_order)
    at_once = windows_at_once(settings, gpt.device.type)
    if settings.only != "probe":
        best = best_order(markov, genome, elements, rows, settings.split, tested, results.method)
        candidates = zero_shot_rows(gpt, markov, best)
        run_zero_shot(candidates, pairs, chosen.kind, n_twice, at_once, results)
    if settings.only != "zero_shot":
        pairs, _ = make_pairs(genome, elements[probed])
        probes = probe_rows(gpt, markov, settings)
        run_probes(probes, pairs, folds, kind_of_folds, gpt, settings, results)
    results.print_table()


def how_many(settings, kind):
    """(pairs to score, pairs to score on the other strand too, pairs for the probe to train on) on
    a kind of device: cuda, cpu or mps.
    """
    some = SOME_ON_GPU if kind == "cuda" else SOME_ON_CPU
    if settings.full:
        some = ALL
    scored = settings.max_pairs
    if not scored:
        scored = ALL if kind == "cuda" else some
    return scored, max(some, settings.max_pairs), settings.probe_pairs or some


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


def run_probes(probes, pairs, folds, kind_of_folds, gpt, settings, results):
    """Train and test each probe on the (M, 2, WINDOW) pairs, by their folds, as make_folds gives
    them.
    """
    epochs = settings.probe_epochs
    batch = settings.probe_batch or min(2048, max(16, len(folds[0][0]) // 32))
    if settings.full:
        epochs = 150
        batch = 2048
    results.method.append(notes.about_probe(kind_of_folds, folds, epochs, batch, settings.full))
    n_layer = gpt.model.config.n_layer
    results.method += notes.about_states(settings.layer, n_layer, settings.pool)
    print(notes.probe_cost(folds, len(pairs), epochs), flush=True)
    at_once = windows_at_once(settings, gpt.device.type)
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
            shuffle=not settings.full,
            memory=settings.probe_memory,
            chunk=(at_once + 1) // 2,
            seed=settings.seed,
            name=probe.name,
            device=gpt.device,
        )
        tested = ~np.isnan(margins).any(1)
        result = probe_metrics(margins[tested], probe.tie)
        results.record(probe.name, "probe", result, time.perf_counter() - began)
