data "aws_iam_policy_document" "orders_s3" {
  statement {
    sid    = "ReadObjects"
    effect = "Allow"

    actions = [
      "s3:GetObject",
      "s3:GetObjectVersion",
    ]

    resources = ["arn:aws-us-gov:s3:::acme-exports/*"]
  }

  statement {
    sid       = "List"
    effect    = "Allow"
    actions   = ["s3:ListBucket"]
    resources = ["arn:aws-us-gov:s3:::acme-exports"]
  }

  statement {
    sid       = "Location"
    effect    = "Allow"
    actions   = ["s3:GetBucketLocation"]
    resources = ["arn:aws-us-gov:s3:::acme-exports"]
  }
}
