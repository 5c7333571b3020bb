"""The parts of eval_dart.py: task1, task2 and task5 run a task of DART-Eval from its files to the
table, of these parts, in this order.

Task 1: elements, shuffle, pairs: the regulatory elements, and each with its control
        zero_shot: is the window likelier than its control?
        folds, networks, probe: can a small network tell them apart by the model's states?
Task 2: motifs, footprints: is a motif likelier than its letters in another order?
Task 5: variants: does the difference of the alleles' likelihoods follow their effect?
baselines: whom to judge beside the model
metrics: shares, areas and correlations, with their intervals
notes, table: what is said of the result
"""
