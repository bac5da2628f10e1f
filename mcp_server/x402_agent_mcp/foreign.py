"""What another server's tools and their results look like to a host: its words fenced and capped, its claims about itself left out."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING, Any

from mcp_types import AudioContent, ImageContent, TextContent, Tool, ToolAnnotations

from x402_agent.tools import fence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcp_types import ContentBlock

__all__ = ["AGAIN", "MOST", "as_tool", "contents", "is_name", "schema"]

AGAIN, MOST = "x402_again", "x402_max_price"  # arguments of ours, beside the tool's own
SHORT = 160  # bytes of an argument's description
HEAD = 1000  # bytes of a description, and of a result too long to be shown
BINARY = 1 << 20  # characters of base64 that one picture or sound may have
TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp", "audio/wav", "audio/mpeg"})
DEEPEST, LARGEST, PROPERTIES = 8, 16_384, 64
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}").fullmatch
_WORD = re.compile(r"[\w.:/+#$@-]{0,64}").fullmatch  # of any script
_WORDS = frozenset({"title", "$comment", "examples", "default", "$id", "$schema", "$anchor", "deprecated"})
OWN: Mapping[str, Any] = {
    AGAIN: {"type": "boolean", "description": "true: buy anew what the same call bought within ten minutes"},
    MOST: {"type": "string", "description": 'pay at most this many dollars for this call, e.g. "0.05"; it can only lower'},
}


def is_name(text: str) -> bool:
    """Whether a host can be shown a tool of this name."""
    return bool(_NAME(text)) and bool(text.strip("."))


def as_tool(tool: Tool, origin: str) -> Tool:
    """The tool as a host sees it. What its server says of its harmlessness is not passed on."""
    told = fence(origin, tool.description or "", HEAD).text if tool.description else ""
    says = f"A tool of {origin}, which may cost money: it is paid within your owner's policy, and refused beyond it.\n{told}".rstrip()
    hints = ToolAnnotations(read_only_hint=False, destructive_hint=True, idempotent_hint=False, open_world_hint=True)
    return Tool(name=tool.name, description=says, input_schema=schema(tool.input_schema, origin), annotations=hints)


def schema(given: object, origin: str = "its server") -> dict[str, Any]:
    """An input schema without sentences, but for short descriptions in fences; with our own arguments. One that is too large is any object."""
    made = _clean(given, origin, 0) if isinstance(given, dict) else {}
    if not isinstance(made, dict) or made.get("type") != "object" or len(json.dumps(made)) > LARGEST:
        made = {"type": "object"}
    known = made.get("properties")
    made["properties"] = {**(known if isinstance(known, dict) else {}), **OWN}
    return made


def _clean(value: Any, origin: str, depth: int, *, names: bool = False) -> Any:
    """`names`: the keys are the seller's own (properties, definitions), not words of JSON Schema. A text that could be a sentence is
    left out; a list (an enum) that holds one is left out whole, since a part of it would say something else."""  # fmt: skip
    if depth > DEEPEST:
        return {}
    if isinstance(value, dict):
        made = {}
        for key, each in list(value.items())[:PROPERTIES]:
            if not is_name(key.lstrip("$")) or (not names and key in _WORDS):
                continue
            if not names and key == "description":
                if isinstance(each, str):
                    made[key] = fence(origin, each, SHORT).text
            elif not _sentence(each):
                made[key] = _clean(each, origin, depth + 1, names=not names and key in ("properties", "$defs", "definitions", "patternProperties"))
        return made
    return [_clean(each, origin, depth + 1) for each in value[:PROPERTIES]] if isinstance(value, list) else value


def _sentence(value: Any) -> bool:
    """Whether it is a text of more than one word, or a list that holds one or goes on for too long."""
    if isinstance(value, list):
        return len(value) > PROPERTIES or any(_sentence(each) for each in value)
    return isinstance(value, str) and not _WORD(value)


def contents(origin: str, raw: Mapping[str, Any], kept: str = "") -> list[ContentBlock]:
    """A result's content for a host: text in one fence, pictures and sounds of the usual kinds as they are. `kept` is where the whole
    can be read, "" where it is kept nowhere."""  # fmt: skip
    texts: list[str] = []
    made: list[ContentBlock] = []
    for block in raw.get("content") or ():
        found = _binary(block)
        if found is not None:
            made.append(found)
        else:
            texts.append(_text(block))
    if not any(texts) and not made and raw.get("structuredContent") is not None:
        texts = [json.dumps(raw["structuredContent"], ensure_ascii=False)]
    text = "\n".join(each for each in texts if each)
    if not text:
        return made
    shown = fence(origin, text)
    if shown.cut:
        shown = fence(origin, text, HEAD)
        where = f"the whole is kept, and reading it costs nothing: {kept}" if kept else "the rest is not kept"
        made.insert(0, TextContent(type="text", text=f"These are the first {HEAD} of {len(text.encode('utf-8', 'surrogatepass'))} bytes; {where}"))
    return [TextContent(type="text", text=shown.text), *made]


def _binary(block: Mapping[str, Any]) -> ContentBlock | None:
    kind, data, type_ = block.get("type"), block.get("data"), block.get("mimeType")
    if kind not in ("image", "audio") or type_ not in TYPES or not isinstance(data, str) or len(data) > BINARY:
        return None
    try:
        base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return None
    return ImageContent(type="image", data=data, mime_type=type_) if kind == "image" else AudioContent(type="audio", data=data, mime_type=type_)


def _text(block: Mapping[str, Any]) -> str:
    """A block as text; what is not shown is named."""
    kind, inner = block.get("type"), block.get("resource")
    if kind == "text":
        return str(block.get("text", ""))
    if kind == "resource" and isinstance(inner, dict):
        return str(inner["text"]) if "text" in inner else f"(binary, left out: {inner.get('uri')})"
    return f"(a link: {block.get('uri')})" if kind == "resource_link" else f"({kind}, left out)"
