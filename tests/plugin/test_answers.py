import gzip

from tb_losslens.plugin.answers import Answers


def made(answers, key, text):
    calls = []

    def make():
        calls.append(key)
        return text

    assert gzip.decompress(answers.get(key, make)).decode() == text
    return bool(calls)


def test_an_answer_is_made_once():
    answers = Answers()
    assert made(answers, ("timeline", 1), '{"a":"ü"}')
    assert not made(answers, ("timeline", 1), '{"a":"ü"}')
    assert made(answers, ("timeline", 2), '{"a":2}')


def test_what_was_not_asked_for_longest_is_dropped():
    size = len(gzip.compress(b"0" * 40, 6, mtime=0))
    answers = Answers(most=2 * size)
    for key in "ab":
        assert made(answers, key, "0" * 40)
    assert not made(answers, "a", "0" * 40)
    assert made(answers, "c", "0" * 40)
    assert not made(answers, "a", "0" * 40)
    assert made(answers, "b", "0" * 40)


def test_one_answer_that_is_too_large_is_kept_until_the_next():
    answers = Answers(most=1)
    assert made(answers, "a", "x")
    assert not made(answers, "a", "x")
    assert made(answers, "b", "x")
    assert made(answers, "a", "x")
