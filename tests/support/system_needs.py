"""Say which programs the system tests miss, before they start; they never skip."""

import sys

from support.apache_kafka import ensure_jars, find_missing_tools
from support.apicurio import ensure_apicurio
from support.nginx import find_nginx
from support.postgresql import find_postgresql
from support.redis_server import find_redis


def main() -> int:
    """Return 1 if a program is missing; else fill the cache of Java programs."""
    missing = find_missing_tools()
    if find_redis() is None:
        missing.append("redis-server (Debian package redis-server)")
    if find_nginx() is None:
        missing.append("nginx (Debian package nginx-light)")
    if find_postgresql() is None:
        missing.append("PostgreSQL (Debian package postgresql)")
    if missing:
        sys.stderr.write(f"make system-test needs {' and '.join(missing)}\n")
        return 1
    ensure_jars()
    ensure_apicurio()
    return 0


if __name__ == "__main__":
    sys.exit(main())
