"""The people whom `roletap policy` prints for: they load what it printed, in MiniStack, and change nothing in it.

Reads an order on standard input, a JSON object; prints what came of it.
"""

import json
import sys

import boto3
import hcl2

HOST, CUSTOMER = "000000000000", "111122223333"


def root(service, account):
    """MiniStack takes twelve digits as the key of that account's root."""
    return boto3.client(service, aws_access_key_id=account, aws_secret_access_key="test")


def users():
    """Our own account: who signs for roletap, and somebody else, who may assume whatever trusts him."""
    iam, made = root("iam", HOST), {}
    for name in ("sinks", "stranger"):
        arn = iam.create_user(UserName=name)["User"]["Arn"]
        key = iam.create_access_key(UserName=name)["AccessKey"]
        made[name] = {"arn": arn, "key": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    anything = {"Effect": "Allow", "Action": "sts:*", "Resource": "*"}
    iam.put_user_policy(
        UserName="stranger", PolicyName="all", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [anything]}),
    )
    return made


def worker():
    """A role of our own account, and a session of it: what an instance profile gives a host."""
    trust = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{HOST}:root"}, "Action": "sts:AssumeRole"}
    iam = root("iam", HOST)
    arn = iam.create_role(
        RoleName="worker", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )["Role"]["Arn"]
    given = root("sts", HOST).assume_role(RoleArn=arn, RoleSessionName="i-0abc")["Credentials"]
    return {"key": given["AccessKeyId"], "secret": given["SecretAccessKey"], "token": given["SessionToken"]}


def buckets(names, keys):
    s3 = root("s3", CUSTOMER)
    for name in names:
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        for key in keys:
            s3.put_object(Bucket=name, Key=key, Body=b"the owner's")


def caller(kind, name, text):
    iam = root("iam", HOST)
    put = {"user": iam.put_user_policy, "role": iam.put_role_policy}[kind]
    put(**{f"{kind.capitalize()}Name": name}, PolicyName="roletap", PolicyDocument=text)


def trust(language, name, path, text):
    if language == "cloudformation":
        return stack(f"{name}-trust", text)
    document = text if language == "json" else json.dumps(document_of(text))
    root("iam", CUSTOMER).create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=document)


def permissions(language, name, text):
    if language == "cloudformation":
        return stack(f"{name}-s3", text)
    document = text if language == "json" else json.dumps(document_of(text))
    root("iam", CUSTOMER).put_role_policy(RoleName=name, PolicyName="s3", PolicyDocument=document)


def stack(name, template):
    cloudformation = root("cloudformation", CUSTOMER)
    cloudformation.create_stack(StackName=name, TemplateBody=template, Capabilities=["CAPABILITY_NAMED_IAM"])
    cloudformation.get_waiter("stack_create_complete").wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def same(json_text, terraform_text):
    """Whether both say the same, which for Terraform is all that can be said without its provider."""
    def listed(value):
        return value if isinstance(value, list) else [value]

    def plain(statement):
        statement = {key: listed(value) if key in ("Action", "Resource") else value for key, value in statement.items()}
        conditions = statement.pop("Condition", {})
        return statement | {
            "Condition": {op: {key: listed(value) for key, value in keys.items()} for op, keys in conditions.items()},
        }

    one, other = json.loads(json_text), document_of(terraform_text)
    return one["Version"] == other["Version"] and [plain(s) for s in one["Statement"]] == [plain(s) for s in other["Statement"]]


def document_of(terraform):
    """As the AWS provider renders `aws_iam_policy_document`."""
    def text(quoted):
        return json.loads(quoted).replace("$${", "${").replace("%%{", "%{")

    [labels] = hcl2.loads(terraform)["data"]
    [(kind, sources)] = [(kind, sources) for kind, sources in labels.items() if kind != "__is_block__"]
    assert kind == '"aws_iam_policy_document"', kind
    [source] = [source for name, source in sources.items() if name != "__is_block__"]
    statements = []
    for block in source["statement"]:
        unknown = set(block) - {"sid", "effect", "actions", "resources", "principals", "condition", "__is_block__"}
        assert not unknown, unknown
        statement = {
            "Sid": text(block["sid"]),
            "Effect": text(block["effect"]),
            "Action": [text(action) for action in block["actions"]],
        }
        for principals in block.get("principals", []):
            [identifier] = principals["identifiers"]
            statement["Principal"] = {text(principals["type"]): text(identifier)}
        if "resources" in block:
            statement["Resource"] = [text(resource) for resource in block["resources"]]
        for condition in block.get("condition", []):
            operator = statement.setdefault("Condition", {}).setdefault(text(condition["test"]), {})
            operator[text(condition["variable"])] = [text(value) for value in condition["values"]]
        statements.append(statement)
    return {"Version": "2012-10-17", "Statement": statements}


if __name__ == "__main__":
    orders = json.load(sys.stdin)
    print(json.dumps([globals()[order.pop("do")](**order) for order in orders]))
