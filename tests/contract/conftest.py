import pytest

pytest.register_assert_rewrite("django_jobs.testing.conformance")
