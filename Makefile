# Two commands matter on a fresh machine: `make up` and `make test`. `make help` lists the rest.
SHELL := /bin/sh
INVENTORY ?= inventories/local
VENV := .venv/bin
PLAYBOOK := ANSIBLE_CONFIG=ansible.cfg $(VENV)/ansible-playbook
export PYTHON

.PHONY: help up down check test bench lock docs controller dev lab-up lab-splunk lab-down lab-ssh

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: controller ## Bring up Airflow on this machine (INVENTORY=inventories/local)
	$(PLAYBOOK) site.yml -i $(INVENTORY) $(ARGS)

down: controller ## Remove what `make up` made; PURGE=1 also removes data, images, packages and passwords
	$(PLAYBOOK) playbooks/teardown.yml -i $(INVENTORY) -e teardown_confirm=yes -e teardown_purge=$(if $(filter 1,$(PURGE)),true,false) $(ARGS)
	$(if $(filter 1,$(PURGE)),rm -rf $(INVENTORY)/.secrets)

check: dev ## The quick part of the tests: lint, types, unit tests, documentation, sanity
	scripts/check

test: dev ## Everything: check, a real engine, a real deployment from a clean clone, then real hosts with faults
	$(VENV)/python scripts/test

bench: dev ## swarm_stack and DAG releases beside their peers, and site.yml with 1, 3 and 6 hosts
	$(VENV)/python bench/swarm_stack.py
	$(VENV)/python bench/swarm_stack.py --lab
	scripts/lab_needs
	$(VENV)/python bench/site_growth.py
	command -v rsync >/dev/null || apt-get install -y -qq rsync
	$(VENV)/python bench/dag_release.py

docs: dev ## Generate role and module pages from their specifications
	scripts/docs

lock: dev ## Pin the development requirements again
	for name in controller dev doubles peer; do \
	  $(VENV)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links --upgrade requirements/$$name.in -o requirements/$$name.txt; done
	cp roles/airflow_image/files/locks/airflow-3.3.2.txt requirements/google.txt # uv keeps what it finds there
	$(VENV)/uv pip compile --quiet --universal --python-version 3.12 --no-header --no-annotate \
	  --no-emit-index-url --no-emit-find-links requirements/google.in -o requirements/google.txt

controller:
	@scripts/bootstrap controller

dev:
	@scripts/bootstrap dev

lab-up: ## Start the lab's hosts, to play with: then make up INVENTORY=inventories/lab
	scripts/lab_needs
	molecule/lab/lab up

lab-splunk: dev ## A double of Splunk in the lab, for task logs; before make up INVENTORY=inventories/lab
	$(VENV)/python molecule/support/splunk.py

lab-down: ## End the lab and leave nothing behind
	molecule/lab/lab down

lab-ssh: ## A shell on a host of the lab (HOST=swarm1)
	molecule/lab/lab ssh $(or $(HOST),swarm1)
