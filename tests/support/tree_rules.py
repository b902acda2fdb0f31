"""Rules about the tree that no linter knows: files under 400 lines, functions under 60."""

import ast
import subprocess
import sys
from pathlib import Path

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60

ROOT = Path(__file__).parents[2]


def find_violations(path: Path) -> list[str]:
    """Name what is too long in one Python file."""
    text = path.read_text()
    violations = []
    if (lines := len(text.splitlines())) >= MAX_FILE_LINES:
        violations.append(f"{path}: {lines} lines; the limit is {MAX_FILE_LINES}")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno is not None:
            start = node.body[0].lineno
            if isinstance(node.body[0], ast.Expr) and ast.get_docstring(node) and len(node.body) > 1:
                start = node.body[1].lineno
            if (length := node.end_lineno - start + 1) >= MAX_FUNCTION_LINES:
                violations.append(
                    f"{path}:{node.lineno}: {node.name} has {length} lines; the limit is {MAX_FUNCTION_LINES}"
                )
    return violations


def main() -> int:
    """Check every Python file that git knows or would add."""
    listing = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],  # noqa: S607 (git of PATH)
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    files = [ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).exists()]
    violations = [violation for path in files for violation in find_violations(path)]
    for violation in violations:
        sys.stderr.write(f"{violation}\n")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
