"""Handlers: the base class, function jobs, and the built-in ones."""

from .base import JobHandler, JobResult
from .command import CommandHandler
from .function import FunctionJob, job

__all__ = ["CommandHandler", "FunctionJob", "JobHandler", "JobResult", "job"]
