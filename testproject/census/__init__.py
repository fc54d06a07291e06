"""The demo: a census of real source code, one job per file. `manage.py census_demo` runs it."""
