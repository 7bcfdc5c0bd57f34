data "aws_iam_policy_document" "orders_trust" {
  statement {
    sid     = "RoletapAssumes"
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::777788889999:root"]
    }

    condition {
      test     = "StringEquals"
      variable = "sts:ExternalId"
      values   = ["ws-7f3a"]
    }
  }
}
