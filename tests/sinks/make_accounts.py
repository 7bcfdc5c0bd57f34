"""Ours and the customer's, in MiniStack: reads policies that roletap printed, prints the keys that the daemon signs with.

Our user may assume our base role and what the policies name; the customer's role trusts the user (direct) and the base
role (base), each with the external id.
"""

import json
import sys

import boto3

OURS, CUSTOMER, REGION = "777788889999", "111122223333", "eu-central-1"  # twelve digits: the key of that account's root


def client(service, account):
    return boto3.client(service, aws_access_key_id=account, aws_secret_access_key="test")


def document(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


printed = json.load(sys.stdin)
iam, theirs, s3 = client("iam", OURS), client("iam", CUSTOMER), client("s3", CUSTOMER)

user = iam.create_user(UserName="roletap")["User"]
key = iam.create_access_key(UserName="roletap")["AccessKey"]
assume = {"Effect": "Allow", "Action": "sts:AssumeRole"}
iam.put_user_policy(UserName="roletap", PolicyName="roles", PolicyDocument=document(
    {**assume, "Resource": [f"arn:aws:iam::{OURS}:role/*", f"arn:aws:iam::{CUSTOMER}:role/*"]}))

for name in ("sinks-base", "risingwave-state"):
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=document({**assume, "Principal": {"AWS": user["Arn"]}}))
iam.put_role_policy(RoleName="sinks-base", PolicyName="roles", PolicyDocument=json.dumps(printed["caller"]))
iam.put_role_policy(RoleName="risingwave-state", PolicyName="state", PolicyDocument=json.dumps(printed["state"]))
client("s3", OURS).create_bucket(Bucket="acme-state", CreateBucketConfiguration={"LocationConstraint": REGION})

trust = [statement | {"Sid": f"Trust{number}"} for number, statement in enumerate(printed["direct"]["Statement"] + printed["base"]["Statement"])]
theirs.create_role(RoleName="orders-sink", AssumeRolePolicyDocument=document(*trust))
for kind in ("s3", "kinesis"):
    theirs.put_role_policy(RoleName="orders-sink", PolicyName=kind, PolicyDocument=json.dumps(printed[kind]))
s3.create_bucket(Bucket="acme-orders", CreateBucketConfiguration={"LocationConstraint": REGION})
client("kinesis", CUSTOMER).create_stream(StreamName="acme-events", ShardCount=1)

print(json.dumps({"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}))
