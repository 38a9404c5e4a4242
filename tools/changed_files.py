"""Which files git says have changed, for checks that need not look at everything each time.

Changed is what is not committed, and what was committed since the point at which this branch left its upstream one. Where
there is no upstream branch, or HEAD is part of it, it is what the last `commits` commits brought. Where git gives no
answer (no repository, a history that is too short), nobody knows, and the caller has to look at everything.
"""
import pathlib
import subprocess

from project_files import ROOT


class NoAnswer(Exception):
    """Git does not know; the text says why."""


def git(*arguments):
    try:
        done = subprocess.run(["git", "-C", ROOT, *arguments], capture_output=True, text=True, check=False)
    except OSError as error:
        raise NoAnswer(f"git cannot be run: {error}") from error
    if done.returncode:
        raise NoAnswer(f"git {arguments[0]}: {done.stderr.strip().splitlines()[-1] if done.stderr.strip() else 'no answer'}")
    return done.stdout


def upstream_fork():
    """The commit at which this branch left its upstream branch; None where there is none, or HEAD is part of it."""
    for branch in ("origin/HEAD", "origin/main", "@{upstream}"):
        try:
            fork = git("merge-base", "HEAD", branch).strip()
        except NoAnswer:
            continue
        return fork if fork != git("rev-parse", "HEAD").strip() else None
    return None


def changed_files(commits):
    """(paths relative to the root, since which commit in words). Raises NoAnswer."""
    if fork := upstream_fork():
        since, words = fork, f"{fork[:9]}, where the branch left its upstream"
    else:
        since = git("rev-parse", "--verify", "--quiet", f"HEAD~{commits}").strip()
        words = f"{since[:9]}, {commits} commits before HEAD"
    names = git("diff", "--name-only", "--no-renames", "-z", since).split("\0")
    names += git("ls-files", "--others", "--exclude-standard", "-z").split("\0")
    return {pathlib.Path(name) for name in names if name}, words
