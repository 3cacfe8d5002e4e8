"""The command of a run is kept without passwords, tokens and keys, and with everything else."""

import json
import shlex
import subprocess
import sys

import pytest
import thermograd
from thermograd.store.log.reader import read_kind
from thermograd.store.runs.catalogue import Run, build_run, list_runs
from thermograd.store.secrets import REDACTED, hidden_arguments, without_secrets

SECRET = "s3cr3tValue0123456789"
HIDDEN = [
    f"--api-key={SECRET}",
    f"--api_key {SECRET}",
    f"--apikey {SECRET}",
    f"--token {SECRET}",
    f"--token={SECRET}",
    f"-token {SECRET}",
    f"--hub-token {SECRET}",
    f"--hubToken {SECRET}",
    f"--use_auth_token {SECRET}",
    f"--db.password={SECRET}",
    f"+logger.wandb.api_key={SECRET}",
    f"WANDB_API_KEY={SECRET}",
    f"AWS_SECRET_ACCESS_KEY={SECRET}",
    f"--aws-session-token {SECRET}",
    f"--password '-{SECRET}'",
    f"--password 'two {SECRET}'",
    "--password 73519284",
    f"--api-keys {SECRET} also-{SECRET}",
    f"--header 'Authorization: Bearer {SECRET}'",
    f"-H 'X-Api-Key: {SECRET}'",
    f"-H x-api-key:{SECRET}",
    f'--config \'{{"lr": 1, "api_key": "{SECRET}"}}\'',
    f"--set lr=1,token={SECRET}",
    f"--env A=1 --env HF_TOKEN={SECRET}",
    f"sh -c 'train --lr 1 --token {SECRET}'",
    f"--data 'https://host/x?a=1&access_token={SECRET}&b=2'",
    f"--db postgres://me:{SECRET}@host/db",
    f"--db postgres://me:a@{SECRET}@host/db",
    f"redis://:{SECRET}@host:6379",
    f"--hub hf_{SECRET}",
    "hf_AbCdEfGhIjKlMnOpQrStUvWxYz",
    f"--x ghp_{SECRET}",
    f"--x github_pat_{SECRET}",
    f"--x glpat-{SECRET}",
    f"--x sk-proj-{SECRET}",
    "--x xoxb-123456789012-abc",
    "--id AKIAIOSFODNN7EXAMPLE",
    "--x AIzaSyD-9tSrke72PouQMnMX-a7eZSW0jkFMBWY",
    "--x eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2ln",
    f"git+https://{'ghp_' + SECRET}@github.com/a/b",
    f"--runs s3://key:{SECRET}@bucket/prefix",
    f"--runs s3://key:a/{SECRET}+x@bucket/prefix",
    f"--db postgres://me:p@ss/{SECRET}@host/db",
    f"--db postgres://me:p@{SECRET}/x@host.org:5432/db",
    f"--runs s3://bucket/x?aws_secret_access_key={SECRET}&region=eu",
    f"--runs 'az://box/x?sp=rw&se=2027&sig={SECRET}%3D'",
    f"https://bucket.s3.amazonaws.com/x?X-Amz-Signature={SECRET}&X-Amz-Expires=9",
    f"https://bucket.s3.amazonaws.com/x?X-Amz-Security-Token={SECRET}",
    f"https://storage.googleapis.com/x?X-Goog-Signature={SECRET}",
    f"--publish nats://{SECRET}@broker:4222",
    f"--publish nats://me:{SECRET}@broker:4222",
    f"--publish kafka://me:{SECRET}@broker:9092",
    f"sasl.password={SECRET}",
    f'sasl.jaas.config=\'Plain required username="me" password="{SECRET}"\'',
    f"https://{SECRET}@host/x",
    f"https://hooks.slack.com/services/T0/B0/{SECRET}",
    f"https://discord.com/api/webhooks/123/{SECRET}",
    f"https://api.telegram.org/bot12:{SECRET}/send",
    f"--alert slack://a/b/{SECRET}",
    f"https://x.azurewebsites.net/api/f?code={SECRET}",
    f"--webhook-url https://intern/{SECRET}",
    f"AZURE_STORAGE_ACCOUNT_KEY={SECRET}",
    f"AZURE_STORAGE_SAS_KEY={SECRET}",
    f"AZURE_STORAGE_CONNECTION_STRING='AccountName=a;AccountKey={SECRET};X=1'",
    f"'DefaultEndpointsProtocol=https;AccountKey={SECRET};X=1'",
    f"AWS_SESSION_TOKEN={SECRET}",
    f"AWS_ACCESS_KEY_ID={SECRET}",
    f"GOOGLE_SERVICE_ACCOUNT_KEY={SECRET}",
    f"-H 'Authorization: Basic {SECRET}=='",
    f"'-----BEGIN RSA PRIVATE KEY----- {SECRET} -----END RSA PRIVATE KEY-----'",
    f"--wandb.key {SECRET}",
    f"-p {SECRET}",
    f"curl -u me:{SECRET} http://x",
    f"'curl -u me:{SECRET} http://x'",
    f"--user=me:{SECRET}",
    f"s3://k:{SECRET}@h/x",
    f"'failed with: password={SECRET}'",
]
HIDDEN_IN_A_TEXT = [
    "password={}",
    "login failed: token: {}",
    "401 for Authorization: Bearer {}, sorry",
    "Proxy-Authorization: Basic {}",
    "ran with --api-key {} and lr=0.1",
    "token={}",
    "api_key = {}",
    "X-Api-Key:{}",
    "bad \"password\": '{}'",
    '{{"token": "{}"}}',
    "curl -u user:{} http://x",
    "s3://k:{}@h/x",
]
KEPT_IN_A_TEXT = [
    "eos_token=</s> token=</s> token=[PAD] token=<|end|> token=50256",
    "max_tokens=512 key=value num_tokens=5 monkey=3 passes: 3 tokenizer=LlamaTokenizerFast",
    "512.3 tokens per second, tokens/s: 5, loss per token: 0.53, time per token: 12ms",
    "unexpected token: STRING_LITERAL2, next token: Paris3, special token: <|im_start|>",
    "KeyError: 'token'; use --token to log in; the --password argument is required",
    "TypeError: f() got token=None, auth=False; secret: the attention",
    "python -u train.py; docker run -u 1000:1000 -u www-data:www-data -p 8080:80 x",
    "token_type_ids=tensor([1]) bos_token_id: 5 cache_key=abc123 state_dict: layer.0.key=torch.Size([3])",
]
KEPT = [
    "--tokens-per-step 512",
    "--max_token_len 64",
    "--max-token 512",
    "--max_tokens=512",
    "--tokenizer gpt2",
    "--tokenizer-name=gpt2",
    "--num_input_tokens 5",
    "--token-ids 1 2 3",
    "--pad_token '<pad>' --eos-token '</s>'",
    "--image-token '<image>'",
    "--use_auth_token true",
    "--token --lr 0.1",
    "--author jane --authors j,k",
    "--passes 3 --key abc --keyword x",
    "--secretary x",
    "--monkey see",
    "--data https://host:8080/a/b@c --out s3://bucket/token/x",
    "--url http://auth:8080/x",
    "--model hf_transformers_llama2 --run hf_run1 --sk-learn x",
    "--model meta-llama/Llama-2-7b-hf --name task-sk-small",
    "--seeds 1 2 --lr=1e-4 -m pkg.mod data.path=/a=b",
    "--password= --token ''",
    "--bearing 1 --compass north",
    "--runs s3://bucket/some/prefix --runs gs://bucket-2/x --runs az://box/runs",
    "--url http://[::1]:8080/x@y --url https://host/x?page=2&key=7",
    "git+ssh://git@github.com/a/b.git ssh://deploy@host/x",
    "nats://broker:4222 kafka://broker-1:9092,broker-2:9092/topic",
    "C:\\data\\token.txt",
    "-p 8080 -p /data/x -p gpu_a100 -p 8080:80 -u train.py -u 1000:1000",
    "--sort.key name --eos_token=</s>",
]


@pytest.mark.parametrize("command", HIDDEN)
def test_a_secret_of_the_command_line_is_hidden(command):
    words = shlex.split(command)
    hidden = hidden_arguments(words)
    assert len(hidden) == len(words)
    assert REDACTED in " ".join(hidden)
    for part in (SECRET, "73519284", "AbCdEf", "IOSFODNN7", "123456789012", "Srke72", "c2ln"):
        assert part not in " ".join(hidden)
    assert hidden_arguments(hidden) == hidden


@pytest.mark.parametrize("command", KEPT)
def test_what_is_no_secret_is_kept(command):
    assert hidden_arguments(shlex.split(command)) == shlex.split(command)


@pytest.mark.parametrize("text", HIDDEN_IN_A_TEXT)
def test_a_secret_inside_a_text_is_hidden(text):
    hidden = without_secrets(text.format("SECRETv23"))
    assert "SECRETv23" not in hidden
    assert REDACTED in hidden
    assert without_secrets(hidden) == hidden


@pytest.mark.parametrize("text", KEPT_IN_A_TEXT)
def test_what_a_text_says_of_tokens_is_kept(text):
    assert without_secrets(text) == text


def test_no_file_of_a_run_has_what_a_secret_of_the_environment_says(tmp_path, monkeypatch):
    values = {
        "AWS_SECRET_ACCESS_KEY": "aB3/wordOfTheBucket+9",
        "X_TOKEN": "shortOne",
        "Y_PASSWORD": "password",
    }
    values["GOOGLE_APPLICATION_CREDENTIALS"] = "/home/me/credentials.json"
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    long, short, *kept = values.values()
    monkeypatch.setattr(sys, "argv", ["train.py", long, *kept])
    config = {"note": f"of {long}", short: 1, "harmless": [short], "longer": f"{short}er"}
    with thermograd.start_run(f"a {long}", tmp_path, agent=False, config=config) as run:
        run.mark("note", text=f"it says {long}", detail={"a": short})
        run.mark("note", text="token=SECRETv23")
        run.tag(short, note=f"with {long}")
        run.log({"text": long, long: 1.0}, step=1)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    for secret in ("wordOfTheBucket", "SECRETv23"):
        assert not [path for path in files if secret.encode() in path.read_bytes() or secret in path.name]
    facts = Run(run.path).facts
    assert facts["argv"] == ["train.py", REDACTED, *kept]
    assert facts["config"]["harmless"] == [REDACTED]
    assert facts["config"]["longer"] == "shortOneer"  # another word
    assert facts["name"] == f"a {REDACTED}"


def test_the_name_of_a_run_is_kept_without_secrets_also_in_its_id(tmp_path):
    name = "s3://k:SECRETv23@h/x"
    with thermograd.start_run(name, tmp_path, agent=False) as run:
        run.step(loss=1.0)
    with build_run(tmp_path, name, {"token": "SECRETv23"}) as built:
        pass
    for made in (run, built):
        assert "SECRET" not in made.run_id
    assert not [path for path in tmp_path.rglob("run.json") if "SECRET" in path.read_text()]


def test_words_that_are_no_text_and_other_options_stay_as_they_are():
    words = ["train.py", 3, None, "--token", "abc", "--lr", "0.1", "--db", "x://me:pw@host/y"]
    assert hidden_arguments(words) == [
        *("train.py", 3, None, "--token", REDACTED, "--lr", "0.1", "--db", f"x://me:{REDACTED}@host/y"),
    ]


def test_a_very_long_word_is_read_in_the_time_that_its_length_takes():
    """Forms that could be tried at every character: quadratic, they would take hours."""
    for piece in (
        "a-",
        "a",
        "--a ",
        "sk-",
        "://a:b",
        "x://a",
        "?a=",
        "-----BEGIN ",
        "eyJaaaaaaaa",
        "eyJaaaaaaaa-",
        "://a",
        "hf_",
    ):
        word = piece * (60_000 // len(piece))
        assert hidden_arguments([word]) == [word]


def test_no_file_of_a_run_has_the_secret_of_its_command(tmp_path):
    script = tmp_path / "train.py"
    script.write_text(
        "import sys, thermograd\nbefore = list(sys.argv)\n"
        "run = thermograd.start_run(agent=False)\nrun.step(loss=1.0)\n"
        "assert sys.argv == before\nraise ValueError('no access to x://me:' + sys.argv[2] + '@host')\n"
    )
    command = [sys.executable, str(script), "--token", SECRET, f"--api-key={SECRET}", "--tokenizer", "gpt2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    (run,) = list_runs(tmp_path / "runs")
    assert run.facts["argv"][1:] == ["--token", REDACTED, f"--api-key={REDACTED}", "--tokenizer", "gpt2"]
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert files
    assert not [path for path in files if SECRET.encode() in path.read_bytes()]
    assert f"me:{REDACTED}@host" in json.dumps(read_kind(run.path, "mark").to_pylist(), default=str)


def test_a_token_among_the_values_of_a_config_is_hidden_by_its_form(tmp_path, caplog):
    config = {"notes": f"with hf_{SECRET}", "tokenizer": "gpt2"}
    with thermograd.start_run("r", tmp_path, agent=False, config=config) as run:
        run.step(loss=1.0)
    assert Run(run.path).facts["config"] == {"notes": f"with {REDACTED}", "tokenizer": "gpt2"}
    assert "what looks like a secret is not recorded: the password or token in notes" in caplog.text


def test_what_comes_after_the_host_of_an_address_is_kept():
    text = "git+https://me:hidden@github.com/a/b.git@v1.2 and https://me:hidden@host:8080/x@y"
    kept = "git+https://me:<redacted>@github.com/a/b.git@v1.2 and https://me:<redacted>@host:8080/x@y"
    assert without_secrets(text) == kept


def test_a_text_without_a_secret_is_the_same():
    for text in ("CUDA out of memory: tried to allocate 2.00 GiB", "Basic training, Bearer of news", ""):
        assert without_secrets(text) == text
