# Real DNA on a CPU: 1.8M parameters in matrices, 512 bases of context, 8.2 million bases.
# Its data: python prepare_hg38.py --chroms=chr19,chr21,chr22 --out=data/taste
# Two CPU cores with AMX: 5 minutes; older ones: 23 (an earlier model); 2 GB.
# 1.78 bits per base on pieces of hg38 (experiments/README.md).
out_dir = "out-laptop"
dataset = "taste"
block_size = 512
n_layer = 4
n_head = 1  # of 192: on a CPU attention then takes less time than in three heads of 64
n_embd = 192
batch_tokens = 2**13  # small steps: a small budget needs many of them
batch_size = 16
max_iters = 1000
eval_interval = 200
eval_tokens = 2**20
compile = True  # 1.3 to 1.8 times the speed in bfloat16; left out where no C++ compiler is
