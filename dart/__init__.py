"""The parts of eval_dart.py, DART-Eval Task 1, in the order in which it uses them: elements (which
regulatory elements), shuffle and pairs (each with its control), zero_shot, folds, networks and
probe (the two ways to judge a model), notes and table (what is said of the result).
"""
