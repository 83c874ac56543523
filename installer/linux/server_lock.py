"""Prints the part of requirements.lock that `serve` needs: everything but the desktop and the developer's tools.

Usage: python server_lock.py requirements.lock [--receiver] > server.lock

Qt alone is 400 MB that a server has no use for. A test compares this list with what the packages themselves require.
With --receiver, what a receiver needs for PostgreSQL comes along.
"""

import re
import sys

PACKAGES = """
aiohappyeyeballs aiohttp aiosignal apsw attrs certifi cffi charset-normalizer cryptography docker frozenlist
httptools idna jaraco-classes jaraco-context jaraco-functools jeepney keyring markdown-it-py mdurl
more-itertools multidict nvidia-ml-py platformdirs propcache psutil pycparser pygments python-dotenv
requests rich secretstorage tomli-w urllib3 uvloop yarl
""".split()
RECEIVER = "psycopg psycopg-binary".split()


def server_part(lock: str, packages: list[str] = PACKAGES) -> str:
    """The entries of `lock` for `packages`, hashes included. Raises SystemExit where one of them is not there."""
    entries = {}
    for entry in re.split(r"(?m)^(?=[A-Za-z0-9])", lock):
        name = re.match(r"([A-Za-z0-9._-]+)==", entry)
        if name:
            entries.setdefault(name.group(1).lower(), []).append(entry.rstrip())
    missing = [name for name in packages if name not in entries]
    if missing:
        raise SystemExit(f"The lock file has no {', '.join(missing)}.")
    return "\n".join(entry for name in packages for entry in entries[name]) + "\n"


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as file:
        more = RECEIVER if "--receiver" in sys.argv[2:] else []
        sys.stdout.write(server_part(file.read(), PACKAGES + more))
