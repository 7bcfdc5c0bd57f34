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

    resources = ["arn:aws:s3:::acme-exports/sinks/orders/*"]
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
        "sinks/orders/",
        "sinks/orders/*",
      ]
    }
  }

  statement {
    sid       = "Location"
    effect    = "Allow"
    actions   = ["s3:GetBucketLocation"]
    resources = ["arn:aws:s3:::acme-exports"]
  }
}
