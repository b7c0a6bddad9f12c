"""What a kept state is made of: items, messages, objects and unfinished uploads, out of moto and into it again.

Rows are in a format of our own that follows AWS's words, not moto's classes. What the template makes (tables, queues,
rules, the bucket's settings) is not in them: it comes from the template. A row names its place by the logical id there,
so that a new name, chosen or made up by moto, finds its data. What was made beside the template is not kept.
"""

from __future__ import annotations

import copy
import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from infra.local.aws import ACCOUNT_ID, REGION
from infra.local.stack import Stores
from infra.local.state_folder import Row, Snapshot, StateFolder, StateProblem, read_blocks

TABLES, QUEUES, OBJECTS, UPLOADS = "tables.ndjson", "queues.ndjson", "objects.ndjson", "uploads.ndjson"
_BLOCK_BYTES: Final = 1024 * 1024
_MESSAGE: Final = (
    *("body", "message_attributes", "system_attributes", "sender_id", "sent_timestamp", "visible_at", "delayed_until"),
    *("approximate_first_receive_timestamp", "approximate_receive_count", "receipt_handle"),
    *("deduplication_id", "group_id", "sequence_number"),
)
_OBJECT: Final = (
    *("encryption", "kms_key_id", "bucket_key_enabled", "checksum_algorithm", "checksum_value", "checksum_type"),
    "checksum_parts",
)

KeepBlob = Callable[[Any], str]
"""Takes one of moto's keys; keeps its content and gives its SHA-256."""


class Places:
    """moto's own tables, queues and buckets, by logical id."""

    def __init__(self, stores: Stores) -> None:
        from moto.dynamodb.models import dynamodb_backends
        from moto.s3.models import s3_backends
        from moto.sqs.models import sqs_backends

        self.s3: Any = s3_backends[ACCOUNT_ID]["aws"]
        self.tables = _there(dynamodb_backends[ACCOUNT_ID][REGION].tables, stores.tables)
        self.queues = _there(sqs_backends[ACCOUNT_ID][REGION].queues, stores.queues)
        self.buckets = _there(self.s3.buckets, stores.buckets)

    def table_keys(self) -> dict[str, list[str]]:
        """The names of each table's key attributes."""
        return {
            logical_id: [table.hash_key_attr, *([table.range_key_attr] if table.range_key_attr else [])]
            for logical_id, table in self.tables.items()
        }


def _there(found: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {logical_id: found[name] for logical_id, name in names.items() if name in found}


# ---- out -------------------------------------------------------------------------------------------------------------


def capture(places: Places, keep: KeepBlob) -> dict[str, list[Row]]:
    """Every row. Nothing may change meanwhile."""
    return {
        TABLES: list(_items(places)),
        QUEUES: list(_messages(places)),
        OBJECTS: list(_objects(places, keep)),
        UPLOADS: list(_uploads(places, keep)),
    }


class BlobKeeper:
    """Keeps contents of objects, each once: an object never changes in S3, it is only replaced."""

    def __init__(self, folder: StateFolder) -> None:
        self._folder = folder
        self._there = folder.blobs()
        self.written_bytes = 0

    def __call__(self, key: Any) -> str:
        known: str | None = getattr(key, "kept_as", None)
        if known in self._there:
            return known
        with key.lock:
            digest, size = self._folder.write_blob(_blocks(key))
        key.kept_as = digest
        self._there.add(digest)
        self.written_bytes += size
        return digest

    def keep_ahead(self, places: Places) -> None:
        """Keep what can be kept while the stack goes on, so that it need not stand still for that."""
        for bucket in places.buckets.values():
            keys = [key for versions in list(dict.values(bucket.keys)) for key in versions[-1:]]
            keys += [part for upload in list(bucket.multiparts.values()) for part in list(upload.parts.values())]
            for key in keys:
                # Without an ETag it is still being made: moto would compute that from the middle of our reading.
                if getattr(key, "_etag", None) is not None and not key.disposed:
                    try:
                        self(key)
                    except ValueError:
                        continue  # replaced or deleted at this moment


def _blocks(key: Any) -> Iterator[bytes]:
    key._value_buffer.seek(0)  # noqa: SLF001 - moto would copy the whole object into memory
    while block := key._value_buffer.read(_BLOCK_BYTES):  # noqa: SLF001
        yield block


def _items(places: Places) -> Iterator[Row]:
    for name, table in places.tables.items():
        for found in table.items.values():  # moto's all_items sorts them, which takes longer than all the rest
            for item in found.values() if table.range_key_attr else (found,):
                yield {"table": name, "item": {key: _plain(value) for key, value in item.attrs.items()}}


def _plain(attribute: Any) -> Row:
    """A copy of an attribute: the table goes on changing while what was captured is being written."""
    value = attribute.value
    if isinstance(value, dict):
        value = {key: _plain(each) for key, each in value.items()}
    elif isinstance(value, list):  # of attributes, or a set's plain values
        value = [_plain(each) if hasattr(each, "type") else each for each in value]
    return {attribute.type: value}


def _messages(places: Places) -> Iterator[Row]:
    for name, queue in places.queues.items():
        for message in queue._messages:  # noqa: SLF001 - the public list leaves out the hidden
            yield {"queue": name, "id": message.id} | {field: copy.copy(getattr(message, field)) for field in _MESSAGE}


def _objects(places: Places, keep: KeepBlob) -> Iterator[Row]:
    for bucket_name, bucket in places.buckets.items():
        for name, versions in dict.items(bucket.keys):
            key = versions[-1]
            if hasattr(key, "contentsize"):  # else a deletion of a versioned object
                yield {"bucket": bucket_name, "key": name, **_stored(key, keep)} | {
                    "tags": places.s3.tagger.get_tag_dict_for_resource(key.arn)
                }


def _uploads(places: Places, keep: KeepBlob) -> Iterator[Row]:
    for bucket_name, bucket in places.buckets.items():
        for upload in bucket.multiparts.values():
            yield {
                "bucket": bucket_name,
                "key": upload.key_name,
                "upload_id": upload.id,
                "metadata": dict(upload.metadata.items()),
                "storage": upload.storage,
                "tags": upload.tags,
                "encryption": upload.sse_encryption,
                "kms_key_id": upload.kms_key_id,
                "parts": [{"number": n} | _stored(upload.parts[n], keep) for n in upload.partlist],
            }


def _stored(key: Any, keep: KeepBlob) -> Row:
    return {
        "sha256": keep(key),
        "size_bytes": key.size,
        "etag": key.etag.strip('"'),
        "modified_at": key.last_modified.isoformat(),
        "metadata": dict(key.metadata.items()),
        "storage": key.storage_class,
    } | {field: getattr(key, field) for field in _OBJECT}


# ---- in --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Restoration:
    """Brings a snapshot into the stack that the template has just made, all of it or nothing."""

    snapshot: Snapshot
    folder: StateFolder
    places: Places

    def carry_out(self) -> None:
        """Raises StateProblem, with nothing restored, when the stack has no place for something."""
        self._check()
        files, places = self.snapshot.files, self.places
        for row in files[TABLES]:
            places.tables[row["table"]].put_item(row["item"], overwrite=True)
        for row in files[QUEUES]:
            _restore_message(places.queues[row["queue"]], row)
        for row in files[OBJECTS]:
            self._restore_object(places.buckets[row["bucket"]], row)
        for row in files[UPLOADS]:
            self._restore_upload(places.buckets[row["bucket"]], row)

    def _check(self) -> None:
        problems = []
        for file, kind, there in (
            (TABLES, "table", self.places.tables),
            (QUEUES, "queue", self.places.queues),
            (OBJECTS, "bucket", self.places.buckets),
            (UPLOADS, "bucket", self.places.buckets),
        ):
            for name in sorted({row[kind] for row in self.snapshot.files[file]} - set(there)):
                count = sum(row[kind] == name for row in self.snapshot.files[file])
                problems.append(f"{kind} {name} ({count} rows of {file})")
        keys: Mapping[str, list[str]] = self.snapshot.about["table_keys"]
        used = {row["table"] for row in self.snapshot.files[TABLES]}
        now = self.places.table_keys()
        problems += [
            f"table {name} with the key {', '.join(keys[name])} (now {', '.join(now[name])})"
            for name in sorted(used & set(now))
            if keys[name] != now[name]
        ]
        if problems:
            raise StateProblem(
                f"{self.folder.folder} holds data that this template has no place for: {'; '.join(problems)}. Start "
                "with the template and parameters it was kept with, or use another folder."
            )

    def _restore_object(self, bucket: Any, row: Row) -> None:
        key = self._key(row["key"], row, bucket_name=bucket.name, version_id="null")
        bucket.keys[row["key"]] = key
        tags = [{"Key": name, "Value": value} for name, value in row["tags"].items()]
        if tags:
            self.places.s3.tagger.tag_resource(key.arn, tags)

    def _restore_upload(self, bucket: Any, row: Row) -> None:
        from moto.s3.models import FakeMultipart
        from requests.structures import CaseInsensitiveDict

        upload: Any = FakeMultipart(
            row["key"],
            CaseInsensitiveDict(row["metadata"]),
            account_id=ACCOUNT_ID,
            region_name=REGION,
            storage=row["storage"],
            tags=row["tags"],
            sse_encryption=row["encryption"],
            kms_key_id=row["kms_key_id"],
        )
        upload.id = row["upload_id"]  # the client has it, and so have the links it was given
        upload.parts = {part["number"]: self._key(part["number"], part) for part in row["parts"]}
        upload.partlist = [part["number"] for part in row["parts"]]
        bucket.multiparts[upload.id] = upload

    def _key(self, name: Any, row: Row, **more: Any) -> Any:
        from moto.s3.models import FakeKey

        key: Any = FakeKey(name, b"", ACCOUNT_ID, REGION, storage=row["storage"], etag=row["etag"], **more)
        for block in read_blocks(self.folder.blob(row["sha256"])):
            key._value_buffer.write(block)  # noqa: SLF001 - as above, in the other direction
        key.contentsize = row["size_bytes"]
        key.last_modified = dt.datetime.fromisoformat(row["modified_at"])
        key.set_metadata(dict(row["metadata"]))
        for field in _OBJECT:
            setattr(key, field, row[field])
        key.kept_as = row["sha256"]
        return key


def _restore_message(queue: Any, row: Row) -> None:
    from moto.sqs.models import Message

    message: Any = Message(row["id"], row["body"])
    for field in _MESSAGE:
        setattr(message, field, row[field])
    queue._messages.append(message)  # noqa: SLF001 - sending it would make it new
