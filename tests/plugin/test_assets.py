import gzip
import os

import pytest

from tb_losslens.plugin.assets import find


@pytest.fixture
def static(tmp_path):
    directory = tmp_path / "static"
    (directory / "sub").mkdir(parents=True)
    (directory / "index.js").write_text("export function render() {}")
    (directory / "style.css").write_text("a{}")
    (directory / ".built-from").write_text("digest")
    (directory / ".hidden.js").write_text("hidden")
    (directory / "notes.py").write_text("secret = 1")
    (directory / "sub" / "deep.js").write_text("deep")
    (tmp_path / "secret.js").write_text("secret")
    (directory / "link.js").symlink_to(tmp_path / "secret.js")
    return directory


def test_built_files_are_found_with_their_type(static):
    asset = find("index.js", directory=static)
    assert gzip.decompress(asset.gzipped) == b"export function render() {}"
    assert asset.content_type == "text/javascript"
    assert find("style.css", directory=static).content_type == "text/css"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../secret.js", "sub/deep.js", "sub", "link.js", ".hidden.js", ".built-from", "notes.py", "INDEX.JS", "a/"],
)
def test_nothing_else_is(static, name):
    assert find(name, directory=static) is None


def test_a_page_built_again_is_served_without_a_restart(static):
    assert gzip.decompress(find("style.css", directory=static).gzipped) == b"a{}"
    (static / "style.css").write_text("b{}")
    os.utime(static / "style.css", ns=(1, 1))
    assert gzip.decompress(find("style.css", directory=static).gzipped) == b"b{}"


def test_without_a_built_page_nothing_is_found(tmp_path):
    assert find("index.js", directory=tmp_path / "none") is None
