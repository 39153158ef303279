"""`python -m drnn_deploy`: the command `drnn-deploy`, also where the source tree runs without having been installed."""

from __future__ import annotations

from drnn_deploy.cli import main

main()
