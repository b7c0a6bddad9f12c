"""The one place that wires a process: settings in, services out. Each is built when first asked for.

What only some processes need, or few requests of the API, is imported when it is built: nobody waits for the rest of it
in a cold start.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING

from shared.adapters import system
from shared.adapters.aws import AwsClients
from shared.adapters.dynamodb.accounts import AccountStore, KeyStore
from shared.adapters.dynamodb.credits import LedgerStore
from shared.adapters.dynamodb.jobs import JobStore
from shared.adapters.dynamodb.requests import RequestStore
from shared.adapters.dynamodb.usage import UsageStore
from shared.adapters.eventbridge import EventBus
from shared.adapters.s3 import Bucket
from shared.adapters.s3_uploads import UploadBucket
from shared.adapters.sqs import Queue
from shared.services.accounts import Accounts
from shared.services.credits import Credits
from shared.services.holds import Holds
from shared.services.jobs import JobPolicy, JobPorts, Jobs, Runner
from shared.services.keys import KeyPorts, Keys
from shared.services.requests import Requests
from shared.services.results import Results
from shared.services.submissions import Submissions
from shared.settings import Settings

if TYPE_CHECKING:
    from shared.services.audits import Audits
    from shared.services.drops import DropPorts
    from shared.services.endpoints import Endpoints
    from shared.services.exports import Exports
    from shared.services.repeats import Repeats
    from shared.services.sweeps import Sweeps
    from shared.services.transcriptions import Transcriptions
    from shared.services.uploads import Uploads
    from shared.services.webhooks import WebhookPorts, Webhooks


class Services:
    """The services of one process. Tests bring their own clients and clock."""

    def __init__(
        self, settings: Settings, aws: AwsClients | None = None, now: Callable[[], datetime] = system.utc_now
    ) -> None:
        self.settings = settings
        self._aws = aws or AwsClients()
        self._now = now

    def make_clients(self, *, everything: bool) -> None:
        """Make the AWS clients now that are otherwise made by their first call: only DynamoDB's, or all."""
        self._aws.make(everything=everything)

    @cached_property
    def accounts(self) -> Accounts:
        """Accounts."""
        store = AccountStore(self._aws.dynamodb, self.settings.accounts_table)
        return Accounts(store, self._now, system.new_id)

    @cached_property
    def keys(self) -> Keys:
        """API keys."""
        store = KeyStore(self._aws.dynamodb, self.settings.api_keys_table)
        ports = KeyPorts(
            store=store,
            requests=self.requests,
            now=self._now,
            new_id=system.new_id,
            random_token=system.random_token,
        )
        return Keys(ports)

    @cached_property
    def credits(self) -> Credits:
        """Balances and the ledger."""
        store = LedgerStore(self._aws.dynamodb, self.settings.accounts_table, self.settings.ledger_table)
        return Credits(store, self._now)

    @cached_property
    def usage(self) -> UsageStore:
        """What each key used on each day."""
        return UsageStore(self._aws.dynamodb, self.settings.usage_table)

    @cached_property
    def bucket(self) -> Bucket:
        """Recordings and results."""
        return Bucket(self._aws.s3, self.settings.bucket)

    def new_id(self) -> str:
        """A fresh id."""
        return system.new_id()

    @cached_property
    def ingest_queue(self) -> Queue:
        """Announcements of the drop folder."""
        if self.settings.ingest_queue_url is None:
            raise LookupError("INGEST_QUEUE_URL is not set: only the ingest function has it")
        return Queue(self._aws.sqs, self.settings.ingest_queue_url)

    @cached_property
    def drop_ports(self) -> DropPorts:
        """What the drop folder needs."""
        from shared.services.drops import DropPorts

        return DropPorts(
            bucket=self.bucket,
            uploads=self.upload_bucket,
            accounts=self.accounts,
            jobs=self.jobs,
            submissions=self.submissions,
            exports=self.exports,
            now=system.utc_now,
        )

    @cached_property
    def upload_bucket(self) -> UploadBucket:
        """The same bucket, for uploads in parts and ranged reads."""
        return UploadBucket(self._aws.s3, self.settings.bucket)

    @cached_property
    def uploads(self) -> Uploads:
        """Recordings that clients send straight into the bucket."""
        from shared.services.uploads import Uploads

        return Uploads(self.bucket, self.upload_bucket, system.utc_now, system.new_id)

    @cached_property
    def results(self) -> Results:
        """Transcripts and how jobs are shown."""
        return Results(self.bucket)

    @cached_property
    def jobs(self) -> Jobs:
        """The life of a job."""
        return Jobs(self._job_ports, self._holds, self._job_policy)

    @cached_property
    def submissions(self) -> Submissions:
        """The way in."""
        return Submissions(self._job_ports, self._holds, self._job_policy, self.jobs)

    @cached_property
    def repeats(self) -> Repeats:
        """Jobs made of earlier ones."""
        from shared.services.repeats import Repeats

        return Repeats(self._job_ports, self.submissions)

    @cached_property
    def _job_ports(self) -> JobPorts:
        return JobPorts(
            store=JobStore(self._aws.dynamodb, self.settings.jobs_table),
            bucket=self.bucket,
            uploads=self.upload_bucket,
            queue=Queue(self._aws.sqs, self.settings.jobs_queue_url),
            bus=EventBus(self._aws.events, self.settings.event_bus),
            runner=self._runner(),
            now=self._now,
            new_id=system.new_id,
        )

    @cached_property
    def _holds(self) -> Holds:
        return Holds(
            credits=self.credits,
            store=self._job_ports.store,
            usage=self.usage,
            requests=self._request_store,
            now=self._now,
        )

    @cached_property
    def requests(self) -> Requests:
        """What was asked for under Idempotency-Keys."""
        return Requests(self._request_store, self._now, system.new_id)

    @cached_property
    def _request_store(self) -> RequestStore:
        return RequestStore(self._aws.dynamodb, self.settings.requests_table)

    @property
    def _job_policy(self) -> JobPolicy:
        settings = self.settings
        return JobPolicy(
            prices=settings.prices,
            lease=settings.lease,
            retention=settings.result_retention,
            submits_per_minute=settings.submits_per_minute,
            compute_device=settings.compute_device,
        )

    @cached_property
    def work_queue(self) -> Queue:
        """Attempts for workers of one's own (RUNNER=queue)."""
        if self.settings.work_queue_url is None:
            raise LookupError("there is no work queue: this deployment's runner is not 'queue'")
        return Queue(self._aws.sqs, self.settings.work_queue_url)

    @cached_property
    def deliveries_queue(self) -> Queue:
        """Events and deliveries on their way to webhooks."""
        return Queue(self._aws.sqs, self.settings.deliveries_queue_url)

    @cached_property
    def webhooks(self) -> Webhooks:
        """Results on their way to customers."""
        from shared.services.webhooks import Webhooks

        return Webhooks(self._webhook_ports, self.jobs, self.results)

    @cached_property
    def endpoints(self) -> Endpoints:
        """Webhook endpoints and the log of deliveries."""
        from shared.services.endpoints import Endpoints

        return Endpoints(self._webhook_ports, self.webhooks, system.new_id)

    @cached_property
    def transcriptions(self) -> Transcriptions:
        """Jobs as their owners handle them."""
        from shared.services.transcriptions import Transcriptions

        return Transcriptions(self._job_ports, self.jobs, self.results)

    @cached_property
    def exports(self) -> Exports:
        """Transcripts as files."""
        from shared.services.exports import Exports

        return Exports(self.results, self.bucket)

    @cached_property
    def _webhook_ports(self) -> WebhookPorts:
        from shared.adapters.dynamodb.deliveries import DeliveryStore
        from shared.adapters.dynamodb.endpoints import EndpointStore
        from shared.adapters.http import HttpClient
        from shared.services.webhooks import WebhookPorts

        return WebhookPorts(
            endpoints=EndpointStore(self._aws.dynamodb, self.settings.webhook_endpoints_table),
            deliveries=DeliveryStore(self._aws.dynamodb, self.settings.webhook_deliveries_table),
            queue=self.deliveries_queue,
            bus=EventBus(self._aws.events, self.settings.event_bus),
            client=HttpClient(allow_loopback=self.settings.allow_loopback_webhooks),
            now=self._now,
            random_bytes=system.random_secret_bytes,
        )

    @cached_property
    def sweeps(self) -> Sweeps:
        """The repair crew."""
        from shared.services.sweeps import Sweeps

        return Sweeps(self.jobs)

    @cached_property
    def audits(self) -> Audits:
        """The auditor."""
        from shared.services.audits import Audits

        return Audits(self.accounts, self.credits, self.jobs)

    def _runner(self) -> Runner:
        if self.settings.runner == "queue":
            from shared.adapters.queue_runner import QueueRunner

            return QueueRunner(self.work_queue)
        from shared.adapters.modal_runner import ModalRunner

        secret = self.settings.modal_token_secret_arn
        return ModalRunner(self.settings.modal_app, self._aws.secrets if secret else None, secret)


def bootstrap(settings: Settings) -> Services:
    """The services for these settings."""
    return Services(settings)
