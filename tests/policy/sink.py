"""What a sink does in its bucket, and what it must not be able to do, with credentials that roletap vended.

Reads credentials, bucket, prefix and so on from standard input; prints a list of [name, as it should be, what came].
"""

import json
import sys

import boto3
import botocore.config
import botocore.exceptions


def main(credentials, bucket, other_bucket, prefix, sibling, writes):
    s3 = boto3.client(
        "s3",
        aws_access_key_id=credentials["AccessKeyId"],
        aws_secret_access_key=credentials["SecretAccessKey"],
        aws_session_token=credentials["Token"],
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
    )
    results = []

    def look(name, allowed, call, **arguments):
        try:
            answer = call(**{"Bucket": bucket} | arguments)
            came = "allowed"
        except botocore.exceptions.ClientError as error:
            answer = {}
            status = error.response["ResponseMetadata"]["HTTPStatusCode"]
            # Whatever else S3 says, such as that there is no such key, was said to somebody who may ask.
            came = "refused" if status == 403 else f"{status} {error.response['Error']['Code']}"
        results.append([name, came == ("allowed" if allowed else "refused"), came])
        return answer

    key, seeded = f"{prefix}/part-0.parquet", f"{prefix}/seeded"
    # What a sink does.
    put = look("put", writes, s3.put_object, Key=key, Body=b"ours")
    look("get", True, s3.get_object, Key=seeded)
    look("head", True, s3.head_object, Key=seeded)
    look("list its prefix", True, s3.list_objects_v2, Prefix=f"{prefix}/")
    look("list deeper", True, s3.list_objects_v2, Prefix=f"{prefix}/2026/")
    look("ask for the bucket's region", True, s3.get_bucket_location)
    upload = look("begin a large upload", writes, s3.create_multipart_upload, Key=f"{prefix}/large").get("UploadId", "none")
    part = look("upload a part", writes, s3.upload_part, Key=f"{prefix}/large", UploadId=upload, PartNumber=1, Body=b"x")
    look("list the parts", writes, s3.list_parts, Key=f"{prefix}/large", UploadId=upload)
    look("end it", writes, s3.complete_multipart_upload, Key=f"{prefix}/large", UploadId=upload,
         MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part.get("ETag", '"none"')}]})
    upload = look("begin another", writes, s3.create_multipart_upload, Key=f"{prefix}/large").get("UploadId", "none")
    look("give it up", writes, s3.abort_multipart_upload, Key=f"{prefix}/large", UploadId=upload)
    if writes:
        look("get a version", True, s3.get_object, Key=key, VersionId=put["VersionId"])
    look("delete", writes, s3.delete_object, Key=key)
    look("delete a version", writes, s3.delete_object, Key=key, VersionId=put.get("VersionId", "none"))

    # What it must not.
    for name, foreign in [
        ("another prefix", "elsewhere/seeded"),
        ("a prefix that begins alike", f"{sibling}/seeded"),
        ("the key that is called like the prefix", prefix),
        ("the top of the bucket", "seeded"),
    ]:
        look(f"put, {name}", False, s3.put_object, Key=foreign, Body=b"ours")
        look(f"get, {name}", False, s3.get_object, Key=foreign)
        look(f"delete, {name}", False, s3.delete_object, Key=foreign)
        look(f"begin a large upload, {name}", False, s3.create_multipart_upload, Key=foreign)
    look("list the whole bucket", False, s3.list_objects_v2)
    look("list it by the older call", False, s3.list_objects)
    look("list above its prefix", False, s3.list_objects_v2, Prefix=prefix.rsplit("/", 1)[0] + "/")
    look("list what begins alike", False, s3.list_objects_v2, Prefix=prefix)
    look("list another prefix", False, s3.list_objects_v2, Prefix=f"{sibling}/")
    look("list versions", False, s3.list_object_versions, Prefix=f"{prefix}/")
    look("list uploads", False, s3.list_multipart_uploads)
    look("read its object's ACL", False, s3.get_object_acl, Key=seeded)
    look("tag its object", False, s3.put_object_tagging, Key=seeded, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    look("read the bucket's policy", False, s3.get_bucket_policy)
    look("stop its versioning", False, s3.put_bucket_versioning, VersioningConfiguration={"Status": "Suspended"})
    look("delete the bucket", False, s3.delete_bucket)
    for name, call, arguments in [
        ("put", s3.put_object, {"Key": seeded, "Body": b"ours"}),
        ("get", s3.get_object, {"Key": seeded}),
        ("list", s3.list_objects_v2, {"Prefix": f"{prefix}/"}),
        ("ask for the region", s3.get_bucket_location, {}),
    ]:
        look(f"{name}, another bucket", False, call, Bucket=other_bucket, **arguments)
    return results


if __name__ == "__main__":
    print(json.dumps(main(**json.load(sys.stdin))))
