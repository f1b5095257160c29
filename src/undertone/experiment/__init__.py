"""The composition root: where rooms meet. Stages in order: prepare, align, extract, train, report."""
