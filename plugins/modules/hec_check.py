#!/usr/bin/python
# Copyright: flowstead.airflow contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that Splunk takes events from this host, and keeps them."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hec_check
short_description: Check that Splunk takes events from this host, and keeps them
version_added: 0.1.0
description:
  - Asks Splunk's HTTP Event Collector how it is, sends it one event with the token and the index that will be used,
    waits for its acknowledgement where the token has that, and finds the event again through Splunk's search.
  - Reports every problem of every collector at once, each with the variable, its value (never a secret's) and what to
    do. Each of the collector's answer codes, HTTP statuses of what may stand in front of it, and each way in which a
    connection fails has its own explanation.
  - All collectors are asked at the same time.
author:
  - flowstead.airflow contributors (@flowstead)
extends_documentation_fragment:
  - flowstead.airflow.attributes
  - flowstead.airflow.attributes.airflow
attributes:
  check_mode:
    support: full
    details:
      - In check mode no event is written. An empty request tells whether the token is good, a search whether its login
        is. Whether the token may write into the index is not told.
  diff_mode:
    support: none
    details: [It changes nothing that is configured.]
  idempotent:
    support: full
    details: [It never reports a change, although each run leaves one small event in the index.]
options:
  endpoints:
    description: The collectors.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: How a person calls it, for example V(Splunk for task logs).
        type: str
        required: true
      variable:
        description: The inventory variable that describes it.
        type: str
        required: true
      url:
        description:
          - Scheme, host and port of the collector, for example V(https://splunk.example.com:8088). Without a port, 443
            or 80.
          - A path belongs to it only where something in front of Splunk adds one. C(/services/collector) and what is
            behind it may stand there, and changes nothing.
        type: str
        required: true
      token:
        description: The collector's token, without the word C(Splunk).
        type: str
        required: true
      index:
        description: The index that events go to. Empty means the token's default index.
        type: str
        default: ""
      ca_certificate:
        description:
          - PEM text of the authority that signed the certificates.
          - Empty means those that the host trusts.
        type: str
        default: ""
      validate_certs:
        description: Whether the certificates have to be trusted. Turning it off gives a warning.
        type: bool
        default: true
      proxy:
        description: Forward proxy, C(http://[user:password@]host:port). Empty means none.
        type: str
        default: ""
      no_proxy:
        description: Names, addresses and networks that are reached without it.
        type: list
        elements: str
        default: []
      search_url:
        description:
          - Scheme, host and port of a search head's management port, for example V(https://splunk.example.com:8089).
            Splunk 9.0.1 or newer.
          - Empty means that the event is not looked for. Then nothing tells whether Splunk kept it, because a token
            without a list of allowed indexes takes events for an index that does not exist.
        type: str
        default: ""
      search_token:
        description: A token of a user who may search the index. Or give O(endpoints[].search_user).
        type: str
        default: ""
      search_user:
        description: A user who may search the index.
        type: str
        default: ""
      search_password:
        description: The user's password.
        type: str
        default: ""
      search_ca_certificate:
        description: As O(endpoints[].ca_certificate), for O(endpoints[].search_url). Empty means the same one.
        type: str
        default: ""
      variables:
        description: Inventory variable of a field, where it is not O(endpoints[].variable) with the field behind it.
        type: dict
        default: {}
  timeout:
    description: Seconds that one step of a conversation may take.
    type: float
    default: 10
  ack_timeout:
    description: Seconds until an event has to be acknowledged, where the token has indexer acknowledgement.
    type: float
    default: 60
  search_timeout:
    description: Seconds until an event has to be found.
    type: float
    default: 60
notes:
  - Run it on every host that will send, because the way there differs from host to host.
  - The events have the source C(flowstead:hec_check) and the source type C(flowstead:check).
seealso:
  - module: flowstead.airflow.host_preflight
"""

EXAMPLES = r"""
- name: Check that Splunk takes task logs, and shows them again
  flowstead.airflow.hec_check:
    endpoints:
      - name: Splunk for task logs
        variable: airflow_logs.splunk
        url: https://splunk.example.com:8088
        token: "{{ vault_splunk_hec_token }}"
        index: airflow_prod
        ca_certificate: "{{ lookup('ansible.builtin.file', 'splunk-ca.pem') }}"
        search_url: https://splunk.example.com:8089
        search_token: "{{ vault_splunk_search_token }}"

- name: Check a collector of Splunk Cloud, whose search nobody may reach from here
  flowstead.airflow.hec_check:
    endpoints:
      - name: Splunk Cloud
        variable: airflow_logs.splunk
        url: https://http-inputs-example.splunkcloud.com
        token: "{{ vault_splunk_hec_token }}"
        index: airflow_prod

- name: See what is wrong without ending the play
  flowstead.airflow.hec_check:
    endpoints: "{{ splunk_collectors }}"
  register: splunk_check
  failed_when: false
"""

RETURN = r"""
problems:
  description: Every problem found. The module fails when there is one.
  returned: always
  type: list
  elements: dict
  contains:
    check:
      description: Always V(hec).
      type: str
      sample: hec
    variable:
      description: The inventory variable to change.
      type: str
      sample: airflow_logs.splunk.index
    value:
      description: Its value, never a secret's.
      type: str
      sample: airflow_prod
    problem:
      description: What is wrong.
      type: str
      sample: "Splunk for task logs: splunk.example.com:8088: the token may not write into the index airflow_prod"
    fix:
      description: What to do.
      type: str
      sample: add airflow_prod to the token's allowed indexes, or name an index here that is allowed
endpoints:
  description: What is known of each collector, in the order of O(endpoints).
  returned: always
  type: list
  elements: dict
  contains:
    name:
      description: How a person calls it.
      type: str
      sample: Splunk for task logs
    address:
      description: Host and port. Empty when O(endpoints[].url) cannot be used.
      type: str
      sample: "splunk.example.com:8088"
    healthy:
      description: Whether it says so itself.
      type: bool
    accepted:
      description: Whether it took the event; in check mode, whether it knows the token.
      type: bool
    acknowledged:
      description: Whether the event is on Splunk's disk. None where the token has no indexer acknowledgement.
      type: bool
    found:
      description: Whether the event was found again. None where nobody looked.
      type: bool
    index:
      description: The index in which it was found.
      type: str
      sample: airflow_prod
    seconds:
      description: Seconds from sending the event until it was found. None when it was not.
      type: float
      sample: 1.43
    warnings:
      description: What is dangerous and works.
      type: list
      elements: str
"""

import platform
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.flowstead.airflow.plugins.module_utils._logs.collector import Collector
from ansible_collections.flowstead.airflow.plugins.module_utils._logs.hec_check import check_all
from ansible_collections.flowstead.airflow.plugins.module_utils._preflight.problems import message

ARGUMENT_SPEC: dict[str, t.Any] = {
    "endpoints": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "variable": {"type": "str", "required": True},
            "url": {"type": "str", "required": True},
            "token": {"type": "str", "required": True, "no_log": True},
            "index": {"type": "str", "default": ""},
            "ca_certificate": {"type": "str", "default": ""},
            "validate_certs": {"type": "bool", "default": True},
            "proxy": {"type": "str", "default": "", "no_log": True},
            "no_proxy": {"type": "list", "elements": "str", "default": []},
            "search_url": {"type": "str", "default": ""},
            "search_token": {"type": "str", "default": "", "no_log": True},
            "search_user": {"type": "str", "default": ""},
            "search_password": {"type": "str", "default": "", "no_log": True},
            "search_ca_certificate": {"type": "str", "default": ""},
            "variables": {"type": "dict", "default": {}},
        },
    },
    "timeout": {"type": "float", "default": 10.0},
    "ack_timeout": {"type": "float", "default": 60.0},
    "search_timeout": {"type": "float", "default": 60.0},
}


def main() -> None:
    """Check all collectors and exit once."""
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    limits = {name: module.params[name] for name in ("timeout", "ack_timeout", "search_timeout")}
    collectors = [Collector(**limits, **one) for one in module.params["endpoints"]]
    host = platform.node()
    checks = check_all(collectors, host, write=not module.check_mode)
    problems = [problem for check in checks for problem in check.problems]
    for check in checks:
        for warning in check.found.warnings:
            module.warn(warning)
    result = {
        "problems": [problem.as_dict() for problem in problems],
        "endpoints": [check.found.as_dict() for check in checks],
    }
    if problems:
        module.fail_json(msg=message(problems, host), **result)
    module.exit_json(changed=False, **result)


if __name__ == "__main__":
    main()
