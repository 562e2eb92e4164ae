"""Foreign text in Markdown."""

import pytest

from ckptfmt.format.markdown import code_span


@pytest.mark.parametrize(
    "text", ["https://evil.example/x www.evil.example", "a@evil.example @torvalds", "&lt;b&gt; *b* #1"]
)
def test_text_of_any_kind_is_one_span_that_holds_it_as_it_is(text):
    assert code_span(text, 120) == f"`{text}`"


def test_nothing_leaves_the_span_or_the_cell():
    assert code_span("a`b|c\n`` d", 120) == "`a\\x60b\\x7cc\\x0a\\x60\\x60 d`"


def test_of_nothing_there_is_no_span():
    assert code_span(" ", 120) == ""
