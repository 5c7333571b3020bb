# The toy genome's demo (make demo): 0.8M parameters in matrices, 384 bases of context, 3.8 million
# bases, 1.3 passes.
# About five minutes on two cores with AVX512-BF16 (measured), nine in float32 (estimate).
# 1.71 bits per base; the best Markov order has 1.86 (experiments/README.md).
out_dir = "out-demo"
dataset = "toy"
block_size = 384  # holds DART-Eval's windows of 350
n_layer = 4
n_head = 2
n_embd = 128
batch_tokens = 2**12  # small steps: a small budget needs many of them
batch_size = 11  # a step in one piece
max_iters = 900
eval_interval = 100
eval_tokens = 400000  # all of the toy's validation chromosome
