"""A document as a Word file (Office Open XML, ECMA-376), made with zipfile.

A library would bring lxml: 18 MB unpacked, more than all the rest of an API function, for one page of XML - and it
cannot mark paragraphs as right to left, which Word needs to lay Arabic and Hebrew out. The tests read our files with
such a library instead.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from shared.domain.exports import Document, clock
from shared.domain.graphemes import clean, has_right_to_left, main_direction

CONTENT_TYPE = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest a zip can say: the same transcript always makes the same bytes
_HEAD = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
_W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
_PACKAGE = "http://schemas.openxmlformats.org/package/2006"
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml"

_CONTENT_TYPES = (
    f'{_HEAD}<Types xmlns="{_PACKAGE}/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    f'<Override PartName="/word/document.xml" ContentType="{_WORD}.document.main+xml"/>'
    f'<Override PartName="/word/styles.xml" ContentType="{_WORD}.styles+xml"/>'
    '<Override PartName="/docProps/core.xml" '
    'ContentType="application/vnd.openxmlformats-package.core-properties+xml"/></Types>'
)
_RELATIONS = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/officeDocument" Target="word/document.xml"/>'
    f'<Relationship Id="rId2" Type="{_PACKAGE}/relationships/metadata/core-properties" Target="docProps/core.xml"/>'
    "</Relationships>"
)
_DOCUMENT_RELATIONS = (
    f'{_HEAD}<Relationships xmlns="{_PACKAGE}/relationships">'
    f'<Relationship Id="rId1" Type="{_OFFICE}/styles" Target="styles.xml"/></Relationships>'
)


def to_docx(document: Document) -> bytes:
    """The file. The same document always makes the same bytes."""
    parts = {
        "[Content_Types].xml": _CONTENT_TYPES,
        "_rels/.rels": _RELATIONS,
        "docProps/core.xml": _core(document),
        "word/_rels/document.xml.rels": _DOCUMENT_RELATIONS,
        "word/styles.xml": _styles(document.language),
        "word/document.xml": _body(document),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, xml in parts.items():
            entry = zipfile.ZipInfo(name, date_time=_EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, xml.encode())
    return file.getvalue()


def _body(document: Document) -> str:
    return (
        f"{_HEAD}<w:document {_W}><w:body>{''.join(_paragraphs(document))}"
        '<w:sectPr><w:pgSz w:w="11906" w:h="16838"/>'
        '<w:pgMar w:top="1417" w:right="1417" w:bottom="1417" w:left="1417" w:header="708" w:footer="708" '
        'w:gutter="0"/></w:sectPr></w:body></w:document>'
    )


def _paragraphs(document: Document) -> Iterator[str]:
    yield _paragraph(_run(document.title), style="Title", text=document.title)
    if document.summary:
        yield _paragraph(_run("Summary"), style="Heading1")
        yield _paragraph(_run(document.summary.text), text=document.summary.text)
        if document.summary.topics:
            topics = ", ".join(document.summary.topics)
            yield _paragraph(_run("Topics: ", bold=True) + _run(topics), text=topics)
        yield _paragraph(_run("Transcript"), style="Heading1")
    for part in document.paragraphs:
        head = _run(f"{part.speaker} ", bold=True) if part.speaker else ""
        if part.start_seconds is not None:
            head += _run(f"[{clock(part.start_seconds)}]", gray=True)
        if head:
            yield _paragraph(head, style="Speaker", text=part.text)
        yield _paragraph(_run(part.text), text=part.text)


def _paragraph(runs: str, *, style: str = "Normal", text: str = "") -> str:
    bidi = "<w:bidi/>" if main_direction(text) == "rtl" else ""
    return f'<w:p><w:pPr><w:pStyle w:val="{style}"/>{bidi}</w:pPr>{runs}</w:p>'


def _run(text: str, *, bold: bool = False, gray: bool = False) -> str:
    text = _printable(text)
    properties = "<w:b/><w:bCs/>" if bold else ""
    properties += '<w:color w:val="707070"/>' if gray else ""
    properties += "<w:rtl/>" if has_right_to_left(text) else ""
    head = f"<w:rPr>{properties}</w:rPr>" if properties else ""
    return f'<w:r>{head}<w:t xml:space="preserve">{escape(text)}</w:t></w:r>'


def _printable(text: str) -> str:
    """Text without what XML forbids; a space at the end stays, since runs follow one another without one."""
    return clean(text) + (" " if text.endswith(" ") else "")


def _styles(language: str) -> str:
    tag = quoteattr(language or "en")
    return (
        f"{_HEAD}<w:styles {_W}><w:docDefaults><w:rPrDefault><w:rPr>"
        '<w:rFonts w:ascii="Calibri" w:hAnsi="Calibri" w:cs="Arial"/><w:sz w:val="22"/><w:szCs w:val="22"/>'
        f"<w:lang w:val={tag} w:eastAsia={tag} w:bidi={tag}/></w:rPr></w:rPrDefault>"
        '<w:pPrDefault><w:pPr><w:spacing w:after="120" w:line="276" w:lineRule="auto"/></w:pPr></w:pPrDefault>'
        "</w:docDefaults>"
        f"{_style('Normal', 'Normal', default=True)}"
        f"{_style('Title', 'Title', size_half_points=40)}"
        f"{_style('Heading1', 'heading 1', size_half_points=28)}"
        f"{_style('Speaker', 'Speaker', keep_next=True)}"
        "</w:styles>"
    )


def _style(
    identifier: str, name: str, *, default: bool = False, size_half_points: int = 0, keep_next: bool = False
) -> str:
    flag = ' w:default="1"' if default else ""
    based = "" if default else '<w:basedOn w:val="Normal"/>'
    keep = '<w:pPr><w:keepNext/><w:spacing w:before="200" w:after="0"/></w:pPr>' if keep_next else ""
    size = f'<w:sz w:val="{size_half_points}"/><w:szCs w:val="{size_half_points}"/>'
    look = f"<w:rPr><w:b/><w:bCs/>{size}</w:rPr>" if size_half_points else ""
    return (
        f'<w:style w:type="paragraph"{flag} w:styleId="{identifier}"><w:name w:val="{name}"/>'
        f"{based}{keep}{look}</w:style>"
    )


def _core(document: Document) -> str:
    return (
        f'{_HEAD}<cp:coreProperties xmlns:cp="{_PACKAGE}/metadata/core-properties" '
        'xmlns:dc="http://purl.org/dc/elements/1.1/">'
        f"<dc:title>{escape(document.title)}</dc:title><dc:language>{escape(document.language)}</dc:language>"
        "</cp:coreProperties>"
    )
