"""What is not kept of what a training was given: passwords, tokens and keys, by name, form and value."""

import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import quote

REDACTED = "<redacted>"
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_SECRET = re.compile(  # by the last words of a name, which may be numbered
    r"(^|_)(token|passw(or)?ds?|passphrase|pwd|secrets?|credentials?|auth|authorization|bearer"
    r"|(api|access|private|secret|signing|encryption|ssh|auth|account|storage|master|shared|sas|service|routing"
    r"|integration|client|wandb|hf|huggingface|openai|anthropic|neptune|comet|mlflow|aws|s3|gcs|azure)_?keys?|connection_?string|jaas_config|creds|nkey|webhooks?(_urls?)?|sas|cookies?)"
    r"(_(value|hash|id|str|string|text|header|raw))?_?\d*$"
)
_OF_A_VOCABULARY = re.compile(
    r"(^|_)(pad|bos|eos|unk|cls|sep|mask|image|special|start|end|stop|added)_tokens?$"
)
_MAY_BE_A_NUMBER = re.compile(r"(passw(or)?ds?|passphrase|pwd|secrets?)_?\d*$")
_IN_A_URL = re.compile(  # a password may have @ and / in it; a port is none; what follows is a host
    r"(://[^/\s:@\[]*:)(?!<redacted>@)(?:[^/\s]+@(?=[\w-]+(?:\.[\w-]+|:\d))|(?!\d{1,5}/)[^\s]{1,300}@)"
)
_BEFORE_A_HOST = re.compile(  # a token in place of a user
    r"((?:\b(?:nats|tls|wss?|amqps?|kafka)|(?=\w{1,30}://[^/\s:@]{0,200}\d)\b\w{1,30}(?=://[^/\s:@]{20}))://)"
    r"(?!<redacted>@)[^/\s:@]{1,200}@"
)
_IN_A_QUERY = re.compile(r"([?&;](?P<name>[\w.-]{1,60})=)(?P<value>[^&;\s#\"'<>]{1,4000})")
_QUERY_NAMES = frozenset({"sig", "signature", "key", "code", "x_amz_signature", "x_goog_signature"})
_ADDRESSES = re.compile(  # that are secrets as a whole: of webhooks, and as apprise writes them
    r"(https://(?:hooks\.slack\.com/\w+/|(?:\w+\.)?discord(?:app)?\.com/api/webhooks/"
    r"|[\w.-]{0,100}webhook\.office\.com/|outlook\.office(?:365)?\.com/webhook/|api\.telegram\.org/bot)"
    r"|\b(?:slack|discord|tgram|pover|pbul|msteams|gchat|opsgenie|pagerduty|ntfys?|matrixs?|workflows?)://)"
    r"(?!<redacted>)[^\s\"'<>]+"
)
_PRIVATE_KEY = re.compile(r"(-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----).{1,8000}?(-----END|$)", re.DOTALL)
_BY_FORM = re.compile(  # of Hugging Face, then of forges and registries, OpenAI, Slack, AWS, Google
    r"\bhf_(?:[A-Za-z0-9]{16,}|(?=\w{0,20}\d)(?=\w{0,20}[A-Z])(?=\w{0,20}[a-z])[A-Za-z0-9]{6,})"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|npm_|r8_|nvapi-|pypi-|dckr_pat_)[\w-]{16,}"
    r"|\bsk-(?=[\w-]{0,99}\d)[\w-]{16,}|\bxox[abeprs]-[\w-]{10,}"
    r"|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|\bAIza[\w-]{30,}"
    r"|\beyJ[\w-]{8,4000}\.[\w-]{8,4000}(?:\.[\w-]*)?"  # JSON Web Tokens
    r"|(?<=\bBearer )(?=\S{0,99}\d)\S{8,}|(?<=\bBasic )(?=\S{0,99}[\d=])[A-Za-z0-9+/]{12,}={0,2}"
    r"|\bS[UAOCN][A-Z2-7]{56}\b"  # seeds of NATS
)
_OPTION = re.compile(r"(?P<before>[-+~]*(?P<name>[A-Za-z_][\w.-]*)(?:=|:(?!//)\s*))(?P<value>.+)", re.DOTALL)
_INSIDE = re.compile(
    r"(?P<before>(?<![\w.-])(?:--(?P<option>[A-Za-z_][\w.-]*)\s+"
    r"|-{0,2}(?P<name>[A-Za-z_][\w.-]*)(?: ?= |=|[\"']\s*:\s*|:\s+|:(?!//))))"
)
_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|(?:Bearer|Basic|Token|Digest) +[^\s,;&\"'}\])]+|[^\s,;&\"'}\])]+")
_USER = re.compile(  # user:password, as curl takes it; not a number's, a group of the same name, a drive
    r"(?P<before>(?<![\w-])(?:-u|-U|--user|--proxy-user)(?:\s+|=)[\"']?(?P<user>[^\s:=\"'/]{2,100}):)"
    r"(?!(?P=user)(?:\s|$)|\d+(?:\s|$)|<redacted>)(?P<value>[^\s\"'/\\][^\s\"']*)"
)
_USER_OPTIONS = ("-u", "-U", "--user", "--proxy-user")
_TOLD_OF = re.compile(  # of a token in a text, which is then one of a vocabulary or of a grammar
    r"\b(?:unexpected|unknown|next|special|per|predicted|last|first|each|end|illegal|missing|new)\s+-{0,2}$",
    re.I,
)
_WEAK = re.compile(r"(^|_)(tokens?|auth|secrets?|credentials?|creds|cookies?|bearer|sas)$")
_OF_CODE = re.compile(r"</?[^<>]*>?|\[[A-Z]+\]?|[\d.,]+[a-z/%]{0,3}")
_SHORTEST_OF_ENVIRONMENT = 8
_ORDINARY = frozenset({"password", "changeme", "anonymous", "required", "disabled"})
_SHORTEST_IN_A_QUERY = 3
_SWITCHES = ("true", "false", "none", "null", "yes", "no", "on", "off", "auto")


def is_secret(key: str, value: Any) -> bool:
    """Whether a value is a secret by its name; nothing, numbers and tokens of a vocabulary are none."""
    if value in ("", [], {}, f"<{key.upper()}>", REDACTED) or not _may_be_secret(value):
        return False  # the last but one is what transformers writes for any token, also for none
    return _is_named_so(key)


def without_secrets(text: str) -> str:
    """Return a text without passwords in addresses, and without what has the form of a known token.

    Examples
    --------
    >>> without_secrets("postgres://me:pw@host/db and AKIAIOSFODNN7EXAMPLE")
    'postgres://me:<redacted>@host/db and <redacted>'
    >>> without_secrets("az://box/runs?sp=w&sig=abc%3D s3://me:a/b+c@bucket/runs")
    'az://box/runs?sp=w&sig=<redacted> s3://me:<redacted>@bucket/runs'
    """
    text = _environment.hidden(text)
    for form, instead in _FORMS:
        text = form.sub(instead, text)
    text = _IN_A_QUERY.sub(_query_replacement, text)
    return _inside(_USER.sub(rf"\g<before>{REDACTED}", text), _is_hidden_in_a_text)


class _Environment:
    """The values of the environment's variables that are named like secrets, collected once."""

    def __init__(self) -> None:
        self._form: re.Pattern[str] | None = None

    def collect(self) -> None:
        values = {value for name, value in os.environ.items() if _is_named_so(name) and _is_to_hide(value)}
        values |= {quote(value, safe="") for value in values}
        longest = sorted(values, key=len, reverse=True)
        self._form = re.compile("|".join(map(_whole, longest)) or r"(?!)")

    def hidden(self, text: str) -> str:
        if self._form is None:
            self.collect()
        assert self._form is not None
        return self._form.sub(REDACTED, text)


_environment = _Environment()


def collect_secrets() -> None:
    """Look which secrets the environment holds now: their values are hidden wherever they occur."""
    _environment.collect()


def _is_to_hide(value: str) -> bool:
    """Whether a value says nothing but a secret: no path, as GOOGLE_APPLICATION_CREDENTIALS is, no word."""
    is_long = len(value.strip()) >= _SHORTEST_OF_ENVIRONMENT
    return is_long and value.lower() not in _ORDINARY and not value.startswith(("/", "~", "./", REDACTED))


def _whole(value: str) -> str:
    """Return the form of a value; a short one is not hidden inside of a longer word."""
    form = re.escape(value)
    return form if len(value) >= 2 * _SHORTEST_OF_ENVIRONMENT else rf"(?<!\w){form}(?!\w)"


_FORMS = (
    (_ADDRESSES, rf"\1{REDACTED}"),
    (_PRIVATE_KEY, rf"\1{REDACTED}\2"),
    (_IN_A_URL, rf"\1{REDACTED}@"),
    (_BEFORE_A_HOST, rf"\1{REDACTED}@"),
    (_BY_FORM, REDACTED),
)


def _query_replacement(found: re.Match[str]) -> str:
    name, value = _words(found["name"]), found["value"]
    is_one = _is_named_so(found["name"]) or name in _QUERY_NAMES
    if not is_one or _is_number(value) or len(value) < _SHORTEST_IN_A_QUERY or value.startswith(REDACTED):
        return found[0]
    return f"{found[1]}{REDACTED}"


def hidden_values(value: Any, found: list[str], name: str = "") -> Any:
    """Return what JSON knows without secrets, by the names of its values; what was hidden is added to a list.

    Examples
    --------
    >>> hidden_values({"lr": 0.1, "hub": {"token": "hf_1"}}, [])
    {'lr': 0.1, 'hub': {'token': '<redacted>'}}
    """
    if isinstance(value, dict):
        return {
            without_secrets(key): _hidden_at(key, item, f"{name}.{key}" if name else key, found)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [hidden_values(item, found, name) for item in value]
    if isinstance(value, str) and (plain := without_secrets(value)) != value:
        found.append(f"the password or token in {name}")
        return plain
    return value


def _hidden_at(key: str, value: Any, name: str, found: list[str]) -> Any:
    if is_secret(key, value):
        found.append(name)
        return REDACTED
    return hidden_values(value, found, name)


def hidden_arguments(arguments: Iterable[Any]) -> list[Any]:
    """Return a command's words without secrets, by the names of its options, as for a configuration.

    A number is a secret only where it is called a password or a secret.

    Examples
    --------
    >>> hidden_arguments(["train.py", "--api-key=abc", "--token", "abc", "--max-token", "512"])
    ['train.py', '--api-key=<redacted>', '--token', '<redacted>', '--max-token', '512']
    """
    return list(_hidden(arguments))


def _hidden(arguments: Iterable[Any]) -> Iterator[Any]:
    name = option = ""
    for word in arguments:
        if not isinstance(word, str):
            yield word
            continue
        is_value = bool(name) and not _is_option(word)
        if is_value and _is_short_secret(name, word):
            yield REDACTED
            name = ""
            continue
        if is_value and option in _USER_OPTIONS:
            word = _USER.sub(rf"\g<before>{REDACTED}", f"{option} {word}").removeprefix(f"{option} ")
        yield _hidden_value(name, word) if is_value else _hidden_word(word)
        if not is_value or not name.lower().endswith("s"):  # --api-keys takes several
            name = word.lstrip("-") if word.startswith("-") and "=" not in word else ""
            option = word


def _is_short_secret(name: str, word: str) -> bool:
    """Whether the value of ``-p`` looks made up: ports, paths and names of partitions are none."""
    kinds = (r"[a-z]", r"[A-Z]", r"\d")
    return (
        name == "p" and bool(re.fullmatch(r"[^\s/.:]{8,}", word)) and all(re.search(k, word) for k in kinds)
    )


def _is_option(word: str) -> bool:
    return word.startswith("--") or (word.startswith("-") and len(word) == 2)


def _hidden_value(name: str, word: str) -> str:
    return REDACTED if _is_hidden(name, word) else _hidden_word(word)


def _hidden_word(word: str) -> str:
    option = _OPTION.fullmatch(word)
    if option is not None and _is_hidden(option["name"], option["value"]):
        return f"{option['before']}{REDACTED}"
    return without_secrets(_inside(word, _is_hidden_in_a_command))


def _inside(text: str, is_hidden: Callable[[re.Match[str], str, str], bool]) -> str:
    """Return a text without the values that stand behind names in it."""
    parts, at = [], 0
    while (found := _INSIDE.search(text, at)) is not None:
        name, start = found["name"] or found["option"], found.end()
        parts.append(text[at:start])
        at = start
        if _is_named_so(name) and (given := _VALUE.match(text, start)) is not None:
            value, mark = _unquoted(given[0])
            if is_hidden(found, name, value):
                parts.append(f"{mark}{REDACTED}{mark}")
                at = given.end()
    return "".join([*parts, text[at:]])


def _is_hidden_in_a_command(found: re.Match[str], name: str, value: str) -> bool:
    is_a_host = found["before"].endswith(":") and _WEAK.search(_words(name)) is not None
    return not is_a_host and _is_hidden(name, value)


def _is_hidden_in_a_text(found: re.Match[str], name: str, value: str) -> bool:
    """Whether to hide as in a command; not what prose and grammars say of tokens."""
    if not _is_hidden_in_a_command(found, name, value):
        return False
    is_weak = _WEAK.search(_words(name)) is not None
    if value == name or (is_weak and _OF_CODE.fullmatch(value)):
        return False
    if _TOLD_OF.search(found.string, max(found.start() - 24, 0), found.start()):
        return False
    is_sure = "=" in found["before"] or (found["name"] and not is_weak)
    return bool(is_sure) or _looks_made_up(value)


def _looks_made_up(value: str) -> bool:
    """Whether a text is no word: it has a digit, a capital inside, or is long."""
    return len(value) >= 16 or re.search(r"\d|\w[A-Z]|^Bearer ", value) is not None


def _unquoted(value: str) -> tuple[str, str]:
    return (value[1:-1], value[0]) if value[:1] in ("'", '"') else (value, "")


def _is_hidden(name: str, text: str) -> bool:
    """Whether the text of an option is a secret: a switch is none, and seldom a number."""
    words = _words(name)
    if text.lower() in _SWITCHES or (_is_number(text) and not _MAY_BE_A_NUMBER.search(words)):
        return False
    return is_secret(name, text)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_named_so(key: str) -> bool:
    words = _words(key)
    return bool(_SECRET.search(words)) and not _OF_A_VOCABULARY.search(words)


def _words(key: str) -> str:
    return "_".join(_WORDS.findall(key)).lower()


def _may_be_secret(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(_may_be_secret, value))
    return value is not None and not isinstance(value, bool | int | float)
