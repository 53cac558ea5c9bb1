# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Task logs in Splunk while the task runs, complete when its host dies, and back in the Airflow UI.

Airflow's supervisor writes each line to a local file before anything else. That file is the queue and the spool: a
thread of the supervisor follows it and sends what is new. Beside it a mark says up to which byte Splunk has
acknowledged the file, and a lock on the mark says that somebody is at work. What a dead process left, the sweeper
sends from the mark on.

    settings    the JSON file that the platform mounts
    paths       what a log file's path says about it
    marks       what was acknowledged, and who is at work
    events      lines of a file as a batch of events
    hec         one request to Splunk's HTTP Event Collector, and what its answer means
    letters     events that Splunk refuses for what they are
    delivery    one file, batch by batch
    sender      the thread in a supervisor, and the processor that wakes it
    archive     Airflow's own S3 and GCS classes beside it
    search      lines back from Splunk
    remote      what Airflow asks for: processors, upload, read, stream
    sweeper     what died, and what is old

Only ``logging_config`` needs Airflow at import time; ``archive`` imports what it uses when it uses it.
"""
