"""Parameters that nobody should send: each gets a code and a sentence, never a 500 and never a file of the machine."""

import itertools

import pytest

ROUTES = (
    *("diagnosis", "boundaries", "timeline", "lens", "overlay", "fold", "batches", "batch", "layers", "scalars", "scalar"),
    *("compare", "report"),
)
GOOD = {"lens": {"boundary": "0"}, "batch": {"batch": "0"}, "scalar": {"tag": "Loss/val"}}
BAD_NUMBERS = [
    *["abc", "-1", "1.5", "1e3", "NaN", "inf", "-inf", "0x10", "١٢", "1;2", "null", "[1]", "+3", "1_0"],
    "",
    " ",
    "1\x00",
    "9" * 40,
]
HTML = "<script>alert(1)</script>"


def sentence(answer):
    """The text of an error, which must be plain and short."""
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert 10 < len(answer.text) < 500
    assert "Traceback" not in answer.text
    return answer.text


@pytest.mark.parametrize("route", ROUTES)
def test_a_missing_or_empty_run_is_named(server, route):
    for params in ({}, {"run": ""}):
        answer = server.ask(route, **GOOD.get(route, {}), **params)
        assert answer.code == 400
        assert "run" in sentence(answer)


NOBODY = ["nope", "../../etc/passwd", "/etc/passwd", HTML + "?", "a" * 5000, "\x00", "big/", "BIG", "ü\u202e", "'; --"]


@pytest.mark.parametrize("name", NOBODY)
def test_an_unknown_run_is_not_found(server, name):
    for route in ROUTES:
        answer = server.ask(route, **GOOD.get(route, {}), run=name)
        assert answer.code == 404, route
        sentence(answer)


@pytest.mark.parametrize(
    ("route", "params"),
    [
        ("lens", {}),
        ("lens", {"boundary": "x"}),
        ("lens", {"boundary": "0", "m": "0"}),
        ("scalar", {}),
        ("timeline", {"from": "x"}),
        ("timeline", {"points": "9"}),
        ("overlay", {"points": "1"}),
        ("fold", {"rows": "1"}),
        ("batch", {"batch": "x"}),
        ("layers", {"signal": "x"}),
    ],
)
def test_an_unknown_run_is_named_before_any_other_parameter(server, route, params):
    answer = server.ask(route, run="nope", **params)
    assert answer.code == 404
    assert "'nope'" in sentence(answer)
    answer = server.ask(route, run="big", **params)
    assert answer.code == 400
    assert "nope" not in sentence(answer)


@pytest.mark.parametrize(
    ("route", "name", "value"),
    [
        *itertools.product(["timeline"], ["from", "to", "points"], BAD_NUMBERS),
        *itertools.product(["lens"], ["boundary", "m"], BAD_NUMBERS),
        *itertools.product(["overlay"], ["points"], BAD_NUMBERS),
        *itertools.product(["timeline"], ["points"], ["0", "1", "9", "1301", "1000000000"]),
        *itertools.product(["lens"], ["m"], ["0", "4", "201"]),
        *itertools.product(["overlay"], ["points"], ["0", "1", "101"]),
        *itertools.product(["batch"], ["batch"], BAD_NUMBERS),
        *itertools.product(["layers"], ["columns", "from", "to"], BAD_NUMBERS),
        *itertools.product(["layers"], ["signal"], ["", "loss", "../x", "é"]),
        *itertools.product(["fold"], ["rows", "positions"], [*BAD_NUMBERS, "1", "161"]),
    ],
)
def test_a_number_that_makes_no_sense_is_refused(server, route, name, value):
    answer = server.ask(route, **{"run": "big", **GOOD.get(route, {}), name: value})
    assert answer.code == 400
    assert name in sentence(answer)


def test_ranges_outside_the_run(server):
    assert server.ask("timeline", **{"run": "big", "from": 23_460}).code == 400
    assert server.ask("timeline", **{"run": "big", "from": 10, "to": 10}).code == 400
    assert server.ask("timeline", **{"run": "big", "from": 10, "to": 5}).code == 400
    assert server.data("timeline", **{"run": "big", "from": 23_459, "to": 10**14})["to"] == 23_460


@pytest.mark.parametrize("boundary", ["29", "999999", "99999999999999"])
def test_a_boundary_that_does_not_exist(server, boundary):
    answer = server.ask("lens", run="big", boundary=boundary)
    assert answer.code == 404
    assert "29 boundaries" in sentence(answer)


@pytest.mark.parametrize("tag", [None, "", "nope", HTML, "../x", "Loss/train\x00"])
def test_a_tag_that_does_not_exist(server, tag):
    answer = server.ask("scalar", run="big", **({} if tag is None else {"tag": tag}))
    assert answer.code == (404 if tag else 400)
    sentence(answer)


def test_html_in_an_error_is_text_and_no_page(server):
    answer = server.ask("diagnosis", run=HTML + "?")
    assert answer.headers["Content-Type"].startswith("text/plain")
    assert HTML in sentence(answer)


@pytest.mark.parametrize("extra", ["run=big&run=nope", "run=big&unknown=1&unknown=2", "run=big&callback=alert", "run=%62ig"])
def test_repeated_and_unknown_parameters_are_harmless(server, extra):
    answer = server.get(f"data/plugin/losslens/boundaries?{extra}")
    assert answer.code == 200
    assert len(answer.json()["step"]) == 29


@pytest.mark.parametrize("query", ["run=%", "run=%ff%fe", "run=%00", "%3d%3d=", "&&&", "run"])
def test_broken_queries_are_no_server_error(server, query):
    assert server.get(f"data/plugin/losslens/diagnosis?{query}").code in (400, 404)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("route", ["runs", "diagnosis", "static/index.js"])
def test_only_get_is_answered(server, method, route):
    answer = server.ask(route, method=method, run="big")
    assert answer.code == 405
    assert "GET" in answer.headers["Allow"]


def test_head_has_headers_and_no_body(server):
    answer = server.ask("runs", method="HEAD")
    assert answer.code == 200
    assert answer.body == b""


SECRETS = [
    "..",
    "../",
    "../plugin.py",
    "../../cli.py",
    "../../../pyproject.toml",
    "....//plugin.py",
    "..%2fplugin.py",
    "..%2Fplugin.py",
    "%2e%2e/plugin.py",
    "%2e%2e%2fplugin.py",
    "..%252fplugin.py",
    "..%5cplugin.py",
    "..\\plugin.py",
    "/etc/passwd",
    "//etc/passwd",
    "%2fetc%2fpasswd",
    "./../plugin.py",
    "index.js/../../plugin.py",
    "index.js%00.py",
    "index.js/",
    ".built-from",
    "http_api.md",
    "%c0%ae%c0%ae/plugin.py",
    "..;/plugin.py",
    "file:///etc/passwd",
    "con",
    "index.js%20",
    "INDEX.JS",
    "..%c0%afplugin.py",
]


@pytest.mark.parametrize("name", ["", *SECRETS])
def test_nothing_outside_static_is_served(server, name):
    answer = server.get(f"data/plugin/losslens/static/{name}")
    assert answer.code == 404
    assert b"import" not in answer.body
    assert b"root:" not in answer.body


def test_nothing_above_went_wrong_inside(server):
    """Runs last in this file: every bad request was answered on purpose, none by a handler that fell over."""
    assert "Traceback" not in server.log.read_text()
