"""What every package stands on: errors, files, types, processes. Knows no network."""
