import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from thermograd.cli import main
from thermograd.store.errors import MissingExtraError, NotThereError, PlaceError
from thermograd.store.places.bucket import credentials_for
from thermograd.store.places.place import Place, fault_of, is_url, place_of, without_credentials

SECRETS = [
    "s3://AKIAKEY:topsecret@bucket/runs",
    "s3://AKIAKEY:top/secret@bucket/runs",
    "s3://topsecret@bucket",
    "s3://bucket/runs?X-Amz-Signature=topsecret",
    "az://account/runs?sv=1&sig=topsecret",
    "gs://bucket/runs#topsecret",
    "foo://user:topsecret@host/runs",
    "https://host/runs?sig=topsecret",
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return place_of(tmp_path / "runs")


def test_what_is_put_is_got_listed_and_deleted(place: Place):
    assert place.put("a/run.json", b"{}")
    assert place.put("a/sealed/step/w-1.parquet", b"1234")
    assert place.put("b/run.json", b"{}")
    entries = {entry.name: entry for entry in place.list()}
    assert set(entries) == {"a/run.json", "a/sealed/step/w-1.parquet", "b/run.json"}
    assert entries["a/sealed/step/w-1.parquet"].size_bytes == 4
    assert [entry.name for entry in place.list("a/sealed")] == ["a/sealed/step/w-1.parquet"]
    assert [entry.name for entry in place.list(after="a/sealed/step/w-1.parquet")] == ["b/run.json"]
    assert place.folders() == ("a", "b")
    assert place.folders("a") == ("sealed",)
    assert place.get("a/run.json") == b"{}"
    place.delete("a/sealed/step/w-1.parquet")
    place.delete("a/sealed/step/w-1.parquet")
    assert place.folders("a") == ()


def test_the_etag_changes_with_the_content(place: Place):
    place.put("x", b"1")
    (before,) = place.list()
    place.put("x", b"2")
    (after,) = place.list()
    assert before.etag != after.etag


def test_a_name_that_is_not_there_is_told_from_a_place_that_fails(place: Place):
    assert list(place.list("none")) == []
    assert place.folders("none") == ()
    with pytest.raises(NotThereError):
        place.get("none")


def test_of_several_who_create_one_wins(place: Place):
    won = []

    def create(number: int) -> None:
        if place.put("n/00000001.parquet", b"%d" % number, create_only=True):
            won.append(number)

    threads = [threading.Thread(target=create, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert place.get("n/00000001.parquet") == b"%d" % won[0]
    assert [entry.name for entry in place.list()] == ["n/00000001.parquet"]


@pytest.mark.parametrize("name", ["../x", "/x", "a//b", "", ".", "a/..", "a\\b", "a\0"])
def test_a_name_leads_nowhere_else(place: Place, name: str):
    with pytest.raises(ValueError, match="no name of a file"):
        place.put(name, b"")


@pytest.mark.parametrize("url", SECRETS)
def test_credentials_in_an_address_are_refused_and_never_told(url: str):
    with pytest.raises(PlaceError) as refused:
        place_of(url)
    assert "secret" not in str(refused.value)
    assert "AKIAKEY" not in str(refused.value)
    assert "secret" not in without_credentials(url)


def test_a_path_made_of_an_address_is_known_again(tmp_path: Path):
    assert is_url(Path("s3://bucket/runs"))
    assert not any(map(is_url, ("runs", "C:/runs", "C:\\runs", "/s3:/x", "")))
    assert place_of(tmp_path.as_uri()).url == str(tmp_path)
    assert place_of(Path(tmp_path.as_uri())).url == str(tmp_path)


@pytest.mark.parametrize("url", ["ftp://host/runs", "http://host/runs", "s3://", "file://host/share"])
def test_an_address_that_is_no_place_is_told_with_what_is_allowed(url: str):
    with pytest.raises(PlaceError, match="allowed|write"):
        place_of(url)


def test_a_missing_extra_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'thermograd\[cloud\]'"):
        place_of("s3://bucket/runs")


NO_PLACES = [
    "",
    " ",
    "s3:///runs",
    "s3://my bucket/x",
    "s3://team/../esc",
    "s3://team/%2e%2e/esc",
    "s3://team/./x",
    "s3://team//x",
    "s3://team/a\nb",
    "s3://team/a\\..\\b",
    "s3://team:80/x",
    "s3://[x/y",
    "s3://bücket/x",
    "s3:team/x",
    "S3:team/x",
    "gs:",
    "file:x",
    "http://x/y",
]


@pytest.mark.parametrize("text", NO_PLACES)
def test_what_names_no_place_is_one_sentence_and_makes_no_folder(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("THERMOGRAD_CACHE", str(tmp_path / "cache"))
    with pytest.raises(PlaceError):
        place_of(text)
    for words in (("runs",), ("simulate", "--minutes", "1")):
        result = CliRunner().invoke(main, ["--runs", text, *words])
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert "allowed" in result.stderr or "write" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ["./s3:x", "C:/runs", "a b", "runs"])
def test_a_folder_of_any_other_name_is_one(text):
    assert place_of(text).url == str(Path(text))


def test_a_bucket_of_any_usual_name_is_one():
    for url in ("s3://my.team-1_x/a b/ä", "gs://b_1/x/", "az://$web/x", "s3:/bucket/runs"):
        assert fault_of(url) is None


@pytest.mark.parametrize(("scheme", "named"), [("gs", "GOOGLE_"), ("az", "AZURE_")])
def test_missing_credentials_are_those_of_the_scheme(scheme, named):
    assert (named in credentials_for(scheme), "AWS_" in credentials_for(scheme)) == (True, False)
