data "aws_iam_policy_document" "orders_s3" {
  statement {
    sid    = "Objects"
    effect = "Allow"

    actions = [
      "s3:PutObject",
      "s3:GetObject",
      "s3:GetObjectVersion",
      "s3:DeleteObject",
      "s3:DeleteObjectVersion",
      "s3:AbortMultipartUpload",
      "s3:ListMultipartUploadParts",
    ]

    resources = ["arn:aws:s3:::acme-exports/orders/*"]
  }

  statement {
    sid       = "List"
    effect    = "Allow"
    actions   = ["s3:ListBucket"]
    resources = ["arn:aws:s3:::acme-exports"]

    condition {
      test     = "StringLike"
      variable = "s3:prefix"

      values = [
        "orders/",
        "orders/*",
      ]
    }
  }

  statement {
    sid       = "Location"
    effect    = "Allow"
    actions   = ["s3:GetBucketLocation"]
    resources = ["arn:aws:s3:::acme-exports"]
  }

  statement {
    sid    = "Key"
    effect = "Allow"

    actions = [
      "kms:GenerateDataKey",
      "kms:Decrypt",
    ]

    resources = ["arn:aws:kms:eu-central-1:444455556666:key/0f1e2d3c-0000-4000-8000-000000000000"]
  }
}
