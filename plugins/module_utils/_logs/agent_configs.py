# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration file of a node's log agent, in the language of each agent.

PRIVATE to the collection. Pure.

All of them read the node's journal, where Docker's driver ``journald`` writes what containers say, and turn each entry
into one event of the collector::

    {"time": ..., "host": node, "source": "container:<name>" or "journal:<unit>", "sourcetype": ..., "index": ...,
     "event": {"message": ..., "priority": ...},
     "fields": {"environment", "node", and of a container: "container", "image", "stack", "service", "component"}}

Each keeps its place in the journal and what Splunk has not taken below the directory of its state, and tries again for
as long as it takes. What Splunk refuses for itself (status 400) is not tried again, so that it does not hold the rest.

Sources: the manuals of syslog-ng 3.38 (systemd-journal, http, disk-buffer), Fluent Bit 3.2 (systemd, lua, splunk) and
of the OpenTelemetry Collector's contributed components (journald, transform, splunk_hec, file_storage); systemd's
journal-fields(7); Docker's documentation of the driver journald.
"""

from __future__ import annotations

import json
import typing as t
from urllib.parse import urlsplit

from .agent import Agent

#: Labels that Swarm puts on containers; the driver writes them into the journal under names with underscores.
LABELS = ("com.docker.stack.namespace", "com.docker.swarm.service.name", "com.docker.swarm.task.name")
_STACK, _SERVICE, _TASK = (label.upper().replace(".", "_") for label in LABELS)
#: Seconds between attempts while Splunk is away, at most.
_RETRY = 10
_MEBI = 1024 * 1024
#: Bytes and lines of one request; Splunk and what stands before it take a megabyte everywhere.
_BATCH_BYTES, _BATCH_LINES = 900_000, 1000
#: Bytes of one line; a longer one comes in pieces from Docker.
_LINE = 131_072


def render(agent: Agent) -> str:
    """The configuration file; whoever may read it can read the token."""
    head = "# Managed by the role log_agent of flowstead.airflow. Holds the collector's token.\n"
    if agent.kind == "syslog_ng":
        return f"@version: 3.38\n{head}{_syslog_ng(agent)}"
    # JSON is YAML, and leaves no question of quotes open.
    document = _fluent_bit(agent) if agent.kind == "fluent_bit" else _otel(agent)
    return f"{head}{json.dumps(document, indent=2)}\n"


def _syslog_ng(agent: Agent) -> str:
    # read-old-records(no) is of no use: syslog-ng 4.8 with libsystemd 257, as in Debian 13, then never reads anything.
    since = "" if agent.history else f'@include "{agent.since_file}"\n\n'
    only_new = "" if agent.history else '\n  filter { "${UNIXTIME}" >= "`since`" };'
    # What one index refuses takes whole requests with it, so the two kinds of lines go separate ways.
    destinations = _syslog_ng_destination(agent, "containers")
    to_host = ""
    if agent.host_lines:
        destinations += "\n" + _syslog_ng_destination(agent, "host")
        to_host = "rewrite(r_host); destination(d_host);"
    return f"""\
{since}options {{
  keep-hostname(yes); use-dns(no); dns-cache(no); log-msg-size({_LINE}); time-reopen({_RETRY});
}};

source s_journal {{
  systemd-journal(prefix("j.") read-old-records(yes) max-field-size({_LINE}));
}};

rewrite r_all {{
  set("${{UNIXTIME}}.${{USEC}}" value("hec.time"));
  set("{agent.node}" value("hec.host"));
  set("${{MESSAGE}}" value("hec.event.message"));
  set("${{LEVEL}}" value("hec.event.priority"));
  set("{agent.environment}" value("hec.fields.environment"));
  set("{agent.node}" value("hec.fields.node"));
}};
rewrite r_container {{
  set("{agent.index}" value("hec.index"));
  set("{agent.sourcetype}" value("hec.sourcetype"));
  set("container:$(or '${{j.{_TASK}}}' '${{j.CONTAINER_NAME}}')" value("hec.source"));
  set("${{j.CONTAINER_ID}}" value("hec.fields.container"));
  set("${{j.IMAGE_NAME}}" value("hec.fields.image"));
}};
rewrite r_service {{
  set("${{j.{_STACK}}}" value("hec.fields.stack"));
  set("${{j.{_SERVICE}}}" value("hec.fields.service"));
  set("$(substr '${{j.{_SERVICE}}}' '$(+ $(length '${{j.{_STACK}}}') 1)')" value("hec.fields.component"));
}};
rewrite r_host {{
  set("{agent.host_index}" value("hec.index"));
  set("{agent.host_sourcetype}" value("hec.sourcetype"));
  set("journal:$(or '${{j._SYSTEMD_UNIT}}' '${{j.SYSLOG_IDENTIFIER}}' '${{j._TRANSPORT}}')" value("hec.source"));
}};

{destinations}
log {{
  source(s_journal);{only_new}
  rewrite(r_all);
  if ("${{j.CONTAINER_ID}}" ne "") {{
    rewrite(r_container);
    if ("${{j.{_STACK}}}" ne "") {{ rewrite(r_service); }} else {{ }};
    destination(d_containers);
  }} else {{
    {to_host}
  }};
  flags(flow-control);
}};
"""


def _syslog_ng_destination(agent: Agent, name: str) -> str:
    tls = ""
    if agent.url.startswith("https:"):
        authority = f'ca-file("{agent.ca_file}")' if agent.ca_file else 'ca-dir("/etc/ssl/certs")'
        tls = f"\n    tls({authority} peer-verify(yes))"
    size = agent.buffer_mb * _MEBI // (2 if agent.host_lines else 1)
    return f"""\
destination d_{name} {{
  http(
    url("{agent.url}/services/collector/event")
    method("POST")
    headers("Authorization: Splunk {agent.token}", "Content-Type: application/json")
    user-agent("flowstead-log-agent")
    body("$(format-json --key hec.* --shift-levels 1)")
    delimiter("\\n")
    batch-lines({_BATCH_LINES}) batch-bytes({_BATCH_BYTES}) batch-timeout(1000)
    timeout(30) workers(1)
    # Away, locked out or in the wrong place: a person repairs it, and the lines wait for that.
    response-action(400 => drop, 401 => retry, 403 => retry, 404 => retry, 413 => drop, 429 => retry)
    retries(2147483647){tls}
    disk-buffer(
      reliable(yes) disk-buf-size({size}) mem-buf-size({min(64 * _MEBI, size // 4)}) dir("{agent.state}")
    )
    persist-name("{name}")
  );
}};
"""


#: Makes an event of the collector from an entry of the journal; see render() for its shape.
_LUA = """\
function hec(tag, timestamp, record)
  local id = record["CONTAINER_ID"]
  if id == nil and not HOST_LINES then return -1, 0, 0 end
  local fields = {environment = ENVIRONMENT, node = NODE}
  local event = {time = timestamp, host = NODE, fields = fields,
                 event = {message = record["MESSAGE"] or "", priority = PRIORITIES[record["PRIORITY"]] or "info"}}
  if id ~= nil then
    event.index, event.sourcetype = INDEX, SOURCETYPE
    event.source = "container:" .. (record["TASK"] or record["CONTAINER_NAME"] or id)
    fields.container, fields.image = id, record["IMAGE_NAME"]
    fields.stack, fields.service = record["STACK"], record["SERVICE"]
    if fields.stack ~= nil and fields.service ~= nil then
      fields.component = string.sub(fields.service, string.len(fields.stack) + 2)
    end
  else
    event.index, event.sourcetype = HOST_INDEX, HOST_SOURCETYPE
    event.source = "journal:" .. (record["_SYSTEMD_UNIT"] or record["SYSLOG_IDENTIFIER"] or record["_TRANSPORT"] or "")
  end
  return 2, timestamp, event
end
"""
_PRIORITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")


def _fluent_bit(agent: Agent) -> dict[str, t.Any]:
    parts = urlsplit(agent.url)
    tls = parts.scheme == "https"
    names = ", ".join(f'["{number}"] = "{name}"' for number, name in enumerate(_PRIORITIES))
    constants = {
        "NODE": agent.node,
        "ENVIRONMENT": agent.environment,
        "INDEX": agent.index,
        "SOURCETYPE": agent.sourcetype,
        "HOST_INDEX": agent.host_index,
        "HOST_SOURCETYPE": agent.host_sourcetype,
    }
    code = "".join(f'local {name} = "{value}"\n' for name, value in constants.items())
    code += f"local HOST_LINES = {str(agent.host_lines).lower()}\nlocal PRIORITIES = {{{names}}}\n"
    program = _LUA
    for short, key in (("STACK", _STACK), ("SERVICE", _SERVICE), ("TASK", _TASK)):
        program = program.replace(f'record["{short}"]', f'record["{key}"]')
    return {
        "service": {
            "flush": 1,
            "grace": 10,
            "log_level": "warn",
            "scheduler.cap": _RETRY,
            "storage.path": f"{agent.state}/buffer",
            "storage.sync": "full",
            "storage.backlog.mem_limit": "16M",
        },
        "pipeline": {
            "inputs": [
                {
                    "name": "systemd",
                    "tag": "journal",
                    "db": f"{agent.state}/journal.db",
                    "db.sync": "full",
                    "read_from_tail": "off" if agent.history else "on",
                    "strip_underscores": "off",
                    "lowercase": "off",
                    "storage.type": "filesystem",
                }
            ],
            "filters": [{"name": "lua", "match": "journal", "call": "hec", "code": code + program}],
            "outputs": [
                {
                    "name": "splunk",
                    "match": "journal",
                    "host": parts.hostname,
                    "port": parts.port or (443 if tls else 80),
                    "splunk_token": agent.token,
                    "splunk_send_raw": "on",
                    "compress": "gzip",
                    "tls": "on" if tls else "off",
                    **({"tls.verify": "on"} if tls else {}),
                    **({"tls.ca_file": agent.ca_file} if tls and agent.ca_file else {}),
                    "retry_limit": "no_limits",
                    "storage.total_limit_size": f"{agent.buffer_mb}M",
                    "workers": 1,
                }
            ],
        },
    }


def _otel(agent: Agent) -> dict[str, t.Any]:
    container, host = 'body["CONTAINER_ID"] != nil', 'body["CONTAINER_ID"] == nil'
    swarm = f'body["{_STACK}"] != nil and body["{_SERVICE}"] != nil'
    statements = [
        f'set(attributes["host.name"], "{agent.node}")',
        f'set(attributes["node"], "{agent.node}")',
        f'set(attributes["environment"], "{agent.environment}")',
        f'set(attributes["com.splunk.index"], "{agent.index}") where {container}',
        f'set(attributes["com.splunk.sourcetype"], "{agent.sourcetype}") where {container}',
        f'set(attributes["com.splunk.source"], Concat(["container", body["CONTAINER_NAME"]], ":")) where {container}',
        f'set(attributes["com.splunk.source"], Concat(["container", body["{_TASK}"]], ":"))'
        f' where body["{_TASK}"] != nil',
        f'set(attributes["container"], body["CONTAINER_ID"]) where {container}',
        'set(attributes["image"], body["IMAGE_NAME"]) where body["IMAGE_NAME"] != nil',
        f'set(attributes["stack"], body["{_STACK}"]) where {swarm}',
        f'set(attributes["service"], body["{_SERVICE}"]) where {swarm}',
        f'set(attributes["component"], Substring(body["{_SERVICE}"], Len(body["{_STACK}"]) + 1,'
        f' Len(body["{_SERVICE}"]) - Len(body["{_STACK}"]) - 1)) where {swarm}',
        f'set(attributes["com.splunk.index"], "{agent.host_index}") where {host}',
        f'set(attributes["com.splunk.sourcetype"], "{agent.host_sourcetype}") where {host}',
        *(
            f'set(attributes["com.splunk.source"], Concat(["journal", body["{key}"]], ":"))'
            f' where {host} and body["{key}"] != nil'
            for key in ("_TRANSPORT", "SYSLOG_IDENTIFIER", "_SYSTEMD_UNIT")
        ),
        # The event's own shape comes last: what stands above reads the entry.
        'set(cache["priority"], body["PRIORITY"])',
        'set(cache["message"], body["MESSAGE"])',
        *(
            f'set(cache["priority"], "{name}") where cache["priority"] == "{number}"'
            for number, name in enumerate(_PRIORITIES)
        ),
        "set(body, cache)",
    ]
    filters = [] if agent.host_lines else ["filter/containers"]
    return {
        "extensions": {"file_storage": {"directory": agent.state, "create_directory": True, "fsync": True}},
        "receivers": {
            "journald": {"start_at": "beginning" if agent.history else "end", "storage": "file_storage"},
        },
        "processors": {
            **({} if agent.host_lines else {"filter/containers": {"logs": {"log_record": [host]}}}),
            "transform/hec": {
                "error_mode": "ignore",
                "log_statements": [{"context": "log", "statements": statements}],
            },
        },
        "exporters": {
            "splunk_hec": {
                "endpoint": f"{agent.url}/services/collector",
                "token": agent.token,
                "max_content_length_logs": _BATCH_BYTES,
                "tls": {"ca_file": agent.ca_file} if agent.ca_file else {},
                "retry_on_failure": {"enabled": True, "max_interval": f"{_RETRY}s", "max_elapsed_time": "0s"},
                "sending_queue": {
                    "enabled": True,
                    "storage": "file_storage",
                    "sizer": "bytes",
                    "queue_size": agent.buffer_mb * _MEBI,
                    "block_on_overflow": True,
                    "num_consumers": 1,
                },
            }
        },
        "service": {
            "extensions": ["file_storage"],
            "telemetry": {"metrics": {"level": "none"}},
            "pipelines": {
                "logs": {
                    "receivers": ["journald"],
                    "processors": [*filters, "transform/hec"],
                    "exporters": ["splunk_hec"],
                }
            },
        },
    }
