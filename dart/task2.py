"""Task 2, from the file of motifs to the table: motifs against their letters in another order."""

import time

import numpy as np

from config import die
from dart import notes
from dart.baselines import count_markov, likelihood_rows
from dart.elements import open_elements, spaced
from dart.footprints import (
    backgrounds_from,
    check_motifs,
    judge_motifs,
    read_backgrounds,
    shufflable,
    shuffle_letters,
    shuffle_pairs,
    summary,
)
from dart.motifs import read_motifs
from dart.table import Results, print_footprints
from dart.zero_shot import windows_at_once


def run(gpt, genome, checkpoint, settings):
    """Task 2. gpt: the model, a Candidate. settings: those of eval_dart.py, by name."""
    said = []
    shuffle = shuffle_pairs if settings.keep_pairs else shuffle_letters
    all_motifs = read_motifs(settings.motifs)
    found = shufflable(all_motifs, said, shuffle)
    if not found:
        of_what = "pairs of letters" if settings.keep_pairs else "letters"
        die(f"{settings.motifs} holds no motif with another order of its {of_what}: give others")
    n_motifs, n_backgrounds = how_many(settings, gpt.device.type, len(found))
    chosen = [found[i] for i in spaced(np.arange(len(found)), n_motifs)]
    check_motifs(chosen, shuffle)
    sequences = choose_backgrounds(genome, n_backgrounds, checkpoint, settings, said)
    about = [f"motifs: {settings.motifs}, {len(chosen):,} of {len(all_motifs):,}", *said]
    about.append(notes.about_precision(gpt.precision))
    if settings.keep_pairs:
        about.append("controls keep the motifs' pairs of neighbours (official: letters alone)")
    results = Results(settings, checkpoint["step"], about)
    at_once = windows_at_once(settings, gpt.device.type)
    for candidate in likelihood_rows(gpt, count_markov(genome, settings.markov_order)):
        began = time.perf_counter()
        judged = judge_motifs(candidate, chosen, sequences, at_once, shuffle=shuffle)
        result = dict(summary(judged), by_motif=judged)
        results.record(candidate.name, "footprints", result, time.perf_counter() - began)
    print_footprints(results)


def how_many(settings, kind, available):
    """(motifs, backgrounds for each) on a kind of device: cuda, cpu or mps."""
    if kind == "cuda" or settings.full:
        return settings.max_motifs or available, settings.max_backgrounds or 100
    return settings.max_motifs or 100, settings.max_backgrounds or 10


def choose_backgrounds(genome, n, checkpoint, settings, said):
    """(n or fewer, WINDOW) uint8 bases: of a file, or controls of Task 1. said: a list that gets
    lines on them.
    """
    if settings.backgrounds:
        sequences = read_backgrounds(settings.backgrounds)[:n]
        said.append(f"backgrounds: {len(sequences)} of {settings.backgrounds}")
        return sequences
    path, elements, rows = open_elements(genome, settings, said)
    chosen = elements[spaced(rows[settings.split], n)]
    sequences = backgrounds_from(genome, chosen, len(chosen))
    said.append(f"backgrounds: {len(sequences)} shuffled controls of {path}")
    said.append(notes.about_pretraining(chosen, genome, checkpoint["data"]))
    return sequences
