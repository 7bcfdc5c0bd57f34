data "aws_iam_policy_document" "role_1_ours_trust" {
  statement {
    sid     = "RoletapAssumes"
    effect  = "Allow"
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = ["arn:aws:iam::777788889999:user/sinks"]
    }
  }
}
