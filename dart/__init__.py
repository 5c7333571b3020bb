"""The parts of eval_dart.py, tasks of DART-Eval, in the order in which it uses them.

Task 1: elements, shuffle, pairs: the regulatory elements, and each with its control
        zero_shot: is the window likelier than its control?
        folds, networks, probe: can a small network tell them apart by the model's states?
Task 2: motifs, footprints: is a motif likelier than its letters in another order?
Task 5: variants: does the difference of the alleles' likelihoods follow their effect?
metrics: shares, areas and correlations, with their intervals
notes, table: what is said of the result
"""
