"""A ledger, verified by RFC 6962 and C2SP alone: outsider.py VKEY LEAVES CHECKPOINT_OR_PROOF..."""

import json
import sys
from base64 import b64decode
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def leaf_hash(leaf):
    return sha256(b"\x00" + leaf).digest()


def node(left, right):
    return sha256(b"\x01" + left + right).digest()


def tree(hashes):
    half = 1 << (len(hashes) - 1).bit_length() - 1 if len(hashes) > 1 else 0
    return node(tree(hashes[:half]), tree(hashes[half:])) if half else hashes[0]


def climb(leaf, index, size, path):
    if size == 1 or not path:
        return leaf if (index, size, path) == (0, 1, []) else b"no path of this length"
    half, step = 1 << (size - 1).bit_length() - 1, path.pop()
    if index < half:
        return node(climb(leaf, index, half, path), step)
    return node(step, climb(leaf, index - half, size - half, path))


def claim(note, vkey):
    (name, key_id, key), (text, _, signatures) = vkey.split("+", 2), note.rpartition("\n\n")
    for dash, signer, data in (line.split(" ") for line in signatures.splitlines()):
        if (dash, signer, b64decode(data)[:4].hex()) == ("—", name, key_id):
            public = Ed25519PublicKey.from_public_bytes(b64decode(key)[1:])
            public.verify(b64decode(data)[4:], (text + "\n").encode())
            return int(text.split("\n")[1]), b64decode(text.split("\n")[2])
    sys.exit("NOT PROVEN: this key has not signed")


leaves, total = Path(sys.argv[2]).read_bytes().split(b"\n")[:-1], 0
for seq, leaf in enumerate(leaves):
    record = json.loads(leaf)
    total += int(record["cost"])
    assert (record["seq"], record["cum"]) == (seq, str(total)), f"NOT PROVEN: record {seq} does not add up"
for text in (Path(name).read_bytes().decode() for name in sys.argv[3:]):
    proof = json.loads(text) if text.startswith("{") else None
    size, root = claim(proof["checkpoint"] if proof else text, sys.argv[1])
    assert 0 < size <= len(leaves), f"NOT PROVEN: {size} records were signed, and {len(leaves)} are here"
    assert tree([leaf_hash(leaf) for leaf in leaves[:size]]) == root, (
        "NOT PROVEN: these are not the signed leaves"
    )
    if proof:
        path = [b64decode(step) for step in proof["proof"]]
        assert climb(leaf_hash(proof["leaf"].encode()), proof["seq"], size, path) == root, (
            "NOT PROVEN: wrong path"
        )
        assert proof["leaf"].encode() == leaves[proof["seq"]], "NOT PROVEN: another record"
print(f"PROVEN: {len(leaves)} records, {total} pico-units in all")
