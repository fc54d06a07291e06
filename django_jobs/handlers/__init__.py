"""Handlers: the base class, function jobs, and the built-in ones."""

from . import legacy  # noqa: F401 - importing it makes tasks of the older form usable
from .base import JobHandler, JobResult
from .callable import CallableHandler
from .command import CommandHandler
from .function import FunctionJob, job
from .shell import ShellHandler

__all__ = ["CallableHandler", "CommandHandler", "FunctionJob", "JobHandler", "JobResult", "ShellHandler", "job"]
