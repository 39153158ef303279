from pathlib import Path
p = Path("CHANGELOG.md"); t = p.read_text()
old = "- An engine that was built before is taken, also where building it would take longer than `--engine-seconds`.\n"
assert old in t
t = t.replace(old, '''- An engine that was built before is taken, also where building it would take longer than `--engine-seconds`. Only what is built is
  checked before: an export ends the same way with an empty cache of engines and a full one.
''')
p.write_text(t)
