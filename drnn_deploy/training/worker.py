"""The process of one training among several: see `jobs`. SIGTERM saves its state, and it ends with who started it."""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from drnn_core.errors import DeployError
from drnn_core.failures import explained_failures
from drnn_core.worker_process import Row, answer

if TYPE_CHECKING:
    from drnn_deploy.training.jobs import Outcome


def reply(request: Mapping[str, Any]) -> Generator[Row, None, Row]:
    """Train.

    Args:
        request: A job's plain JSON types.

    Yields:
        The lines of the log.

    Returns:
        The outcome's plain JSON types.
    """
    with warnings.catch_warnings(record=True) as said:
        outcome = yield from _train(dict(request))
    note = "; ".join(dict.fromkeys(str(warning.message) for warning in said))
    return dataclasses.replace(outcome, note=note).to_json()


def _train(request: dict[str, Any]) -> Generator[Row, None, Outcome]:
    import torch

    from drnn_deploy.training.jobs import Job, Outcome
    from drnn_deploy.training.outputs import finish, open_run, train_in
    from drnn_deploy.training.results import result_of
    from drnn_deploy.training.stops import terminable, whole

    job, run = Job.from_json(request), None
    torch.set_num_threads(job.threads)
    try:
        with explained_failures(), terminable():
            run = open_run(job.recipe, job.folder, job.device, job.seconds)
            with contextlib.closing(train_in(run, job.folder)) as lines:  # which saves, and tells where it cannot
                for line in lines:
                    with whole():  # while the line is on its way a stop would end the process, not the training
                        yield dataclasses.asdict(line)
            return Outcome(result_of(run, finish(run, job.folder)))
    except KeyboardInterrupt:
        return Outcome(stopped=run.iteration if run else None)
    except DeployError as error:
        return Outcome.failed(error)


if __name__ == "__main__":
    answer(reply)
