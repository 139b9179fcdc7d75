#!/usr/bin/env python3
"""Puts the messages of tests/data/vectors into the corpora of the decoders: fuzz/seeds.py FOLDER."""
import hashlib
import pathlib
import sys

VECTORS = pathlib.Path(__file__).parent.parent / "tests/data/vectors"
LONGEST = 1000
# What comes before the bytes of an input: limits or callbacks, repairs, and how the input is cut.
PREFIXES = {
    "decode": [bytes.fromhex("ffffffff 000000 400702 01"), bytes.fromhex("ffff ffff 010101 ff0311 00")],
    "decoder_calls": [bytes.fromhex("01 1f 00 00 00 40070203 03"), bytes.fromhex("00 00 00 00 01 ff031120 03")],
}


def main(folder):
    files = [path for path in VECTORS.glob("**/*") if path.is_file() and path.suffix in ("", ".bin")]
    messages = {path.read_bytes() for path in files if "decoded" not in path.parts}
    for target, prefixes in PREFIXES.items():
        place = pathlib.Path(folder) / target
        place.mkdir(parents=True, exist_ok=True)
        for seed in (prefix + message for prefix in prefixes for message in messages if len(message) <= LONGEST):
            (place / hashlib.sha1(seed).hexdigest()).write_bytes(seed)


main(sys.argv[1])
