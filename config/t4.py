# For one T4 (16 GB, float16, no bfloat16): hg38_mini.py's model, a fifth of a pass of hg38's
# training chromosomes.
# About 1.6 hours, 2.4 GB (estimates). Loss: not measured.
# Out of memory? --batch_size=8: the result stays the same.
out_dir = "out-t4"
dataset = "hg38"
block_size = 1024
n_layer = 6
n_head = 3
n_embd = 384
batch_tokens = 2**18
batch_size = 16
max_iters = 1600
eval_interval = 100
