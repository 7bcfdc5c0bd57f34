"""Whether a block says something in its language. Nothing is run; what the words mean is the sink's business."""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree

import sqlglot
import yaml


def parse(language, text, page):
    """What is wrong with it, or None."""
    reader = READERS.get(language)
    if reader is None:
        return f"no parser for {language!r}"
    try:
        return reader(text, page)
    except Exception as problem:  # each parser has errors of its own
        return f"{type(problem).__name__}: {problem}"


def sh(text, _):
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True)
    return done.stderr.strip() or None


def of_json(text, _):
    json.loads(text)


def of_yaml(text, _):
    class Strict(yaml.SafeLoader):
        pass

    def mapping(loader, node, deep=False):
        keys = [loader.construct_object(key, deep=True) for key, _ in node.value]
        if twice := {key for key in keys if keys.count(key) > 1}:
            raise ValueError(f"twice: {', '.join(map(str, twice))}")
        return yaml.SafeLoader.construct_mapping(loader, node, deep)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    if not isinstance(yaml.load(text, Strict), dict):
        return "no mapping"


def of_xml(text, _):
    xml.etree.ElementTree.fromstring(text)


def properties(text, _):
    seen = set()
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(r"([a-zA-Z][\w.-]*)=(.*\S)", line)
        if not match:
            return f"no `key=value`: {line}"
        if match.group(1) in seen:
            return f"twice: {match.group(1)}"
        seen.add(match.group(1))


def ini(text, _):
    """A drop-in of systemd, whose own word counts where it is there."""
    section = None
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = match.group(1)
        elif section is None or not re.fullmatch(r"[A-Z]\w+=.*\S", line):
            return f"no directive of a section: {line}"
    if not shutil.which("systemd-analyze"):
        return None
    with tempfile.TemporaryDirectory() as folder:
        unit = f"{folder}/sink.service"
        drop_in = f"{unit}.d"
        subprocess.run(["mkdir", drop_in], check=True)
        open(unit, "w").write("[Service]\nExecStart=/bin/true\n")
        open(f"{drop_in}/roletap.conf", "w").write(text)
        done = subprocess.run(["systemd-analyze", "verify", unit], capture_output=True, text=True)
    ours = [line for line in done.stderr.splitlines() if "roletap.conf" in line]
    return "\n".join(ours) or None


def conf(text, _):
    """Fluent Bit's classic form."""
    section = None
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if re.fullmatch(r"\[(SERVICE|INPUT|OUTPUT|FILTER)\]", line):
            section = line
        elif section is None or not re.fullmatch(r"    \S+ +\S.*", line):
            return f"no `    Key Value` of a section: {line}"


def sql(text, page):
    dialect = {"risingwave": "risingwave", "clickhouse": "clickhouse", "flink": "hive"}[page]
    for statement in sqlglot.parse(text, read=dialect):
        if isinstance(statement, sqlglot.exp.Command):
            return f"not understood: {statement.sql()[:60]}"


READERS = {
    "sh": sh, "json": of_json, "yaml": of_yaml, "xml": of_xml, "properties": properties, "ini": ini, "conf": conf, "sql": sql,
}


def main():
    problems = []
    for block in json.load(sys.stdin):
        if problem := parse(block["language"], block["text"], block["page"]):
            problems.append(f"{block['page']}.md:{block['line']}: {problem}")
    json.dump(problems, sys.stdout)


if __name__ == "__main__":
    main()
