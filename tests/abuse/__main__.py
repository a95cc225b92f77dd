"""Stories of abuse; started by scripts/abuse, which says what they are."""
import argparse
import pathlib
import sys
import time

import descriptors
import disk
import floods
import handshakes
import memory
import resolving
import stopping
from lab import Skipped, Wrong

ROOT = pathlib.Path(__file__).resolve().parents[2]

STORIES = {
    "hostile-chains": handshakes.hostile_chains,
    "idle-strangers": descriptors.idle_strangers,
    "slow-api": descriptors.slow_api,
    "equal-refusals": floods.equal_refusals,
    "varied-refusals": floods.varied_refusals,
    "tokens": floods.tokens,
    "full-disk": disk.full_disk,
    "gone-callers": memory.gone_callers,
    "lost-name": resolving.lost_name,
    "silent-peer": stopping.silent_peer,
}


def main():
    options = arguments()
    if options.list:
        print("\n".join(STORIES))
        return 0
    failed = []
    for name in options.stories or STORIES:
        started = time.monotonic()
        try:
            saw = STORIES[name](options.binary, options.short)
            print(f"abuse {name} ok {time.monotonic() - started:.0f} s: {saw}", flush=True)
        except Skipped as skipped:
            print(f"skipped: abuse {name}: {skipped}", flush=True)
        except (Wrong, OSError) as wrong:
            failed.append(name)
            print(f"abuse {name} FAILED: {wrong or type(wrong).__name__}", flush=True)
    return 1 if failed else 0


def arguments():
    parser = argparse.ArgumentParser(prog="scripts/abuse", description=__doc__)
    parser.add_argument("stories", nargs="*", metavar="STORY", choices=[*STORIES, []])
    parser.add_argument("--list", action="store_true", help="name the stories")
    parser.add_argument("--short", action="store_true", help="smaller counts, and the development build")
    parser.add_argument("--binary", type=pathlib.Path, help="the server to abuse")
    options = parser.parse_args()
    profile = "debug" if options.short else "release"
    options.binary = (options.binary or ROOT / "target" / profile / "countersign").resolve()
    return options


if __name__ == "__main__":
    sys.exit(main())
