def test_an_unmerged_file_is_a_document_too(ckpt):
    run = ckpt("git", "diff", "a", "--json")
    assert (run.code, run.document["result"]) == (0, {"action": "diff"})
