# Real DNA on a CPU: 1.8M parameters in matrices, 512 bases of context, 8.2 million bases.
# Two CPU cores: a quarter of an hour (from the measured rate), 2.7 GB (measured); on pieces of hg38 it ended at 1.79 bits per base (measured, EXPERIMENTS.md).
out_dir = "out-laptop"
dataset = "taste"
block_size = 512
n_layer = 4
n_head = 3
n_embd = 192
batch_tokens = 2**13    # small steps: a small budget needs many of them
batch_size = 16
max_iters = 1000
eval_interval = 200
eval_tokens = 2**20
