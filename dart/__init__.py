"""The parts of eval_dart.py, DART-Eval's Task 1, in the order in which it uses them.

elements, shuffle, pairs: the regulatory elements, and each with its control
zero_shot: is the window likelier than its control?
folds, networks, probe: can a small network tell them apart by the model's states?
notes, table: what is said of the result
"""
