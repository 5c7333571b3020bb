"""Put on PYTHONPATH, this sends a training run the signal CUT_SIGNAL, 9 if unset, as it is about to
rename a file to CUT_NAME for the CUT_COUNT-th time.
"""

import os
import sys

name, left = os.environ["CUT_NAME"], int(os.environ.get("CUT_COUNT", "1"))


def watch(event, args):
    global left
    if event == "os.rename" and str(args[1]).endswith(name):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), int(os.environ.get("CUT_SIGNAL", "9")))


sys.addaudithook(watch)
