"""For tests: of sites that use django_jobs, and of backends that others write (`conformance`)."""
