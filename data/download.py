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

SECONDS_BETWEEN = 0.2 if sys.stderr.isatty() else 10  # looks of a bar; a log file wants few
BAR = partial(tqdm, unit="B", unit_scale=True, delay=1, mininterval=SECONDS_BETWEEN)


def md5_of(path):
    """The md5 of a file, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def size_of(path):
    """Bytes in a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def download(url, path, md5=None, delay=1.0, tries=5, hint="check the address"):
    """Fetch url to path, whole and with that md5, or not at all. What has come so far is path.part,
    from which the next call goes on.

    What may pass (no connection, a dropped one, HTTP 5xx, 408, 429) is tried again after delay,
    2 delay, 4 delay, ... seconds. Dies after `tries` attempts in a row that brought nothing, on any
    other HTTP error (saying hint), and on a wrong md5. A file that is there already is not fetched
    again, but must have that md5.
    """
    path = Path(path)
    part = Path(f"{path}.part")
    if path.exists():
        if md5 is not None and md5_of(path) != md5:
            die(f"{path} is not {url} (another md5): remove it, or give it as --fasta")
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    failures = 0
    while True:
        before = size_of(part)
        try:
            fetch_rest(url, part, hint)
            break
        except ConnectionError as error:
            reason = str(error)
        except (requests.RequestException, HTTPError, TimeoutError) as error:
            reason = f"connection failed ({type(error).__name__})"
        if size_of(part) > before:
            failures = 0  # this attempt brought something
        failures += 1
        if failures >= tries:
            resumes = ": it resumes" if part.exists() else ""
            die(f"{url}: {reason}: check the network and type the same again{resumes}")
        pause = min(60, delay * 2 ** (failures - 1))
        print(f"{path.name}: {reason}: trying again in {pause:.0f} s", flush=True)
        time.sleep(pause)
    if md5 is not None:
        found = md5_of(part)
        if found != md5:
            part.unlink()
            die(
                f"{url} came with md5 {found}, not {md5}: removed; "
                "type the same again to fetch it anew"
            )
    part.replace(path)


def fetch_rest(url, part, hint):
    """Append to the file `part` what is missing of url; one attempt.

    Raises ConnectionError, or an error of requests or urllib3, if it is worth another attempt. Dies
    on an HTTP error that will not pass.
    """
    # The last byte is asked for once more: so the server has something to send if all has come.
    have = max(size_of(part) - 1, 0)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(url, headers=headers, stream=True, timeout=(10, 60)) as reply:
        status = f"{reply.status_code} {reply.reason}"
        if reply.status_code == 416:
            part.unlink(missing_ok=True)  # longer than the file, so a part of another one
        elif 400 <= reply.status_code < 500 and reply.status_code not in (408, 429):
            die(f"{url}: {status}: {hint}")
        if reply.status_code not in (200, 206):
            raise ConnectionError(status)
        if not reply.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            have = 0  # the server sends the whole file
        size = None
        if "Content-Length" in reply.headers:
            size = have + int(reply.headers["Content-Length"])
        mode = "r+b" if have else "wb"
        with open(part, mode) as file, BAR(total=size, initial=have, desc=part.stem) as bar:
            file.seek(have)
            for block in reply.raw.stream(2**16, decode_content=False):
                file.write(block)
                bar.update(len(block))
    if size is not None and size_of(part) != size:
        raise ConnectionError(f"dropped at {size_of(part):,} of {size:,} bytes")
