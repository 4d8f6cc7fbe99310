"""From rows to files: columns, chunks, the tail and the event file, with numpy alone."""
