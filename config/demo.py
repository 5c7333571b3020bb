# The toy genome's demo (make demo): 0.8M parameters in matrices, 384 bases of context, 2.5 million
# bases, 0.84 of a pass.
# About six minutes on two older cores in float32 (measured), less where bfloat16 is fast.
# 1.73 bits per base; the best Markov order has 1.86 (experiments/README.md).
out_dir = "out-demo"
dataset = "toy"
block_size = 384  # holds DART-Eval's windows of 350
n_layer = 4
n_head = 2
n_embd = 128
batch_tokens = 2**12  # small steps: a small budget needs many of them
batch_size = 11  # a step in one piece
max_iters = 600
eval_interval = 100
eval_tokens = 400000  # all of the toy's validation chromosome
