"""`service/codecs/json/memory.py`: what parsing takes is known before it is done."""

import json
import subprocess
import sys

import pytest

from service.codecs.json import documents, memory
from service.core.errors import MalformedRequest, PayloadTooLarge
from service.memory import costs
from tests.conftest import REPOSITORY

ITEMS = [
    *("0", "1.5", "1000", "-1e300", "9223372036854775809", "null", "1,1.5"),
    *("[]", "[0]", "[0,0]", "[[]]", "[{}]"),
    *("{}", '{"":0}', '{"a":{}}', '{"a":0,"b":0}', '{"a":[1.5]}', '{"a":{"a":{"a":0}}}'),
    *('""', '"ab"', '"é"', '"\U0001f600"', '["a","b","cdefghijk"]'),
]

_SCRIPT = """
import json, re, sys
import orjson
from service.codecs.json.memory import parsed_bytes
from service.memory import allocator

def memory():
    found = re.findall(r"Vm(?:HWM|RSS):\\s+([0-9]+)", open("/proc/self/status").read())
    return [int(kilobytes) * 1024 for kilobytes in found]

allocator.bound()
texts = [("[" + ",".join([item] * 100_000) + "]").encode() for item in json.loads(sys.argv[1])]
texts.append(("{" + ",".join(f'"{at:07d}":1.5' for at in range(100_000)) + "}").encode())
texts.append(('"' + "a" * 5_000_000 + chr(0x1F600) + '"').encode())
shares = []
for text in texts:
    open("/proc/self/clear_refs", "w").write("5")
    before = memory()[1]
    document = orjson.loads(text)
    shares.append((memory()[0] - before) / parsed_bytes(text))
    del document
print(json.dumps(shares))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it needs /proc")
def test_parsing_takes_at_most_what_was_told() -> None:
    """
    100,000 of every kind of value, in a process whose peak is read.
    """
    command = [sys.executable, "-c", _SCRIPT, json.dumps(ITEMS)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    shares = json.loads(done.stdout)
    assert max(shares) <= 1.05, [*zip([*ITEMS, "members", "text"], shares, strict=True)]
    assert max(shares) > 0.5  # or nothing was measured


def test_short_documents_may_hold_anything() -> None:
    """
    They are small whatever they become.
    """
    memory.check(b'[{"":0}' + b',{"":0}' * 8000 + b"]")


def test_long_documents_of_many_values_are_refused() -> None:
    """
    With both numbers, before they are parsed.
    """
    text = b'{"a":[{"":0}' + b',{"":0}' * 50_000 + b"]}"

    with pytest.raises(PayloadTooLarge, match=r"Body should be at most 4,194,304 bytes when it is parsed"):
        documents.load(text, 10**9)


def test_a_long_document_that_was_cut_off_is_malformed() -> None:
    """
    Not too large: it is not whole.
    """
    with pytest.raises(MalformedRequest, match="one without its end"):
        documents.load(b'{"a":[{"":0}' + b',{"":0' * 50_000, 10**9)


def test_one_image_of_the_model_may_be_parsed() -> None:
    """
    However many numbers it has, up to 32 MiB.
    """
    side = 224
    text = json.dumps({"image": [[[1.5, 2.5, 3.5]] * side] * side}, separators=(",", ":")).encode()

    assert memory.parsed_bytes(text) > costs.most_parsed_bytes(len(text))
    documents.load(text, 10**9, (side, side, 3))
