"""A download that resumes, retries, and is whole and right or not there at all."""
import hashlib
import sys
import time
from functools import partial
from pathlib import Path

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError

from config import die

BAR = partial(tqdm, unit="B", unit_scale=True, delay=1, mininterval=0.2 if sys.stderr.isatty() else 10)


def md5_of(path):
    md5 = hashlib.md5()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            md5.update(block)
    return md5.hexdigest()


def download(url, path, md5=None, delay=1.0, tries=5, hint="check the address"):
    """Fetch url to path, whole and with that md5, or not at all; what has come is path.part, which the next call resumes.

    What may pass (no connection, a dropped one, HTTP 5xx, 408, 429) is tried again after delay, 2 delay, 4 delay... seconds,
    until `tries` attempts in a row brought nothing. Dies then, on any other HTTP error, and on a wrong md5. A file that is
    there already is not fetched again, but must have that md5.
    """
    path, part, failures = Path(path), Path(f"{path}.part"), 0
    if path.exists():
        return md5 in (None, md5_of(path)) or die(f"{path} is not {url} (another md5): remove it, or give it as --fasta")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        before = part.stat().st_size if part.exists() else 0
        have = max(before - 1, 0)  # the last byte once more: for a part that is whole the server has an answer then
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        try:
            with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as reply:
                if reply.status_code == 416:
                    part.unlink(missing_ok=True)  # longer than the file: of another one
                elif 400 <= reply.status_code < 500 and reply.status_code not in (408, 429):
                    die(f"{url}: {reply.status_code} {reply.reason}: {hint}")
                if reply.status_code not in (200, 206):
                    raise ConnectionError(f"{reply.status_code} {reply.reason}")
                if not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
                    have = 0  # Range was ignored: from the start
                size = have + int(reply.headers["Content-Length"]) if "Content-Length" in reply.headers else None
                with open(part, "r+b" if have else "wb") as file, BAR(total=size, initial=have, desc=path.name) as bar:
                    file.seek(have)
                    for block in reply.raw.stream(1 << 16, decode_content=False):
                        file.write(block)
                        bar.update(len(block))
            if size in (None, part.stat().st_size):
                break
            raise ConnectionError(f"dropped at {part.stat().st_size:,} of {size:,} bytes")
        except (requests.RequestException, HTTPError, ConnectionError, TimeoutError) as error:
            reason = str(error) if isinstance(error, ConnectionError) else f"connection failed ({type(error).__name__})"
            failures = 1 if part.exists() and part.stat().st_size > before else failures + 1
            if failures >= tries:
                die(f"{url}: {reason}: check the network and type the same again" + ": it resumes" * part.exists())
            pause = min(60, delay * 2 ** (failures - 1))
            print(f"{path.name}: {reason}: trying again in {pause:.0f} s", flush=True)
            time.sleep(pause)
    if md5 not in (None, found := md5_of(part)):
        part.unlink()
        die(f"{url} came with md5 {found}, not {md5}: removed; type the same again to fetch it anew")
    part.replace(path)
