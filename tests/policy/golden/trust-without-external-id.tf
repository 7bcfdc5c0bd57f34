data "aws_iam_policy_document" "billing_trust" {
  statement {
    sid     = "RoletapAssumes"
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::777788889999:role/sinks"]
    }

    condition {
      test     = "StringLike"
      variable = "sts:RoleSessionName"
      values   = ["orders-*"]
    }
  }
}
