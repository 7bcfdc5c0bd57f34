"""What came of it: a table for the terminal, and docs/clients.md."""

import datetime
import re

from cast import STEPS
from daemon import LONG_SECONDS, SHORT_SECONDS
from story import HELD

MACHINE = ("os/", "linux/", "md/arch", "exec-env/")  # how a token of a User-Agent begins that is no product
MARKS = {"ok": "✓", "limit": "–", "failed": "✗", "absent": " "}


def judge(result):
    """Step → (mark, what was said). A limit that is none any more is a failure, so that no entry grows stale."""
    judged = {}
    for step in STEPS:
        check, limit = result.checks.get(step), result.client.limits.get(step)
        if check is None:
            judged[step] = ("limit", limit) if limit else ("failed", "never came so far")
        elif check.ok and limit:
            judged[step] = ("failed", f"works, though its entry says that it cannot: {limit}")
        elif check.ok:
            judged[step] = ("ok", "")
        else:
            judged[step] = ("limit", limit) if limit else ("failed", check.said)
    return judged


def failures(results):
    return [(result.client.name, step, said) for result in results for step, (mark, said) in judge(result).items() if mark == "failed"]


def print_results(results):
    rows = [["client", "version", *STEPS, "first call", "roletap"]]
    for result in results:
        marks = [MARKS[mark] for mark, _ in judge(result).values()]
        rows.append([result.client.name, result.version, *marks, milliseconds(result.first_call_ms), milliseconds(result.our_ms)])
    widths = [max(len(cells[column]) for cells in rows) for column in range(len(rows[0]))]
    for cells in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(cells, widths)).rstrip())
    for name, step, said in failures(results):
        print(f"\n✗ {name}, {step}: {said[-1500:]}")
    print()


def milliseconds(value):
    return "" if value is None else f"{value:.0f} ms" if value >= 10 else f"{value:.1f} ms"


def markdown(results, missing, control):
    whole = sum(all(mark == "ok" for mark, _ in judge(result).values()) for result in results)
    slowest = max((result.our_ms for result in results if result.our_ms is not None), default=0)
    lines = [
        "# Clients",
        "",
        f"Written by `tests/clients/run --all --report docs/clients.md` on {datetime.date.today()}. Unmodified clients, each from its",
        "registry and pinned, run against the daemon with nothing but the variables that `roletap env` prints. STS and S3 are",
        f"MiniStack, which refuses expired and foreign credentials. Sessions last {SHORT_SECONDS} s, so that every client lives through a real",
        f"expiry, and {LONG_SECONDS // 3600} h where the table says so.",
        "",
        f"{len(results)} clients, {whole} of them through the whole story. The slowest first fetch took {milliseconds(slowest)} of the daemon's time,",
        "looked at from a proxy in front of it.",
        "",
        "## What works",
        "",
        "| client | version | SDK | " + " | ".join(STEPS) + " |",
        "| --- | --- | --- |" + " :-: |" * len(STEPS),
    ]
    for result in results:
        marks = [MARKS[mark] for mark, _ in judge(result).values()]
        lines.append(f"| {result.client.name} | {result.version} | {result.client.sdk} | " + " | ".join(marks) + " |")
    lines += [
        "",
        *(f"- **{step}**: {meaning}." for step, meaning in STEPS.items()),
        f"- The negative control: a copy of vended credentials that nothing refreshes ({control[0]}) was accepted, then refused"
        f" with `{control[1]}`.",
        "",
        "Notes:",
        "",
        *(f"- **{result.client.name}**: {result.client.note}" for result in results if result.client.note),
        *(f"- **{result.client.name}**: one process a command." for result in results if result.per_command),
        "",
        "Marked –, with the reason from the client's own source:",
        "",
        *(f"- **{result.client.name}**, {step}: {limit}" for result in results for step, limit in result.client.limits.items()),
        "",
        "## How it asks",
        "",
        "Requests at the credentials endpoint. *first*: for the first write and read. *hour*: for three times that, with a",
        "session of an hour. *refresh*: for a write and a read after the expiry. Most clients ask for each call when less than",
        "5 to 15 minutes are left, as they always are in so short a session. *pending*, *wrong*: until it gave up.",
        "*first credentials*: from the command to the last byte of the credentials, of which *roletap* is the daemon's part.",
        "",
        "| client | first | hour | refresh | pending | wrong | first credentials | roletap | first call | after rotation | headers | User-Agent |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- | --- | --- |",
    ]
    for result in results:
        counts = [str(result.requests.get(episode, "")) for episode in ("first", "long", "refreshed", "pending", "wrong")]
        times = [milliseconds(value) for value in (result.first_credentials_ms, result.our_ms, result.first_call_ms)]
        headers = ", ".join(result.headers)
        lines.append(f"| {result.client.name} | " + " | ".join([*counts, *times, result.rotated_with, headers, cell(products(result.agent))]) + " |")
    lines += [
        "",
        "## What it does when there is nothing",
        "",
        f"*pending*: asked while STS had not answered for its role, which it did {HELD:.0f} s later. *down*: asked when its credentials",
        f"had expired and nobody listened; the daemon came back {HELD:.0f} s later.",
        "",
        "| client | pending | down |",
        "| --- | --- | --- |",
    ]
    for result in results:
        lines.append(f"| {result.client.name} | {conduct(result, 'pending')} | {conduct(result, 'down')} |")
    lines += [
        "",
        "## What its user reads after a wrong token",
        "",
        "The client's own message, whole but for its middle where it is long. The verdict says how much of the daemon's answer it",
        "has: *roletap's message*, at least *the status*, only *that credentials are missing*, or *nothing*.",
        "",
    ]
    for result in results:
        said = result.answers["wrong"].said if "wrong" in result.answers else ""
        lines += [f"**{result.client.name}**: {result.verdict}", "", "```text", shortened(said), "```", ""]
    if missing:
        lines += ["## Not run", "", *(f"- **{client.name}**: {cell(reason.splitlines()[0])}" for client, reason in missing), ""]
    return "\n".join(lines)


def conduct(result, episode):
    answer = result.answers.get(episode)
    if answer is None:
        return ""
    if result.waited.get(episode):
        return "waited, and went on" if answer.ok else f"waited, and failed: {cell(answer.said)}"
    return "went on" if answer.ok else f"failed after {milliseconds(answer.ms)}: {cell(answer.said)}"


def products(agent):
    """A User-Agent without its comments and without what it tells of this machine, such as the kernel."""
    tokens = re.sub(r"\([^)]*\)", " ", agent).split()
    return " ".join(token for token in tokens if not token.lower().startswith(MACHINE))


def cell(text):
    text = " ".join(text.split()).replace("|", "\\|")
    return text if len(text) <= 160 else text[:110] + " … " + text[-45:]


def shortened(text):
    text = text.strip() or "(no message)"
    return text if len(text) <= 1500 else text[:1000] + "\n…\n" + text[-450:]
