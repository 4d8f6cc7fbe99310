import json

import numpy as np
import pytest

from tb_losslens.strict_json import dumps


def test_no_nan_reaches_the_wire_however_deep():
    body = {"a": [1.0, float("nan"), {"b": (float("inf"), "NaN", None, True, 3)}]}
    assert json.loads(dumps(body)) == {"a": [1.0, None, {"b": [None, "NaN", None, True, 3]}]}


def test_html_and_unicode_come_back_unchanged():
    name = "</script><img src=x onerror=alert(1)> \u2028 \U0001f600 'q\"/\\"
    assert json.loads(dumps({"run": name}))["run"] == name


def test_numpy_scalars_are_numbers():
    body = {"a": np.int64(3), "b": [np.float32(0.5), np.float32("nan")], "c": np.bool_(True)}
    assert json.loads(dumps(body)) == {"a": 3, "b": [0.5, None], "c": True}
    with pytest.raises(TypeError, match="set"):
        dumps({"a": {1, 2}})
