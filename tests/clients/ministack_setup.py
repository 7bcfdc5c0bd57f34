"""Makes accounts, roles and buckets in MiniStack by its root key; prints what the runner needs to know.

One user, who may do nothing but assume two roles; each role trusts exactly that user and asks for its own
ExternalId, and may do nothing but list its own bucket, and read, write and delete under one prefix of it.
"""

import json

import boto3

root = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
iam = boto3.client("iam", **root)
s3 = boto3.client("s3", **root)


def document(**statement):
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def role(name, bucket, external_id):
    s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": s3.meta.region_name})
    trust = document(
        Principal={"AWS": user["Arn"]},
        Action="sts:AssumeRole",
        Condition={"StringEquals": {"sts:ExternalId": external_id}},
    )
    arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    may = json.dumps({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": ["s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"],
                "Resource": f"arn:aws:s3:::{bucket}/sink/*",
            },
            {
                "Effect": "Allow",
                "Action": ["s3:ListBucket", "s3:GetBucketLocation", "s3:ListBucketMultipartUploads"],
                "Resource": f"arn:aws:s3:::{bucket}",
            },
        ],
    })
    iam.put_role_policy(RoleName=name, PolicyName="sink", PolicyDocument=may)
    return {"arn": arn, "name": name, "bucket": bucket, "external_id": external_id}


user = iam.create_user(UserName="roletap")["User"]
key = iam.create_access_key(UserName="roletap")["AccessKey"]
ours = role("orders-sink", "orders", "ws-7f3a")
other = role("billing-sink", "billing", "ws-90c1")
iam.put_user_policy(
    UserName="roletap",
    PolicyName="assume",
    PolicyDocument=document(Action="sts:AssumeRole", Resource=[ours["arn"], other["arn"]]),
)
print(json.dumps({
    "access_key_id": key["AccessKeyId"],
    "secret_access_key": key["SecretAccessKey"],
    "ours": ours,
    "other": other,
}))
