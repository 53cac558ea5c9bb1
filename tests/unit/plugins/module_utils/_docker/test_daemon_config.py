from __future__ import annotations

import pytest
from ansible_collections.flowstead.airflow.plugins.module_utils._docker.daemon_config import (
    ConfigProblem,
    changed_keys,
    find_problems,
    format_config,
    mask_credentials,
    merge_layers,
    parse_config,
    read_verdict,
    restart_keys,
)

LOCAL = {"log-driver": "local"}


def test_later_layers_win_and_keys_that_no_layer_names_stay():
    live = {"data-root": "/data", "log-opts": {"max-file": "9", "tag": "x"}}
    merged = merge_layers(live, [{"log-opts": {"max-file": "5"}}, {"debug": True}, {"debug": False}])
    assert merged == {"data-root": "/data", "log-opts": {"max-file": "5", "tag": "x"}, "debug": False}


def test_lists_are_replaced_and_null_takes_a_key_away():
    live = {"dns": ["192.0.2.1"], "debug": True, "log-opts": {"tag": "x", "max-size": "1m"}}
    assert merge_layers(live, [{"dns": ["192.0.2.2"], "debug": None, "log-opts": {"tag": None}}]) == {
        "dns": ["192.0.2.2"],
        "log-opts": {"max-size": "1m"},
    }


def test_merging_leaves_the_live_settings_untouched():
    live = {"log-opts": {"max-size": "1m"}}
    merge_layers(live, [{"log-opts": {"max-size": "2m"}}])
    assert live == {"log-opts": {"max-size": "1m"}}


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_file_counts_as_no_settings(text):
    assert parse_config(text, "/etc/docker/daemon.json") == {}


@pytest.mark.parametrize("text", ['{"mtu": 1400,', "[]", '"x"', "null"])
def test_a_file_that_holds_no_settings_is_refused_by_its_name(text):
    with pytest.raises(ConfigProblem, match=r"/etc/docker/daemon\.json"):
        parse_config(text, "/etc/docker/daemon.json")


def test_settings_that_a_swarm_refuses_are_only_refused_for_one():
    config = {**LOCAL, "live-restore": True, "firewall-backend": "nftables"}
    assert len(find_problems(config, swarm=True)) == 2
    assert find_problems(config, swarm=False) == []


def test_live_restore_that_is_off_is_no_problem():
    assert find_problems({**LOCAL, "live-restore": False}, swarm=True) == []


@pytest.mark.parametrize("key", ["hosts", "pidfile"])
def test_keys_that_belong_to_the_start_of_the_engine_are_refused(key):
    assert f"'{key}' cannot be set" in find_problems({**LOCAL, key: []}, swarm=False)[0]


@pytest.mark.parametrize("config", [{}, {"log-driver": "json-file"}, {"log-driver": "json-file", "log-opts": {}}])
def test_container_logs_without_a_limit_are_refused(config):
    assert "until the disk is full" in find_problems(config, swarm=False)[0]


def test_container_logs_with_a_limit_are_accepted():
    assert find_problems({"log-opts": {"max-size": "20m"}}, swarm=True) == []
    assert find_problems(LOCAL, swarm=True) == []


def test_log_options_have_to_be_strings():
    assert "'log-opts' max-file is 5" in find_problems({**LOCAL, "log-opts": {"max-file": 5}}, swarm=True)[0]
    assert "write option: value pairs" in find_problems({**LOCAL, "log-opts": ["x"]}, swarm=True)[0]


def test_all_problems_are_told_at_once():
    assert len(find_problems({"log-driver": "none", "hosts": [], "live-restore": True}, swarm=True)) == 3


def test_only_keys_that_a_reload_takes_over_need_no_restart():
    before, after = {"debug": True, "mtu": 1400}, {"debug": False, "mtu": 1400, "data-root": "/x", "labels": ["a"]}
    assert changed_keys(before, after) == ["data-root", "debug", "labels"]
    assert restart_keys(before, after) == ["data-root"]


def test_a_key_that_is_taken_away_keeps_its_value_until_a_restart():
    assert restart_keys({"debug": True}, {}) == ["debug"]


def test_a_false_value_differs_from_a_missing_one():
    assert changed_keys({}, {"debug": None}) == ["debug"]


def test_the_file_is_sorted_and_ends_with_a_newline():
    assert format_config({"b": 1, "a": {}}) == '{\n  "a": {},\n  "b": 1\n}\n'


def test_credentials_in_urls_are_hidden():
    assert mask_credentials('"http://u:p%20w@proxy:3128"') == '"http://********@proxy:3128"'
    assert mask_credentials("https://mirror.example.com/a@b") == "https://mirror.example.com/a@b"


# Output of dockerd 20.10.24, which has no --validate and stops at the pid file.
OLD_ACCEPTED = (
    'time="2026-11-22T16:20:00Z" level=info msg="Starting up"\n'
    "failed to start daemon: pid file found, ensure docker is not running or delete /tmp/x\n"
)
REFUSED = (
    "unable to configure the Docker daemon with file /tmp/c.json: the following directives don't match any "
    "configuration option: mtuu\n"
)


def test_an_old_engine_that_stops_at_the_pid_file_has_accepted_the_settings():
    assert read_verdict(1, OLD_ACCEPTED, validates=False) == ""


def test_an_old_engine_that_refuses_says_why():
    assert read_verdict(1, REFUSED, validates=False).endswith("configuration option: mtuu")


def test_an_old_engine_that_stops_for_another_reason_has_not_accepted_the_settings():
    assert read_verdict(1, "dockerd needs to be started with root privileges", validates=False)
    assert read_verdict(0, "", validates=False) == "it gave no reason"


def test_a_newer_engine_says_it_with_its_exit_code():
    assert read_verdict(0, "configuration OK\n", validates=True) == ""
    assert read_verdict(1, REFUSED, validates=True).endswith("mtuu")
