# Real DNA on a CPU: 1.8M parameters in matrices, 512 bases of context, 8.2 million bases.
# Two CPU cores: see EXPERIMENTS.md for what was measured. Made for python prepare_hg38.py --chroms=chr19,chr21,chr22 --out=data/taste.
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
