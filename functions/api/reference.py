"""The reference for readers, made from the OpenAPI document: the second half of docs/api.md (``make openapi``).

Each endpoint with a line of curl, Python and JavaScript; a test runs every one of them.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_IDS = {
    "/api/v1/transcribe/": "TRANSCRIPTION",
    "/api/v1/uploads/": "UPLOAD",
    "/api/v1/keys/": "KEY_ID",
    "/api/v1/webhooks/": "ENDPOINT",
    "/api/v1/webhook-deliveries/": "DELIVERY",
}
BEGINNING = "# Reference\n"
"""Where the written half of the page ends and the made one begins."""
_INTRODUCTION = f"""\
{BEGINNING}
Every endpoint, made from [openapi.json](openapi.json) by `make openapi`. `BASE` is the address of your deployment and
`KEY` an API key; in Python `import requests` comes before, and JavaScript runs in Node 18 or later. Every line is run
by the test suite.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One endpoint and how to call it. ``id_name`` is the variable that stands for the id in its path, if there is one.

    ``python`` and ``javascript`` leave the answer in a variable of that name.
    """

    method: str
    path: str
    operation: Mapping[str, Any]
    id_name: str | None
    curl: str
    python: str
    javascript: str


def endpoints(document: Mapping[str, Any]) -> Iterator[Endpoint]:
    """Every endpoint of the document."""
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            id_name = next(name for start, name in _IDS.items() if path.startswith(start)) if "{id}" in path else None
            query = _query(operation)
            body = _body(document, operation)
            yield Endpoint(
                method=method.upper(),
                path=path,
                operation=operation,
                id_name=id_name,
                curl=_curl(method.upper(), path.replace("{id}", f"${id_name}") + query, body),
                python=_python(method, path.replace("{id}", f"{{{id_name}}}") + query, body),
                javascript=_javascript(method.upper(), path.replace("{id}", f"${{{id_name}}}") + query, body),
            )


def to_markdown(document: Mapping[str, Any]) -> str:
    """The reference as a page."""
    parts = [_INTRODUCTION]
    for each in endpoints(document):
        answers = ", ".join(f"{status} {_meaning(answer)}" for status, answer in each.operation["responses"].items())
        parts.append(
            f"## {each.operation['summary']}\n\n`{each.method} {each.path}`\n\n"
            f"{each.operation.get('description', '')}\n\n"
            f"```sh\n{each.curl}\n```\n\n```python\n{each.python}\n```\n\n```js\n{each.javascript}\n```\n\n"
            f"{_parameters(each.operation)}Answers: {answers}\n"
        )
    return "\n".join(parts)


def to_html(document: Mapping[str, Any]) -> str:
    """The reference as a page that needs nothing from anywhere: no script, no font, no style sheet of others."""
    found = list(endpoints(document))
    links = "".join(
        f'<li><a href="#{n}"><code>{each.method}</code> {html.escape(each.path)}</a></li>'
        for n, each in enumerate(found)
    )
    sections = "".join(_section(n, each) for n, each in enumerate(found))
    title, description = document["info"]["title"], document["info"].get("description", "")
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)} API</title>'
        '<meta name="viewport" content="width=device-width"><style>'
        "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b2733}"
        "pre{background:#f2f5f8;padding:.7rem 1rem;overflow:auto;border-radius:.4rem}code{font-size:.9em}"
        "h2{border-top:1px solid #d5dde5;padding-top:1.5rem}a{color:#0b5cad;text-decoration:none}"
        "table{border-collapse:collapse}td,th{text-align:left;padding:.2rem 1rem .2rem 0;vertical-align:top}"
        "@media(prefers-color-scheme:dark){body{background:#12181f;color:#dbe4ee}pre{background:#1c2630}a{color:#7db8f7}}"
        f"</style></head><body><h1>{html.escape(title)} API</h1><p>{html.escape(description)}</p>"
        f'<p>The same for machines: <a href="openapi.json">openapi.json</a></p><ul>{links}</ul>{sections}</body></html>'
    )


def _section(number: int, each: Endpoint) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{html.escape(_meaning(answer))}</td></tr>"
        for status, answer in each.operation["responses"].items()
    )
    samples = "".join(f"<pre>{html.escape(text)}</pre>" for text in (each.curl, each.python, each.javascript))
    return (
        f'<h2 id="{number}">{html.escape(each.operation["summary"])}</h2>'
        f"<p><code>{each.method} {html.escape(each.path)}</code></p>"
        f"<p>{html.escape(each.operation.get('description', ''))}</p>{samples}<table>{rows}</table>"
    )


def _parameters(operation: Mapping[str, Any]) -> str:
    given = [each for each in operation.get("parameters", []) if each["in"] == "query"]
    lines = [
        f"- `{each['name']}`{' (required)' if each.get('required') else ''}: {each.get('description', '')}".rstrip(": ")
        for each in given
    ]
    return "\n".join(lines) + "\n\n" if lines else ""


def _meaning(answer: Mapping[str, Any]) -> str:
    return str(answer.get("description", "")).splitlines()[0].rstrip(".")


def _query(operation: Mapping[str, Any]) -> str:
    required = [each for each in operation.get("parameters", []) if each["in"] == "query" and each.get("required")]
    return "?" + "&".join(f"{each['name']}={each['schema']['enum'][0]}" for each in required) if required else ""


def _body(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Any:
    """The example of the body: None without one, the word "form" for a multipart form."""
    content = operation.get("requestBody", {}).get("content", {})
    if "multipart/form-data" in content:
        return "form"
    if "application/json" not in content:
        return None
    described = content["application/json"]
    schema = described.get("schema", {})
    schema = schema["anyOf"][0] if "anyOf" in schema else schema
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    example = described.get("example") or schema.get("example") or next(iter(schema.get("examples", [])), None)
    return example if example is not None else _minimal(schema)


def _minimal(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The required properties with the example each of them has."""
    properties = schema.get("properties", {})
    return {name: properties[name].get("example", _EXAMPLES.get(name, "")) for name in schema.get("required", [])}


_EXAMPLES: dict[str, Any] = {
    "url": "https://example.com/podcast.mp3",
    "filename": "podcast.mp3",
    "size": 14_771_023,
    "name": "backend",
    "part_numbers": [1],
}


def _curl(method: str, path: str, body: Any) -> str:
    verb = "" if method == "GET" or (method == "POST" and body is not None) else f"-X {method} "
    head = f'curl {verb}"$BASE{path}" -H "Authorization: Bearer $KEY"'
    if body == "form":
        return f'{head} -F "file=@audio.mp3" -F "diarization=true"'
    if body is None:
        return head
    return f"{head} -H \"Content-Type: application/json\" -d '{json.dumps(body)}'"


def _python(method: str, path: str, body: Any) -> str:
    more = ""
    if body == "form":
        more = ', files={"file": open("audio.mp3", "rb")}, data={"diarization": "true"}'
    elif body is not None:
        more = f", json={body!r}"
    return f'answer = requests.{method}(f"{{BASE}}{path}", headers={{"Authorization": f"Bearer {{KEY}}"}}{more})'


def _javascript(method: str, path: str, body: Any) -> str:
    headers = "Authorization: `Bearer ${KEY}`"
    if body == "form":
        return (
            "const form = new FormData();\n"
            'form.append("file", await require("fs").openAsBlob("audio.mp3"), "audio.mp3");\n'
            'form.append("diarization", "true");\n'
            f"const headers = {{ {headers} }};\n"
            f'const answer = await fetch(`${{BASE}}{path}`, {{ method: "POST", headers, body: form }});'
        )
    if body is None:
        return f'const answer = await fetch(`${{BASE}}{path}`, {{ method: "{method}", headers: {{ {headers} }} }});'
    sent = json.dumps(body)
    return (
        f'const headers = {{ {headers}, "Content-Type": "application/json" }};\nconst body = JSON.stringify({sent});\n'
        f'const answer = await fetch(`${{BASE}}{path}`, {{ method: "{method}", headers, body }});'
    )
