"""Everything that measures: README.md says what holds today, LOG.md what was tried."""
