"""Task 5, from the TSV to the table: variants' effects against the difference of their alleles'
likelihoods.
"""

import time

import numpy as np

from config import die
from dart import notes
from dart.baselines import count_markov, likelihood_rows
from dart.elements import WINDOW, spaced
from dart.table import Results, print_variants
from dart.variants import WINDOW as OFFICIAL_WINDOW
from dart.variants import check_reference, judge_variants, make_windows, read_variants
from dart.zero_shot import windows_at_once

SOME_ON_CPU = 1_000  # controls


def run(gpt, genome, checkpoint, settings):
    """Task 5. gpt: the model, a Candidate. settings: those of eval_dart.py, by name."""
    said = []
    found, kind = read_variants(settings.variants, said)
    found, more = check_reference(genome, found, settings.variants)
    said += more
    if not found.significant.any():
        die(f"{settings.variants} has no significant variant (by its label): give DART-Eval's TSV")
    chosen = found[choose_controls(found, settings, gpt.device.type)]
    n_significant = int(chosen.significant.sum())
    windows, holes = make_windows(genome, chosen)
    context = gpt.model.config.block_size
    before = OFFICIAL_WINDOW // 2  # bases before the allele
    about = [
        f"variants: {settings.variants} ({kind.name}), {n_significant:,} significant ones, "
        f"{len(chosen) - n_significant:,} of {len(found) - n_significant:,} controls",
        *said,
        f"{holes:,} windows hold N or hang over an end, read as A",
        f"alleles are given up to {min(context - 1, before):,} bases before them "
        f"(official: {before:,})",
        notes.about_names(chosen.chrom, checkpoint["data"]),
        notes.about_precision(gpt.precision),
    ]
    results = Results(settings, checkpoint["step"], about)
    at_once = windows_at_once(settings, gpt.device.type)

    def judge_by(name, candidate, read, whole=False):
        began = time.perf_counter()
        result = judge_variants(candidate, windows, chosen, at_once, read, whole)
        results.record(name, "variants", result, time.perf_counter() - began)

    for candidate in likelihood_rows(gpt, count_markov(genome, settings.markov_order)):
        judge_by(candidate.name, candidate, context)
    judge_by(f"this model, all of {WINDOW} bases", gpt, WINDOW, whole=True)
    print_variants(results, kind)


def choose_controls(found, settings, kind):
    """(n,) numbers of the variants to score: all significant ones, and on a CPU, or where
    max_pairs says so, some of the controls. kind: of device.
    """
    controls = np.flatnonzero(~found.significant)
    if settings.max_pairs or (kind != "cuda" and not settings.full):
        controls = spaced(controls, settings.max_pairs or SOME_ON_CPU)
    return np.union1d(np.flatnonzero(found.significant), controls)
