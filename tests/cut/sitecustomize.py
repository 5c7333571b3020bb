"""Put on PYTHONPATH, this ends a training run at once, as a crash does, when its first ckpt.pt is written and its best.pt is not yet."""
import os
import sys


def watch(event, args):
    if event == "os.rename" and str(args[1]).endswith("best.pt"):
        os._exit(9)


sys.addaudithook(watch)
