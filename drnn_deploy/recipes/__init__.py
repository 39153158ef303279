"""The recipe that `drnn-deploy train TASK` follows unless told otherwise, one TOML file per task."""
