"""Django signals of a job's life. All are sent with `send_robust`: a receiver's error never changes an outcome.

| signal | sent in | arguments beside `sender` |
|---|---|---|
| `job_enqueued` | the enqueuing process, after the commit | `job_id`, `queue`, `handler` |
| `job_started` | the process that runs the handler, before it | `ctx` |
| `job_succeeded` | a process of the worker, after the outcome is stored | `ctx`, `result` |
| `job_retrying` | likewise | `ctx`, `error`, `delay` (seconds) |
| `job_failed` | likewise | `ctx`, `error`, `reason` |
| `job_cancelled` | likewise, or the process that cancelled a job which waited, after its commit | `ctx` |
| `worker_started`, `worker_stopped` | the coordinator | `worker_id`, `queues` |
| `cron_started` | the scheduler, when a tick was dispatched, or is to run inline | `name`, `at`, `entry`, `job_id` |
| `cron_skipped` | likewise, when it is not to run | also `reason`, `passed_over` (missed ticks before it) |
| `cron_succeeded` | likewise, when its run is over | as `cron_started` |
| `cron_failed` | likewise | also `error` (text) |

The sender is the handler class for `job_*` (the backend class for `job_enqueued`) and the coordinator's class for
`worker_*`, and `django_jobs.scheduler.entries.Entry` for `cron_*`, whose `at` is the tick's moment in UTC.
"""

from __future__ import annotations

from django.dispatch import Signal

job_enqueued = Signal()
job_started = Signal()
job_succeeded = Signal()
job_retrying = Signal()
job_failed = Signal()
job_cancelled = Signal()
worker_started = Signal()
worker_stopped = Signal()
cron_started = Signal()
cron_skipped = Signal()
cron_succeeded = Signal()
cron_failed = Signal()
