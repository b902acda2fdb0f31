"""What is deployed today: configuration, version 4, and the job that its CSC sends for a command."""

import json
from pathlib import Path
from typing import Any

__all__ = ["CALIBRATION", "deployed_body", "sent_body", "write_deployed_configuration"]

_FILE = Path(__file__).parents[1] / "data" / "config" / "OCPS" / "v4" / "_init.yaml"
_SERVER = "http://uws-server/api/v1"

CALIBRATION = {
    "pipeline": "${CP_PIPE_DIR}/pipelines/LATISS/cpBias.yaml",
    "version": "",
    "config": "-j 8 -i a,b  --register-dataset-types ",
    "data_query": "instrument='LATISS' AND detector IN (0) AND exposure IN (1..3)",
}
"""As the nightly calibration sends it."""


def write_deployed_configuration(root: Path, server: str) -> Path:
    """Write what ``DM_CONFIG_OCPS_DIR`` names; of the deployed file only the host is another one.

    Parameters
    ----------
    root
        The folder that the variable names.
    server
        URL of the server of the JSON dialect.

    Returns
    -------
    pathlib.Path
        The folder of the files.
    """
    folder = root / "OCPS" / "v4"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "_init.yaml").write_text(_FILE.read_text().replace(_SERVER, server))
    (folder / "LATISS.yaml").write_text("{instance: LATISS, butler: /repo/LATISS}\n")
    return folder


def deployed_body(fields: dict[str, str]) -> dict[str, Any]:
    """What the deployed CSC puts to the server for index 1, its run_id excepted."""
    variables = {
        "IMAGE_TAG": fields["version"],
        "PIPELINE_URL": fields["pipeline"],
        "BUTLER_REPO": "LATISS",
        "RUN_OPTIONS": f"-i LATISS/raw/all {fields['config']}",
        "OUTPUT_GLOB": fields.get("output_dataset_types") or "*",
        "DATA_QUERY": fields["data_query"],
    }
    return {
        "command": "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh",
        "url": "https://github.com/lsst-dm/uws_scripts",
        "commit_ref": "main",
        "environment": [{"name": name, "value": value} for name, value in variables.items()],
    }


def sent_body(body: bytes, site: str) -> dict[str, Any]:
    """What was put to the server, its run_id, which has to be one of ours, excepted."""
    sent: dict[str, Any] = json.loads(body)
    assert sent.pop("run_id").startswith(f"ocps-{site}-1-")
    return sent
