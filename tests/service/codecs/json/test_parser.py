"""`service/codecs/json/parser.py`: limits of values and memory, checked before parsing."""

import json
import subprocess
import sys

import pytest

from service.codecs.json import parser
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
from service.codecs.json.parser import parsed_bytes
from service.memory import allocator

def memory():
    found = re.findall(r"Vm(?:HWM|RSS):\\s+([0-9]+)", open("/proc/self/status").read())
    return [int(kilobytes) * 1024 for kilobytes in found]

allocator.limit_retained_memory()
texts = [("[" + ",".join([item] * 100_000) + "]").encode() for item in json.loads(sys.argv[1])]
texts.append(("{" + ",".join(f'"{at:07d}":1.5' for at in range(100_000)) + "}").encode())
texts.append(('"' + "a" * 5_000_000 + chr(0x1F600) + '"').encode())
ratios = []
for text in texts:
    open("/proc/self/clear_refs", "w").write("5")
    before = memory()[1]
    document = orjson.loads(text)
    ratios.append((memory()[0] - before) / parsed_bytes(text))
    del document
print(json.dumps(ratios))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="it needs /proc")
def test_parsing_needs_at_most_the_estimated_memory() -> None:
    """
    100,000 values of each kind, in a separate process whose peak memory is read.
    """
    command = [sys.executable, "-c", _SCRIPT, json.dumps(ITEMS)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)

    ratios = json.loads(done.stdout)
    assert max(ratios) <= 1.05, [*zip([*ITEMS, "members", "text"], ratios, strict=True)]
    assert max(ratios) > 0.5  # otherwise nothing was measured


def test_short_documents_are_not_limited() -> None:
    parser.check_memory(b'[{"":0}' + b',{"":0}' * 8000 + b"]")


def test_long_documents_with_many_values_are_refused_before_parsing() -> None:
    text = b'{"a":[{"":0}' + b',{"":0}' * 50_000 + b"]}"

    with pytest.raises(PayloadTooLarge, match=r"Body should be at most 4,194,304 bytes when it is parsed"):
        parser.parse(text, 10**9)


def test_truncated_long_documents_are_malformed() -> None:
    with pytest.raises(MalformedRequest, match="one without its end"):
        parser.parse(b'{"a":[{"":0}' + b',{"":0' * 50_000, 10**9)


def test_one_image_of_any_size_is_parsed() -> None:
    """
    Up to 32 MiB.
    """
    side = 224
    text = json.dumps({"image": [[[1.5, 2.5, 3.5]] * side] * side}, separators=(",", ":")).encode()

    assert parser.parsed_bytes(text) > costs.max_parsed_bytes(len(text))
    parser.parse(text, 10**9, (side, side, 3))
