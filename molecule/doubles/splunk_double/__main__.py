"""``python3 -m splunk_double --config FILE``: run until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import json
import signal
import sys
import threading

from . import SettingsError, SplunkDouble, from_file


def main() -> int:
    """Print one line of JSON with the addresses once the ports are open, and stay."""
    parser = argparse.ArgumentParser(prog="splunk_double", description="A strict double of Splunk for tests.")
    parser.add_argument("--config", required=True, help="JSON file with the settings; - reads standard input")
    parser.add_argument("--check", action="store_true", help="only check the settings")
    arguments = parser.parse_args()
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_signal: ended.set())
    try:
        settings = from_file(arguments.config)
        if arguments.check:
            return 0
        double = SplunkDouble(settings)
    except (SettingsError, TypeError, OSError) as error:
        print(f"splunk_double: {error}", file=sys.stderr)
        return 2
    with double:
        print(json.dumps(double.state()), flush=True)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
